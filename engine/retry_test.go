package engine_test

import (
	"context"
	"fmt"
	"path"
	"strings"
	"sync/atomic"
	"syscall"
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

// TestDirectoryFlushThatFailsOnceIsTriedAgain: segments are given back all the same, and
// it is told as long as it lasts (I10).
func TestDirectoryFlushThatFailsOnceIsTriedAgain(t *testing.T) {
	a, _ := pair(t)
	a.options.Peers = nil
	once := &onceGone{FS: a.disk}
	a.options.FS = once
	a.start()
	payload := strings.Repeat("x", 500_000)
	for i := range 60 { // 30 MB, seven segments
		a.put(engine.Shard(i%4), fmt.Sprint(i), payload, engine.AppliedHere)
	}
	require.Eventually(t, func() bool {
		s := a.Status()
		return once.failed.Load() && s.Journals[0].Segments < 5 && s.Health == "OK"
	}, patience, tick)
	require.True(t, a.wasTold("reclaim-failed"))
	a.awaitEvent("reclaim-works")
}

// onceGone fails the flush of the directory behind the first segment that is given back.
type onceGone struct {
	vfs.FS
	gone, failed atomic.Bool
}

func (d *onceGone) Rename(from, to string) error {
	d.gone.Store(d.gone.Load() || strings.HasPrefix(path.Base(from), "segment-"))
	return d.FS.Rename(from, to)
}

func (d *onceGone) SyncDir(dir string) error {
	if d.gone.Load() && d.failed.CompareAndSwap(false, true) {
		return syscall.ENOSPC
	}
	return d.FS.SyncDir(dir)
}

// TestSegmentWaitsForDescriptors: while none is left the journal waits and says so; then
// it goes on, and nothing is lost (I1).
func TestSegmentWaitsForDescriptors(t *testing.T) {
	a, _ := pair(t)
	a.options.Peers = nil
	scarce := &lackingFiles{FS: a.disk}
	a.options.FS = scarce
	a.start()
	payload := strings.Repeat("x", 500_000)
	a.put(0, "first", payload, engine.Local)
	scarce.none.Store(true)
	done := make(chan struct{})
	go func() { // ends when all are durable
		defer close(done)
		for i := range 20 {
			a.put(engine.Shard(i%4), fmt.Sprint(i), payload, engine.Local)
		}
	}()
	a.awaitEvent("segment-failed")
	require.Eventually(t, func() bool { return a.Status().Journals[0].State == "impeded" }, patience, tick)
	require.Equal(t, "DEGRADED", a.Status().Health)
	scarce.none.Store(false)
	<-done
	a.awaitEvent("segment-begun")
	require.Eventually(t, func() bool { return a.Status().Health == "OK" }, patience, tick)
	a.end()
	a.start()
	require.Eventually(t, func() bool { return a.value(3, "19") == payload }, patience, tick)
}

// lackingFiles lends out none at times.
type lackingFiles struct {
	vfs.FS
	none atomic.Bool
}

func (d *lackingFiles) Create(name string) (vfs.File, error) {
	if d.none.Load() {
		return nil, fmt.Errorf("open %s: %w", name, syscall.EMFILE)
	}
	return d.FS.Create(name)
}

func (d *lackingFiles) Open(name string) (vfs.File, error) {
	if d.none.Load() {
		return nil, fmt.Errorf("open %s: %w", name, syscall.EMFILE)
	}
	return d.FS.Open(name)
}
