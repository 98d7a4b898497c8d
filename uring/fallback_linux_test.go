package uring_test

import (
	"context"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/engine/store"
	"github.com/claudefs/repl/uring"
)

// An engine that may not have a ring carries on without, and says so.
func TestEngineWithoutRingsFallsBackAndSaysWhy(t *testing.T) {
	if os.Getenv(partVariable) == "" {
		runPart(t, t.Name(), func(*exec.Cmd) {})
		return
	}
	require.NoError(t, forbid())
	_, err := uring.NewTransport(uring.TransportOptions{})
	require.ErrorIs(t, err, uring.ErrUnsupported)

	events := make(chan engine.Event, 64)
	o := engine.Options{Cluster: "test", Site: "site-a", Dir: t.TempDir(), Store: store.NewMem(), Shards: 1,
		Listen: "127.0.0.1:0", Insecure: true, Events: func(e engine.Event) { events <- e }}
	e, err := engine.Open(context.Background(), o)
	require.NoError(t, err)
	s := e.Status()
	require.Equal(t, "tcp", s.Transport)
	require.Contains(t, s.TransportReason, forbidden())
	_, err = e.Append(context.Background(), 0, &engine.Entry{Op: engine.OpHost, Keys: [][]byte{[]byte("k")}},
		engine.Local)
	require.NoError(t, err)
	told := <-events
	require.Equal(t, "data-path", told.Kind)
	require.Contains(t, told.Text, "links: tcp, journal files: portable: io_uring not available")
	require.NoError(t, e.Close(context.Background()))

	o.IO = "io_uring"
	_, err = engine.Open(context.Background(), o)
	require.ErrorIs(t, err, uring.ErrUnsupported)
	require.ErrorContains(t, err, forbidden())
}
