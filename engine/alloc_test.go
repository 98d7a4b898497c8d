package engine_test

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"testing"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/engine/store"
	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/stretchr/testify/require"
)

// cursorStore keeps cursors and nothing else, in memory that it has already: so
// that only the engine's allocations are counted.
type cursorStore struct {
	*store.Mem
	shards []shardCursors
}

type shardCursors struct {
	set     bool
	cursors [1]store.Cursor
}

func newCursorStore(shards int) *cursorStore {
	return &cursorStore{Mem: store.NewMem(), shards: make([]shardCursors, shards)}
}

func (s *cursorStore) Apply(_ context.Context, c *store.Change) error {
	s.shards[c.Shard].set = true
	s.shards[c.Shard].cursors[0] = c.Cursors[0]
	return nil
}

// quiet puts the real disk under a site, and a Store that allocates nothing.
func (s *site) quiet(t testing.TB) {
	s.options.FS, s.options.Dir = vfs.OS{}, t.TempDir()
	s.options.Store = newCursorStore(s.options.Shards)
	s.options.SegmentBytes = 64 << 20
}

// allocationsMax is how many an entry may take at both sites together: a machine at rest
// has 0.002, one with six others at work 0.006.
const allocationsMax = 0.01

func TestEntriesAllocateNothing(t *testing.T) {
	for _, shards := range []int{4, 256} {
		t.Run(fmt.Sprintf("%d shards", shards), func(t *testing.T) { allocateNothing(t, shards, false) })
	}
	t.Run("256 shards of a host with a log of its own", func(t *testing.T) { allocateNothing(t, 256, true) })
}

func allocateNothing(t *testing.T, shards int, appendAt bool) {
	a, b := pair(t)
	for _, s := range []*site{a, b} {
		s.options.Shards = shards
		s.quiet(t)
		// What the journals keep for readers is full after the warming up.
		s.options.RecentBytesMax = 4 << 20
	}
	a.options.AppendAt = appendAt
	b.start()
	a.start()
	e := entry("some key", "a payload of some bytes, the same for all")
	ctx := context.Background()
	var last engine.Ref
	index := uint64(0) // rises over all shards, so it does in each
	put := func(shard engine.Shard) (engine.Ref, error) {
		if !appendAt {
			return a.Append(ctx, shard, e, engine.Async)
		}
		index++
		ref, _, err := a.AppendAt(ctx, shard, index, e, engine.Async)
		return ref, err
	}
	run := func(entries int) {
		for i := range entries {
			ref, err := put(engine.Shard(i % shards))
			require.NoError(t, err)
			last = ref
			if i%2000 == 1999 {
				require.NoError(t, a.Wait(ctx, ref, engine.Durable(1)))
			}
		}
		require.NoError(t, a.Wait(soon(t), last, engine.Applied(1)))
	}
	entries := 200_000
	if raceEnabled { // a tenth of the rate
		entries /= 4
	}
	run(3 * entries / 2) // Buffers grow to what the load needs.
	least := math.Inf(1)
	// What is left is per wait that finds the writer full, and per round of
	// housework: a machine that is busy otherwise has more of those per entry.
	for round := 0; round < 5 && least >= allocationsMax; round++ {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		run(entries)
		runtime.ReadMemStats(&after)
		each := float64(after.Mallocs-before.Mallocs) / float64(entries)
		t.Logf("%.4f allocations and %.2f bytes per entry, both sites, everything included",
			each, float64(after.TotalAlloc-before.TotalAlloc)/float64(entries))
		least = min(least, each)
	}
	require.Less(t, least, allocationsMax)
}

func TestIdleShardsCostNoGoroutinesAndNoTimers(t *testing.T) {
	goroutines, heap := map[int]int{}, map[int]uint64{}
	for _, shards := range []int{4, 256, 4096} {
		a, b := pair(t)
		for _, s := range []*site{a, b} {
			s.options.Shards = shards
			s.start()
		}
		a.put(0, "k", "v", engine.Applied(1))
		for _, s := range []*site{a, b} {
			require.Eventually(t, func() bool { return s.Status().Peers[0].Link == "live" }, patience, tick)
		}
		// What dialed, or ran a moment ago, may take another one to go.
		for ctx := soon(t); shards > 4 && runtime.NumGoroutine() > goroutines[4]+2; pause() {
			require.NoError(t, ctx.Err(), "%d goroutines at %d shards, %v", runtime.NumGoroutine(), shards, goroutines)
		}
		goroutines[shards] = runtime.NumGoroutine()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		heap[shards] = m.HeapAlloc
		a.end()
		b.end()
	}
	t.Logf("goroutines of two engines with a link each way: %v; heap: %v", goroutines, heap)
}
