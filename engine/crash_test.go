package engine_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/claudefs/repl/wire"
	"github.com/stretchr/testify/require"
)

// crashCycles is how many power cuts TestPowerCutsLoseAndRepeatNothing has;
// CRASH_CYCLES raises it.
const crashCycles = 16

// load appends to site-a whenever that is open, and remembers what was
// acknowledged.
type load struct {
	mu    sync.Mutex
	acked map[engine.Ref]bool
	tried int
}

// run appends until ctx ends or the engine stops.
func (l *load) run(ctx context.Context, e *engine.Engine, shard engine.Shard) {
	for {
		l.mu.Lock()
		l.tried++
		n, level := l.tried, engine.Local
		l.mu.Unlock()
		if n%5 == 0 {
			level = engine.Durable(1)
		}
		ref, err := e.Append(ctx, shard, entry(fmt.Sprintf("key %d", n%50), fmt.Sprint(n)), level)
		if err != nil {
			return
		}
		l.mu.Lock()
		l.acked[ref] = true
		l.mu.Unlock()
	}
}

// TestPowerCutsLoseAndRepeatNothing cuts the power of either site again and
// again under load, with whatever becomes of unsynced sectors: what was
// acknowledged is decided at both sites (I1), exactly once (I2).
func TestPowerCutsLoseAndRepeatNothing(t *testing.T) {
	cycles := crashCycles
	if n, err := strconv.Atoi(os.Getenv("CRASH_CYCLES")); err == nil {
		cycles = n
	}
	r := rand.New(rand.NewPCG(1, 2))
	a, b := pair(t)
	a.start()
	b.start()
	l := &load{acked: make(map[engine.Ref]bool)}
	for cycle := range cycles {
		ctx, cancel := context.WithCancel(context.Background())
		var group sync.WaitGroup
		for shard := range 4 {
			group.Go(func() { l.run(ctx, a.Engine, engine.Shard(shard)) })
		}
		// A moment of load: until one more entry has reached the other site.
		_, err := a.Append(soon(t), engine.Shard(cycle%4), entry("pace", fmt.Sprint(cycle)), engine.Durable(1))
		require.NoError(t, err, "cycle %d: %v", cycle, a.Status())
		victim := []*site{a, b}[r.IntN(2)]
		victim.crashWith(vfs.RandomFates(r), func(_ engine.Shard, unsynced int) int { return r.IntN(unsynced + 1) })
		cancel()
		group.Wait()
		victim.start()
	}
	for shard := range 4 {
		a.put(engine.Shard(shard), "last", "v", engine.AppliedHere)
		a.put(engine.Shard(shard), "last", "v", engine.Applied(1))
	}
	for _, s := range []*site{a, b} {
		decided := map[engine.Ref]int{}
		for _, row := range s.store.Rows() {
			log := wire.LogID{Site: row.Dot.Site, Shard: row.Shard}
			decided[engine.Ref{Log: log, Incarnation: row.Dot.Incarnation, Seq: row.Dot.Seq}]++
		}
		require.Len(t, s.store.Rows(), len(decided), "duplicated at %s (I2)", s.options.Site)
		for ref := range l.acked {
			require.Equal(t, 1, decided[ref], "acknowledged %v lost at %s (I1)", ref, s.options.Site)
		}
	}
	t.Logf("cycles=%d acked=%d of %d", cycles, len(l.acked), l.tried)
}
