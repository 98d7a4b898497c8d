package engine_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/engine/store"
	"github.com/claudefs/repl/engine/store/journal"
	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/claudefs/repl/wire"
	"github.com/claudefs/repl/wire/link/linktest"
	"github.com/stretchr/testify/require"
)

func TestValidateReportsAllFaultsAtOnce(t *testing.T) {
	o := engine.Options{
		Cluster: "", Site: "site a", Shards: 70000, PendingBytesMax: 1, SegmentBytes: 5 << 20 / 3,
		HeartbeatTimeout: time.Millisecond, VerifyWait: -1, Primary: "site-z",
		Listen: "nowhere",
		Peers:  []engine.Peer{{Site: "x", Addrs: []string{""}}, {Site: "x"}, {Site: "y", Addrs: []string{"10.0.1.50"}}},
	}
	err := o.Validate()
	require.ErrorIs(t, err, engine.ErrOptions)
	for _, name := range []string{
		"Cluster", "Site is", "Dir", "Store", "Shards", "PendingBytesMax", "SegmentBytes", "HeartbeatTimeout",
		"VerifyWait", "Primary", "Insecure", "Peers[0].Addrs", "Peers[1].Site",
		`Listen is "nowhere": write HOST:PORT`, `Peers[2].Addrs of site "y" has "10.0.1.50": write HOST:PORT`,
	} {
		require.ErrorContains(t, err, name)
	}
	require.ErrorContains(t, err, "--insecure")
	_, err = engine.Open(context.Background(), o)
	require.ErrorIs(t, err, engine.ErrOptions)
}

// refused opens the site and returns why it cannot.
func (s *site) refused() error {
	s.t.Helper()
	e, err := engine.Open(context.Background(), s.options)
	if err == nil {
		e.Close(context.Background())
	}
	require.Error(s.t, err)
	return err
}

func TestDirectoryKeepsClusterSiteAndShards(t *testing.T) {
	a, _ := pair(t)
	a.start()
	a.end()
	for _, change := range []struct {
		with func(o *engine.Options)
		told []string
	}{
		{func(o *engine.Options) { o.Cluster = "other" }, []string{`"test"`, `"other"`, "/data/IDENTITY"}},
		{func(o *engine.Options) { o.Site = "site-c" }, []string{`"site-a"`, `"site-c"`}},
		{func(o *engine.Options) { o.Shards = 8 }, []string{"4 shards", "not 8", "open it with 4"}},
	} {
		kept := a.options
		change.with(&a.options)
		a.options.Primary = ""
		err := a.refused()
		require.ErrorIs(t, err, engine.ErrOptions)
		for _, text := range change.told {
			require.ErrorContains(t, err, text)
		}
		a.options = kept
	}
	a.start()
}

func TestSecondEngineOnTheSameDirectoryIsRefused(t *testing.T) {
	a, _ := pair(t)
	a.start()
	err := a.refused()
	require.ErrorIs(t, err, vfs.ErrLocked)
	require.ErrorContains(t, err, "/data")
	require.ErrorContains(t, err, fmt.Sprintf("pid=%d", os.Getpid()))
	a.end()
	a.start()
}

func TestDamagedIdentityIsNamed(t *testing.T) {
	a, _ := pair(t)
	a.start()
	a.end()
	f, err := a.disk.Open("/data/IDENTITY")
	require.NoError(t, err)
	require.NoError(t, f.WriteAt([][]byte{[]byte("X")}, 20))
	require.NoError(t, f.Close())
	err = a.refused()
	require.ErrorIs(t, err, wire.ErrCorrupt)
	require.ErrorContains(t, err, "/data/IDENTITY")
	require.NoError(t, a.disk.Remove("/data/IDENTITY"))
	require.ErrorContains(t, a.refused(), "no IDENTITY")
}

func TestUnwritableDirectoryIsNamed(t *testing.T) {
	a, _ := pair(t)
	a.options.FS = vfs.WithFaults(a.disk, vfs.Fault{Op: vfs.OpMkdir, Call: 1, Forever: true, Err: syscall.EACCES})
	err := a.refused()
	require.ErrorIs(t, err, syscall.EACCES)
	require.ErrorContains(t, err, "writable")
}

