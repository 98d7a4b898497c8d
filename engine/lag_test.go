package engine_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/engine/store"
	"github.com/claudefs/repl/engine/store/vfs"
)

// closedStore is a Store that applies nothing until its gate opens.
type closedStore struct {
	*store.Mem
	gate chan struct{}
}

func (g *closedStore) Apply(ctx context.Context, c *store.Change) error {
	select {
	case <-g.gate:
	case <-ctx.Done():
		return ctx.Err()
	}
	return g.Mem.Apply(ctx, c)
}

// A standby comes back with an empty disk and a Store that applies nothing: what it
// applied before is not what it has applied.
func TestAppliedLagOfWipedStandby(t *testing.T) {
	a, b := pair(t)
	b.start()
	a.start()
	for i := range 40 {
		a.put(engine.Shard(i%4), fmt.Sprint(i), "v", engine.Applied(1))
	}
	b.end()
	g := &closedStore{store.NewMem(), make(chan struct{})}
	b.options.FS, b.options.Store = vfs.NewMem(vfs.MemOptions{}), g
	b.start()
	require.Eventually(t, func() bool {
		p := a.Status().Peers[0]
		return p.Durable.State == "known" && *p.Durable.Entries == 0 && p.Applied.State == "known"
	}, patience, tick)
	require.GreaterOrEqual(t, *a.Status().Peers[0].Applied.Entries, int64(40))
	require.Positive(t, *a.Status().Peers[0].Applied.Seconds)
	require.Positive(t, *a.Status().Peers[0].Applied.Bytes)
	close(g.gate)
	require.Eventually(t, func() bool {
		p := a.Status().Peers[0]
		return p.Applied.State == "known" && *p.Applied.Entries == 0
	}, patience, tick)
}

// The standby is gone: what it has not confirmed is told, also after a restart here.
func TestUnconfirmedIsToldAcrossRestart(t *testing.T) {
	a, b := pair(t)
	b.start()
	a.start()
	a.put(0, "k", "v", engine.Applied(1))
	a.awaitEvent("link-up")
	b.end()
	require.Eventually(t, func() bool { return a.Status().Peers[0].Durable.State == "unknown" }, patience, tick)
	for i := range 10 {
		a.put(engine.Shard(i%4), fmt.Sprint(i), "value", engine.AppliedHere)
	}
	check := func() {
		l := a.Status().Peers[0].WouldLose
		require.Equal(t, "unknown", l.State)
		require.Nil(t, l.Entries)
		require.GreaterOrEqual(t, *l.AtLeastEntries, int64(10))
		require.Positive(t, *l.AtLeastSeconds)
		require.Positive(t, *l.AtLeastBytes)
		require.Less(t, *l.AtLeastBytes, int64(1<<16))
	}
	check()
	a.end()
	a.start()
	check()
}
