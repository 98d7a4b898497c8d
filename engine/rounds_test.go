package engine_test

import (
	"context"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/engine/store"
	"github.com/claudefs/repl/wire/link/linktest"
)

// applyingStore sees who applies.
type applyingStore struct {
	*store.Mem
	applying func(*store.Change)
}

func (s *applyingStore) Apply(ctx context.Context, c *store.Change) error {
	s.applying(c)
	return s.Mem.Apply(ctx, c)
}

// A short round wakes no worker: on a busy machine each wake waits for a processor.
func TestSingleEntryIsAppliedByItsReader(t *testing.T) {
	net := linktest.NewMemory()
	s := newSite(t, net, "site-a")
	var byWorkers atomic.Int64
	s.options.Store = &applyingStore{s.store, func(*store.Change) {
		stack := make([]byte, 8<<10)
		if strings.Contains(string(stack[:runtime.Stack(stack, false)]), "(*appliers).work(") {
			byWorkers.Add(1)
		}
	}}
	s.start()
	for range 100 {
		s.put(1, "k", "v", engine.AppliedHere)
	}
	require.Zero(t, byWorkers.Load())
	s.end()
}

// A Store that takes its time is given several shards at once.
func TestSlowStoreIsAppliedToAtOnce(t *testing.T) {
	net := linktest.NewMemory()
	s := newSite(t, net, "site-a")
	var together atomic.Bool
	var inside atomic.Int32
	s.options.Store = &applyingStore{s.store, func(*store.Change) {
		if inside.Add(1) > 1 {
			together.Store(true)
		}
		for range 1000 {
			runtime.Gosched()
		}
		inside.Add(-1)
	}}
	s.start()
	for ctx := soon(t); !together.Load(); pause() {
		require.NoError(t, ctx.Err())
		var clients sync.WaitGroup
		for shard := range 4 {
			clients.Go(func() { s.put(engine.Shard(shard), "k", "v", engine.AppliedHere) })
		}
		clients.Wait()
	}
	s.end()
}
