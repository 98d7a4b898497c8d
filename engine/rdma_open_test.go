package engine_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/rdma"
	"github.com/claudefs/repl/rdma/fakeverbs"
)

func TestMissingRDMANamesTagAndPackage(t *testing.T) {
	if rdma.Built {
		t.Skip("this build has the tag rdma")
	}
	a := newSite(t, nil, "site-a")
	a.options.Listen, a.options.IO = "", "rdma"
	_, err := engine.Open(context.Background(), a.options)
	require.ErrorIs(t, err, rdma.ErrUnsupported)
	require.ErrorContains(t, err, `option IO is "rdma"`)
	require.ErrorContains(t, err, "libibverbs-dev and -tags rdma")
	a.options.IO = "auto"
	a.start()
	require.NotContains(t, a.Status().TransportReason, "rdma", "who did not ask for it is not told")
}

// A host's own verbs without a device: insisted on, it is an error; else it is a reason.
func TestRDMAWithoutADeviceIsAReason(t *testing.T) {
	f := fakeverbs.New(fakeverbs.Options{})
	f.Remove("fake0")
	a := newSite(t, nil, "site-a")
	a.options.Listen, a.options.IO, a.options.RDMA.Verbs = "", "rdma", f
	_, err := engine.Open(context.Background(), a.options)
	require.ErrorIs(t, err, rdma.ErrUnsupported)
	require.ErrorContains(t, err, "no device like")
	a.options.IO = "auto"
	a.start()
	s := a.Status()
	require.NotEqual(t, "rdma", s.Transport)
	require.Contains(t, s.TransportReason, "no rdma: no device like")
	a.end()
	requireNothingOpen(t, f)
}

func TestRDMAOptionsAreValidated(t *testing.T) {
	a := newSite(t, nil, "site-a")
	a.options.RDMA.RingBytes = 1
	a.options.RDMA.Regions = [][]byte{make([]byte, 1)}
	a.options.ReturnPauseMin, a.options.ReturnPauseMax = time.Minute, time.Second
	err := a.options.Validate()
	require.ErrorIs(t, err, engine.ErrOptions)
	for _, fault := range []string{
		"RingBytes 1", "RDMA.Pool and RDMA.Regions", "ReturnPauseMin is 1m0s, ReturnPauseMax 1s",
	} {
		require.ErrorContains(t, err, fault)
	}
}