func TestPeerOfAnotherClusterIsRefused(t *testing.T) {
	for _, change := range []struct {
		with func(o *engine.Options)
		text string
	}{
		{func(o *engine.Options) { o.Cluster = "staging" }, "staging"},
		{func(o *engine.Options) { o.Shards = 8 }, "has 8"},
	} {
		a, b := pair(t)
		change.with(&b.options)
		b.start()
		a.start()
		event := a.awaitEvent("refused")
		require.Contains(t, event.Text, change.text)
		require.True(t, event.Alarm)
		a.put(0, "k", "v", engine.Local)
	}
}

// TestFullDiskStopsTheOwnJournalAndSaysSo: no ack any more, outcome unknown,
// and after making room the node opens with everything acknowledged (I1).
func TestFullDiskStopsTheOwnJournalAndSaysSo(t *testing.T) {
	a, b := pair(t)
	b.start()
	full := vfs.WithFaults(a.disk,
		vfs.Fault{Op: vfs.OpWrite, Match: "seg*", Call: 12, Forever: true, Err: syscall.ENOSPC})
	a.options.FS = full
	a.start()
	acknowledged := 0
	var failed error
	for failed == nil {
		_, failed = a.Append(soon(t), 0, entry(fmt.Sprintf("key %d", acknowledged), "v"), engine.Local)
		if failed == nil {
			acknowledged++
		}
	}
	require.ErrorIs(t, failed, engine.ErrDurability)
	require.ErrorIs(t, failed, syscall.ENOSPC)
	<-a.Done()
	require.ErrorIs(t, a.Err(), engine.ErrDurability)
	s := a.Status()
	require.Equal(t, "FAILED", s.Health)
	require.Contains(t, s.Reason, "no space left")
	require.Equal(t, "poisoned", s.Journals[0].State)
	require.Equal(t, "refused", s.Appends.State)
	_, err := a.Append(soon(t), 0, entry("k", "v"), engine.Local)
	require.Error(t, err)
	a.Engine.Close(soon(t))

	a.options.FS = a.disk
	a.start()
	a.put(0, "last", "v", engine.AppliedHere)
	for i := range acknowledged {
		require.Equal(t, "v", a.value(0, fmt.Sprintf("key %d", i)), "I1")
	}
}

func TestFullDiskAtTheStandbyLeavesThePrimaryAlone(t *testing.T) {
	a, b := pair(t)
	disk := b.disk
	b.options.FS = vfs.WithFaults(disk,
		vfs.Fault{Op: vfs.OpSync, Match: "seg*", Call: 8, Forever: true, Err: syscall.ENOSPC})
	b.start()
	a.start()
	var ref engine.Ref
	for i := 0; b.Status().Health != "FAILED"; i++ { // how many flushes that takes is the mirror's affair
		ref = a.put(engine.Shard(i%4), fmt.Sprintf("key %d", i), "v", engine.Local)
	}
	b.awaitEvent("journal-down")
	require.Equal(t, "FAILED", b.Status().Health)
	a.put(0, "more", "v", engine.AppliedHere)
	b.Engine.Close(soon(t))
	b.options.FS = disk
	b.start()
	require.NoError(t, a.Wait(soon(t), ref, engine.Applied(1)))
	a.put(0, "last", "v", engine.Applied(1))
	for shard := range 4 {
		a.put(engine.Shard(shard), "end", "v", engine.Applied(1))
	}
	sameDigests(t, a, b)
}

func TestUnknownOperationStopsItsLogOnly(t *testing.T) {
	a, b := pair(t)
	b.store.Known = func(op wire.Op) bool { return op == engine.OpHost }
	b.start()
	a.start()
	_, err := a.Append(soon(t), 1, &engine.Entry{Op: 2000, Keys: [][]byte{[]byte("k")}}, engine.Durable(1))
	require.NoError(t, err)
	event := b.awaitEvent("apply-stopped")
	require.Equal(t, 1, event.Shard)
	require.Contains(t, event.Text, "op 2000")
	a.put(2, "other", "v", engine.Applied(1))
	s := b.Status()
	require.Equal(t, "FAILED", s.Health)
	require.Len(t, s.StoppedLogs, 1)
	require.Equal(t, "stopped", s.Apply.State)
	require.Equal(t, "site-a", s.StoppedLogs[0].Site)
}

