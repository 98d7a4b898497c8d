package engine_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/stretchr/testify/require"
)

func TestEntryAppendedAtOneSiteIsAppliedAtBoth(t *testing.T) {
	a, b := pair(t)
	b.start()
	a.start()
	for i := range 100 {
		a.put(engine.Shard(i%4), fmt.Sprintf("key %d", i), "value", engine.Async)
	}
	for shard := range 4 {
		ref := a.put(engine.Shard(shard), "last", "done", engine.Applied(1))
		require.NoError(t, a.Wait(soon(t), ref, engine.Durable(1)))
		require.NoError(t, a.Wait(soon(t), ref, engine.AppliedHere))
		require.Equal(t, "done", b.value(engine.Shard(shard), "last"))
	}
	require.Len(t, a.store.Rows(), 104)
	require.Len(t, b.store.Rows(), 104)
	sameDigests(t, a, b)
}

func TestAppendsGoOnWhilePeerIsDown(t *testing.T) {
	a, b := pair(t)
	a.start()
	for i := range 50 {
		a.put(1, fmt.Sprintf("key %d", i), "value", engine.Local)
	}
	ref := a.put(1, "last", "done", engine.AppliedHere)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, a.Wait(ctx, ref, engine.Durable(1)), context.DeadlineExceeded)
	b.start()
	require.NoError(t, a.Wait(soon(t), ref, engine.Applied(1)))
	sameDigests(t, a, b)
}

func TestStandbyRefusesAppendsByName(t *testing.T) {
	_, b := pair(t)
	b.start()
	require.ErrorIs(t, b.Ready(soon(t), 0), engine.ErrStandby)
	_, err := b.Append(soon(t), 0, entry("k", "v"), engine.Local)
	require.ErrorIs(t, err, engine.ErrStandby)
	require.ErrorContains(t, err, "site-a")
}

func TestBothSitesResumeAfterRestartsExactlyOnce(t *testing.T) {
	a, b := pair(t)
	a.start()
	b.start()
	for round := range 4 {
		for i := range 40 {
			a.put(engine.Shard(i%4), fmt.Sprintf("round %d key %d", round, i), "value", engine.Local)
		}
		switch round {
		case 0:
			a.crash()
			a.start()
		case 1:
			b.crash()
			b.start()
		case 2:
			a.end()
			b.end()
			a.start()
			b.start()
		}
	}
	for shard := range 4 {
		a.put(engine.Shard(shard), "last", "done", engine.Applied(1))
		a.put(engine.Shard(shard), "last", "done", engine.AppliedHere)
		a.put(engine.Shard(shard), "last", "done", engine.Applied(1))
	}
	for _, s := range []*site{a, b} {
		seen := map[string]int{}
		for _, row := range s.store.Rows() {
			seen[fmt.Sprint(row.Shard, row.Dot.Incarnation, row.Dot.Seq)]++
		}
		require.Len(t, s.store.Rows(), len(seen), "an entry was decided twice at %s (I2)", s.options.Site)
		require.Len(t, seen, 172)
	}
	sameDigests(t, a, b)
}

// TestRestoredSourceGetsItsDataBack proves I1 against a restored
// image: what a peer confirmed as durable comes back before the source writes.
func TestRestoredSourceGetsItsDataBack(t *testing.T) {
	a, b := pair(t)
	a.options.VerifyWait = patience
	a.start()
	b.start()
	a.put(2, "old", "1", engine.Applied(1))
	a.end()
	image := a.disk.Crash(func(vfs.Unsynced) vfs.Fate { return vfs.Keep })
	stateImage := a.store.Crash(nil)
	a.start()
	for i := range 30 {
		a.put(2, fmt.Sprintf("new %d", i), "2", engine.Durable(1))
	}
	a.end()
	a.disk, a.store = image, stateImage
	a.options.FS, a.options.Store = image, stateImage
	a.start()
	require.NoError(t, a.Ready(soon(t), 2))
	require.Equal(t, "2", a.value(2, "new 29"), "a host may validate against its Store now")
	a.put(2, "after", "3", engine.Applied(1))
	sameDigests(t, a, b)
}

func TestStandbyRestoredFromAnOldCopyCatchesUp(t *testing.T) {
	a, b := pair(t)
	a.start()
	b.start()
	a.put(2, "old", "1", engine.Applied(1))
	b.end()
	image, stateImage := b.disk.Crash(func(vfs.Unsynced) vfs.Fate { return vfs.Keep }), b.store.Crash(nil)
	b.start()
	for i := range 30 {
		a.put(2, fmt.Sprintf("new %d", i), "2", engine.Durable(1))
	}
	b.end()
	b.disk, b.store = image, stateImage
	b.options.FS, b.options.Store = image, stateImage
	b.start()
	a.put(2, "after", "3", engine.Applied(1))
	sameDigests(t, a, b)
}
