package engine_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/engine/store"
	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/stretchr/testify/require"
)

// TestReadThatFailsOnceIsTriedAgain: whatever read, or opening, of a segment fails once
// while the Store is given what it lacks, all of it is applied, though nothing is
// appended any more, and the failure is told as long as it lasts (I14).
func TestReadThatFailsOnceIsTriedAgain(t *testing.T) {
	met := 0
	for _, op := range []vfs.Op{vfs.OpRead, vfs.OpOpen} {
		for call := 1; ; call++ {
			a, _ := pair(t)
			a.options.Peers = nil
			a.start()
			for i := range 40 {
				a.put(engine.Shard(i%4), fmt.Sprint(i), "v", engine.AppliedHere)
			}
			a.end()
			a.store = store.NewMem()
			faulty := vfs.WithFaults(a.disk, vfs.Fault{Op: op, Match: "segment-*", Call: call})
			a.options.FS, a.options.Store = faulty, a.store
			e, err := engine.Open(context.Background(), a.options)
			if err != nil {
				continue // recovery met it, and says so
			}
			a.Engine = e
			for shard := range engine.Shard(4) {
				require.NoError(t, a.Ready(soon(t), shard))
			}
			require.Equal(t, "v", a.value(3, "39"))
			if faulty.Hits() == 0 {
				a.end()
				break
			}
			if a.wasTold("store-failed") {
				met++
				a.awaitEvent("store-recovered")
				require.Equal(t, "OK", a.Status().Health, a.Status().Reason)
			}
			a.end()
		}
	}
	require.GreaterOrEqual(t, met, 2, "calls of the applier that failed")
}

// wasTold says whether an event of that kind was told.
func (s *site) wasTold(kind string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.events {
		if s.events[i].Kind == kind {
			return true
		}
	}
	return false
}

// TestSyncThatFailsOnceIsTriedAgain: the Store is made durable by the next try, without
// an append, and the node is whole again.
func TestSyncThatFailsOnceIsTriedAgain(t *testing.T) {
	a, _ := pair(t)
	u := &unsyncable{Mem: a.store}
	a.options.Peers, a.options.Store = nil, u
	a.start()
	a.put(0, "k", strings.Repeat("x", 100), engine.AppliedHere)
	a.awaitEvent("store-failed")
	u.synced.Store(false)
	a.awaitEvent("store-recovered")
	require.Equal(t, "OK", a.Status().Health)
}