func TestWaitingForTheOwnStoreEndsWhenItsLogStops(t *testing.T) {
	a, _ := pair(t)
	a.options.Peers = nil
	a.store.Known = func(op wire.Op) bool { return op == engine.OpHost }
	a.start()
	ref, err := a.Append(soon(t), 1, &engine.Entry{Op: 2000, Keys: [][]byte{[]byte("k")}}, engine.Local)
	require.NoError(t, err)
	err = a.Wait(soon(t), ref, engine.AppliedHere)
	require.ErrorIs(t, err, engine.ErrStopped)
	require.ErrorIs(t, err, store.ErrUnknownOp)
}

func TestLevelsThatCannotBeReachedAreRefused(t *testing.T) {
	a, _ := pair(t)
	a.start()
	_, err := a.Append(soon(t), 0, entry("k", "v"), engine.Durable(2))
	require.ErrorIs(t, err, engine.ErrOptions)
	_, err = a.Append(soon(t), 9, entry("k", "v"), engine.Local)
	require.ErrorIs(t, err, engine.ErrOptions)
	_, err = a.Append(soon(t), 0, entry("k", strings.Repeat("x", 2<<20)), engine.Local)
	require.ErrorIs(t, err, wire.ErrLimit)
	_, _, err = a.AppendAt(soon(t), 0, 1, entry("k", "v"), engine.Local)
	require.ErrorIs(t, err, engine.ErrOptions)
	require.Zero(t, a.Status().Appends.Entries, "nothing was done")
}

func TestAppendAtRefusesFallingIndex(t *testing.T) {
	a, b := pair(t)
	a.options.AppendAt = true
	b.start()
	a.start()
	at := func(index uint64, level engine.Level) (bool, error) {
		_, held, err := a.AppendAt(soon(t), 3, index, entry("k", fmt.Sprint(index)), level)
		return held, err
	}
	for _, index := range []uint64{5, 6, 9} {
		held, err := at(index, engine.Applied(1))
		require.NoError(t, err)
		require.False(t, held)
	}
	require.Equal(t, uint64(9), a.LastIndex(3))
	held, err := at(6, engine.Local)
	require.NoError(t, err)
	require.True(t, held)
	_, err = at(0, engine.Local)
	require.ErrorIs(t, err, engine.ErrOptions)
	_, err = at(10, engine.AppliedHere)
	require.ErrorIs(t, err, engine.ErrOptions)
	require.Empty(t, a.store.Rows(), "the engine never applies own logs then")
	require.Equal(t, "9", b.value(3, "k"))
	a.crash()
	a.start()
	require.Equal(t, uint64(9), a.LastIndex(3))
	held, err = at(9, engine.Applied(1))
	require.NoError(t, err)
	require.True(t, held)
	held, err = at(10, engine.Applied(1))
	require.NoError(t, err)
	require.False(t, held)
	require.Len(t, b.store.Rows(), 4, "I2")
}

func TestCloseMakesWhatWasAppendedDurable(t *testing.T) {
	a, _ := pair(t)
	a.options.Peers = nil
	a.start()
	for i := range 500 {
		_, err := a.Append(soon(t), engine.Shard(i%4), entry(fmt.Sprintf("key %d", i), "v"), engine.Async)
		require.NoError(t, err)
	}
	a.end()
	require.NoError(t, a.Engine.Close(soon(t)), "any number of calls")
	_, err := a.Append(soon(t), 0, entry("k", "v"), engine.Local)
	require.ErrorIs(t, err, engine.ErrClosed)
	require.NoError(t, a.Err())
	a.start()
	for shard := range 4 {
		a.put(engine.Shard(shard), "last", "v", engine.AppliedHere)
	}
	for i := range 500 {
		require.Equal(t, "v", a.value(engine.Shard(i%4), fmt.Sprintf("key %d", i)))
	}
}

