//go:build rdma

package rdma_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/rdma"
	"github.com/claudefs/repl/rdma/verbstest"
	"github.com/claudefs/repl/wire/link"
	"github.com/claudefs/repl/wire/link/linktest"
)

// needDevice skips where the machine or the build has no device, and says why. Where
// the tests are meant to find one (the rig sets CFS_RDMA_MUST=1) that is a failure.
func needDevice(t *testing.T) {
	t.Helper()
	d, err := rdma.System().Open(rdma.DeviceName{})
	if err != nil && os.Getenv("CFS_RDMA_MUST") == "" {
		t.Skipf("skipped: %v", err)
	}
	require.NoError(t, err)
	require.NoError(t, d.Close())
}

func openReal(t *testing.T, o rdma.Options) *rdma.Transport {
	t.Helper()
	o.Verbs = rdma.System()
	tr, err := rdma.New(o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, tr.Close()) })
	return tr
}

func TestRealVerbsConform(t *testing.T) {
	needDevice(t)
	verbstest.Conformance(t, func(*testing.T) verbstest.Rig { return verbstest.Rig{Verbs: rdma.System()} })
}

func TestRealLinksConform(t *testing.T) {
	needDevice(t)
	// Most of a link's setup is to map and pin its memory: the least of it, for a thousand links.
	o := rdma.Options{RingBytes: 4 << 20, StageBytes: 256 << 10}
	linktest.Conformance(t, func(t *testing.T) link.Transport { return openReal(t, o) })
}

func TestRealLinksCopyNothingAndSignalSeldom(t *testing.T) {
	needDevice(t)
	memory, o := lending(t, 64<<10)
	fillFrame(memory, 1)
	r := &rig{Transport: openReal(t, o)}
	dialed, accepted := r.pair(t)
	const count = 320
	for range count {
		require.NoError(t, dialed.SendLent([][]byte{memory[:32<<10], memory[32<<10:]}, func() {}))
		recvSame(t, accepted, memory).Release()
	}
	s := r.Stats()
	t.Logf("%+v", s)
	require.EqualValues(t, count, s.FramesReceived)
	require.Zero(t, s.CopiedBytes+s.LandCopied)
	require.LessOrEqual(t, s.Signalled, s.Sends/16+2)
	require.Zero(t, s.RNRs)
	c, err := r.Device()
	require.NoError(t, err)
	if c.Immediate {
		require.EqualValues(t, count, s.WriteImms)
		require.EqualValues(t, count, s.Writes)
	}
}
