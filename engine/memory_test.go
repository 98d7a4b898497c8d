package engine_test

import (
	"context"
	"testing"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/stretchr/testify/require"
)

func TestClosedEngineHasGivenAllItsMemoryBack(t *testing.T) { // I10
	left, right := pair(t)
	overTCP(t, left, right, "")
	for n := range 200 {
		left.reserve(engine.Shard(n%4), "some key", 40_000+100*n, engine.Async)
		left.put(engine.Shard(n%4), "other key", "a value", engine.Async)
	}
	left.put(0, "last", "value", engine.Applied(1))
	for _, s := range []*site{left, right} {
		c := s.Counters()
		require.Positive(t, c.Memory.RegionBytes)
		require.Positive(t, c.Memory.LentBytes)
		require.Zero(t, c.Memory.Spilled)
		s.end()
		require.Equal(t, engine.MemoryCounters{}, s.Counters().Memory)
	}
}

func TestFailedJournalGivesMemoryBack(t *testing.T) {
	a, _ := pair(t)
	a.options.Peers, a.options.Listen = nil, ""
	a.options.FS = vfs.WithFaults(a.disk, vfs.Fault{Op: vfs.OpSync, Match: "seg*", Call: 8, Forever: true})
	a.start()
	r, err := a.Reserve(soon(t), 1, entry("k", ""), 100_000)
	require.NoError(t, err)
	for err == nil {
		_, err = a.Append(soon(t), 0, entry("k", string(make([]byte, 50_000))), engine.Local)
	}
	require.ErrorIs(t, err, engine.ErrDurability)
	_ = a.Close(context.Background())
	require.Positive(t, a.Counters().Memory.LentBytes, "the reservation's")
	r.Payload[0] = 1
	_, err = r.Commit(soon(t), engine.Local)
	require.Error(t, err)
	require.Equal(t, engine.MemoryCounters{}, a.Counters().Memory)
}