// TestStalledPeerCostsNeitherMemoryNorAppends: the peer's host does not apply
// and does not read; appends go on, and memory stays in its bounds (I10).
func TestStalledPeerCostsNeitherMemoryNorAppends(t *testing.T) {
	net := linktest.NewMemory()
	a := newSite(t, net, "site-a", "site-b")
	a.quiet(t)
	a.options.PendingBytesMax, a.options.WindowBytesMax, a.options.RecentBytesMax = 4<<20, 2<<20, 4<<20
	silent, err := net.Listen("site-b") // Accepts links and never says a word.
	require.NoError(t, err)
	defer silent.Close()
	go func() { // Ends when the listener closes.
		for {
			if _, err := silent.Accept(); err != nil {
				return
			}
		}
	}()
	a.start()
	payload := strings.Repeat("x", 100_000)
	var ref engine.Ref
	for i := range 600 { // 60 MB, 15 times what may be pending
		ref, err = a.Append(soon(t), engine.Shard(i%4), entry("k", payload), engine.Async)
		require.NoError(t, err)
		require.LessOrEqual(t, a.Status().Appends.PendingBytes, int64(4<<20))
	}
	require.NoError(t, a.Wait(soon(t), ref, engine.AppliedHere))
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	require.Less(t, m.HeapAlloc, uint64(40<<20), "60 MB were appended, and 4 may be pending")
	s := a.Status()
	require.Equal(t, "DEGRADED", s.Health)
	require.Equal(t, "unknown", s.Peers[0].WouldLose.State)
	require.Nil(t, s.Peers[0].WouldLose.Seconds, "unknown is never zero")
}

func TestPurgedJournalStopsAnOldStoreByName(t *testing.T) {
	a, _ := pair(t)
	a.options.Peers = nil
	a.start()
	payload := strings.Repeat("x", 500_000)
	old := a.store.Crash(nil)
	for i := range 40 { // 20 MB over segments of 4
		a.put(0, fmt.Sprint(i), payload, engine.AppliedHere)
	}
	ctx := soon(t)
	for a.Status().Journals[0].Segments > 4 {
		a.put(0, "more", "v", engine.AppliedHere)
		require.NoError(t, ctx.Err(), "segments are given back when the Store has them (I12)")
	}
	a.end()
	a.store, a.options.Store = old, old
	e, err := engine.Open(context.Background(), a.options)
	require.NoError(t, err)
	defer e.Close(context.Background())
	event := a.awaitEvent("apply-stopped")
	require.Contains(t, event.Text, journal.ErrNotRetained.Error())
	require.Equal(t, "FAILED", e.Status().Health)
}

func TestStoreSyncErrorFailsTheNode(t *testing.T) {
	a, _ := pair(t)
	a.options.Peers = nil
	a.options.Store = &unsyncable{Mem: a.store}
	a.start()
	a.put(0, "k", "v", engine.AppliedHere)
	a.awaitEvent("store-failed")
	require.Equal(t, "FAILED", a.Status().Health)
	require.Contains(t, a.Status().Reason, "disk on fire")
	a.put(0, "k", "v", engine.AppliedHere)
}

// TestNextSyncReleasesWhatFailedOneMissed: the shards that were applied to
// before it are not forgotten, else their segments stay until the next start (I12).
func TestNextSyncReleasesWhatFailedOneMissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := pair(t)
		u := &unsyncable{Mem: a.store}
		a.options.Peers, a.options.Store = nil, u
		a.start()
		payload := strings.Repeat("x", 500_000)
		for i := range 40 { // 20 MB over segments of 4
			a.put(1, fmt.Sprint(i), payload, engine.AppliedHere)
		}
		<-time.After(2 * time.Second) // of the bubble's time: a Sync fails behind the last of them
		u.synced.Store(false)
		for range 20 { // 10 MB, so that no newest segment holds the others
			a.put(0, "other", payload, engine.AppliedHere)
			u.synced.Store(false)
		}
		<-time.After(2 * time.Second)
		synctest.Wait()
		require.LessOrEqual(t, a.Status().Journals[0].Segments, 4)
	})
}

// unsyncable syncs once, when it is opened, and never again.
type unsyncable struct {
	*store.Mem
	synced atomic.Bool
}

func (u *unsyncable) Sync(ctx context.Context) error {
	if u.synced.Swap(true) {
		return errors.New("disk on fire")
	}
	return u.Mem.Sync(ctx)
}
