package engine_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/engine/store"
	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/claudefs/repl/wire/link/linktest"
	"github.com/stretchr/testify/require"
)

// writes waits until a site takes appends in every shard.
func (s *site) writes() {
	s.t.Helper()
	for shard := range s.options.Shards {
		require.NoError(s.t, s.Ready(soon(s.t), engine.Shard(shard)), "%s: shard %d", s.options.Site, shard)
	}
}

// follows waits until a site knows who writes.
func (s *site) follows(writer string) {
	s.t.Helper()
	require.Eventually(s.t, func() bool { return s.Status().Primary == writer }, patience, time.Millisecond)
}

// TestSwitchoverLosesNothing: the writing moves there and back, what was acknowledged is at both
// sites, and each site knows who writes (I5, I6).
func TestSwitchoverLosesNothing(t *testing.T) {
	a, b := pair(t)
	a.start()
	b.start()
	sites := map[string]*site{"site-a": a, "site-b": b}
	want := map[string]string{}
	for round, to := range []string{"site-b", "site-a", "site-b", "site-a"} {
		from := sites[a.Status().Primary]
		for i := range 20 {
			key, value := fmt.Sprint("k", i), fmt.Sprint("v", round, ".", i)
			from.put(engine.Shard(i%4), key, value, engine.Durable(1))
			want[key] = value
		}
		report, err := from.Failover(soon(t), to, engine.FailoverOptions{Lossless: true})
		require.NoError(t, err)
		require.True(t, report.Done)
		require.Equal(t, engine.FailoverHandover, report.How)
		sites[to].follows(to)
		sites[to].writes()
		from.follows(to)
		_, err = from.Append(soon(t), 0, entry("k", "v"), engine.Local)
		require.ErrorIs(t, err, engine.ErrStandby)
	}
	for i := range 20 {
		key := fmt.Sprint("k", i)
		a.put(engine.Shard(i%4), key+" last", "v", engine.Applied(1))
		require.Equal(t, want[key], b.value(engine.Shard(i%4), key))
	}
	sameDigests(t, a, b)
	require.Equal(t, "OK", b.Status().Health, b.Status().Reason)
	require.Equal(t, a.Status().Epoch, b.Status().Epoch)
	require.Equal(t, uint64(5), a.Status().Epoch>>32)
}

// TestSwitchoverRightAfterAnAppend: the first flush of a log of the new epoch has not told yet which
// incarnation that is in, and the writing moves on already.
func TestSwitchoverRightAfterAnAppend(t *testing.T) {
	a, b := pair(t)
	a.start()
	b.start()
	a.put(0, "first", "v", engine.Applied(1))
	for i := range 8 {
		for shard := range engine.Shard(4) {
			_, err := a.Append(soon(t), shard, entry(fmt.Sprint("k", i), "v"), engine.Async)
			require.NoError(t, err)
		}
		_, err := a.Failover(soon(t), b.options.Site, engine.FailoverOptions{Lossless: true})
		require.NoError(t, err)
		b.await(func() bool { return b.Status().Appends.State == engine.AppendsOpen },
			func() any { return b.Status().Appends })
		a, b = b, a
	}
	a.put(0, "last", "v", engine.Applied(1))
	sameDigests(t, a, b)
}

// TestSwitchoverUnderLoad: appends go on until the writing has moved, and what any of them was told is
// flushed is at the new writer by then, although the old one dies at once, before anybody has heard
// of the epoch from it: nothing is left behind its ends (I1, I6).
func TestSwitchoverUnderLoad(t *testing.T) {
	a, b := pair(t)
	a.start()
	b.start()
	for shard := range engine.Shard(4) {
		a.put(shard, "first", "v", engine.Applied(1))
	}
	var acked [4][]string
	var count atomic.Int64
	var load sync.WaitGroup
	for shard := range acked {
		load.Go(func() {
			for i := 0; ; i++ {
				key := fmt.Sprint("k", i)
				if _, err := a.Append(soon(t), engine.Shard(shard), entry(key, "v"), engine.Local); err != nil {
					if !errors.Is(err, engine.ErrStandby) && !errors.Is(err, engine.ErrFenced) {
						t.Error(err)
					}
					return
				}
				acked[shard] = append(acked[shard], key)
				count.Add(1)
			}
		})
	}
	a.await(func() bool { return count.Load() > 40 }, func() any { return count.Load() })
	_, err := a.Failover(soon(t), "site-b", engine.FailoverOptions{Lossless: true})
	require.NoError(t, err)
	load.Wait()
	all := func(_ engine.Shard, unsynced int) int { return unsynced }
	a.crashWith(func(vfs.Unsynced) vfs.Fate { return vfs.Keep }, all)
	if _, err = b.Failover(soon(t), "site-b", engine.FailoverOptions{}); err != nil {
		require.ErrorContains(t, err, "writes already", "it had heard of it")
	}
	b.writes()
	for shard, keys := range acked {
		require.NotEmpty(t, keys)
		for _, key := range keys {
			require.Equal(t, "v", b.value(engine.Shard(shard), key), "shard %d, %s", shard, key)
		}
	}
	a.unnamed().start()
	a.follows("site-b")
	for shard := range engine.Shard(4) {
		b.put(shard, "last", "v", engine.Applied(1))
	}
	sameDigests(t, b, a)
	require.Empty(t, a.Status().StoppedLogs)
}

// TestEpochOutlivesRestart: who writes since a failover is on record at both sites.
func TestEpochOutlivesRestart(t *testing.T) {
	a, b := pair(t)
	a.unnamed().start()
	b.unnamed().start()
	a.put(1, "k", "v1", engine.Applied(1))
	_, err := a.Failover(soon(t), "site-b", engine.FailoverOptions{})
	require.NoError(t, err)
	b.follows("site-b")
	b.writes()
	b.put(1, "k", "v2", engine.Applied(1))
	for _, s := range []*site{a, b} {
		s.crash()
	}
	a.start()
	b.start()
	require.Equal(t, "site-b", a.Status().Primary)
	b.writes()
	b.put(1, "k", "v3", engine.Applied(1))
	require.Equal(t, "v3", a.value(1, "k"))
	sameDigests(t, b, a)
}

// TestFailoverWithoutTheWriter: the other site takes over by itself, and the former writer, which
// was gone, follows when it comes back: nothing that both had is lost.
func TestFailoverWithoutTheWriter(t *testing.T) {
	a, b := pair(t)
	a.unnamed().start()
	b.unnamed().start()
	for i := range 8 {
		a.put(engine.Shard(i%4), fmt.Sprint("k", i), "v1", engine.Applied(1))
	}
	a.crash()
	plan, err := b.Failover(soon(t), "site-b", engine.FailoverOptions{Only: true})
	require.NoError(t, err)
	require.False(t, plan.Done)
	require.Equal(t, "site-a", b.Status().Primary, "a plan changes nothing")
	report, err := b.Failover(soon(t), "site-b", engine.FailoverOptions{})
	require.NoError(t, err)
	require.Equal(t, engine.FailoverPromotion, report.How)
	b.writes()
	b.put(1, "k1", "v2", engine.Local)
	a.start()
	a.follows("site-b")
	b.put(1, "k1", "v3", engine.Applied(1))
	require.Equal(t, "v3", a.value(1, "k1"))
	sameDigests(t, b, a)
	_, err = a.Append(soon(t), 1, entry("k", "v"), engine.Local)
	require.ErrorIs(t, err, engine.ErrStandby)
	require.ErrorContains(t, err, "site-b")
}

// TestFencedWriterAcknowledgesNothing: a writer that was cut off, and whose peer took over, takes
// appends until a link tells it. What waited for more than its own journal is answered by
// ErrFenced, and never by success (I5).
func TestFencedWriterAcknowledgesNothing(t *testing.T) {
	net := linktest.NewMemory()
	a, b := newSite(t, net, "site-a", "site-b"), newSite(t, net, "site-b", "site-a")
	a.unnamed().start()
	b.unnamed().start()
	a.put(1, "k", "v1", engine.Applied(1))
	b.crash()
	waits := make(chan error, 1)
	go func() {
		_, err := a.Append(soon(t), 1, entry("k", "of a alone"), engine.Durable(1))
		waits <- err
	}()
	require.Eventually(t, func() bool { return a.Status().Appends.Entries > 1 }, patience, time.Millisecond)
	b.options.Listen = "elsewhere" // site-a does not reach it, until it dials
	peers := b.options.Peers
	b.options.Peers = []engine.Peer{{Site: "site-a", Addrs: []string{"nowhere"}}}
	b.start()
	_, err := b.Failover(soon(t), "site-b", engine.FailoverOptions{})
	require.NoError(t, err)
	b.writes()
	b.put(1, "k", "of b", engine.Local)
	b.end()
	b.options.Listen, b.options.Peers = "site-b", peers
	b.start()
	require.ErrorIs(t, <-waits, engine.ErrFenced)
	a.follows("site-b")
}

// TestSwitchoverWaitsForAdmission: a writer that has just started does not know yet where its logs
// end, as far as appends go: it hands over what its journal has all the same. Found by the simulator.
func TestSwitchoverWaitsForAdmission(t *testing.T) {
	a, b := pair(t)
	a.options.VerifyWait = patience
	a.start()
	b.start()
	a.put(1, "k", "v1", engine.Applied(1))
	b.crash()
	a.put(1, "k", "v2", engine.Local)
	a.crash()
	a.start()
	done := make(chan error, 1)
	go func() {
		_, err := a.Failover(soon(t), "site-b", engine.FailoverOptions{Lossless: true, Timeout: patience})
		done <- err
	}()
	select {
	case err := <-done:
		require.FailNow(t, "site-b is down, and the writing is handed over", err)
	case <-time.After(100 * time.Millisecond):
	}
	b.start()
	require.NoError(t, <-done)
	b.follows("site-b")
	b.writes()
	b.put(1, "other", "v3", engine.Applied(1))
	require.Equal(t, "v2", b.value(1, "k"))
	sameDigests(t, b, a)
}

// unsynced is a Store whose Sync fails while it is told to.
type unsynced struct {
	engine.Store
	fails atomic.Bool
}

func (u *unsynced) Sync(ctx context.Context) error {
	if u.fails.Load() {
		return errors.New("no medium")
	}
	return u.Store.Sync(ctx)
}

// TestEpochWaitsForTheStore: nothing is answered in an epoch before the record and the Store are
// durable, however long that takes; else floors would count what a power cut takes (I5, I12).
func TestEpochWaitsForTheStore(t *testing.T) {
	a, b := pair(t)
	u := &unsynced{Store: a.store}
	a.options.Store = u
	a.start()
	b.start()
	a.put(1, "k", "v", engine.Applied(1))
	u.fails.Store(true)
	done := make(chan error, 1)
	go func() {
		_, err := a.Failover(soon(t), "site-b", engine.FailoverOptions{Lossless: true})
		done <- err
	}()
	a.awaitEvent("persist-failed")
	require.Equal(t, "site-a", b.Status().Primary)
	require.Empty(t, done)
	u.fails.Store(false)
	require.NoError(t, <-done)
	b.follows("site-b")
	b.writes()
}

// TestReservationHoldsUpNoEpoch: whoever holds a place in a log, and does not come back, keeps no site
// from following; what he had there was not done.
func TestReservationHoldsUpNoEpoch(t *testing.T) {
	a, b := pair(t)
	a.start()
	b.start()
	a.put(1, "k", "v", engine.Applied(1))
	held, err := a.Reserve(soon(t), 1, entry("k", ""), 8)
	require.NoError(t, err)
	_, err = b.Failover(soon(t), "site-b", engine.FailoverOptions{})
	require.NoError(t, err)
	a.follows("site-b")
	b.writes()
	b.put(1, "k", "w", engine.Applied(1))
	_, err = held.Commit(soon(t), engine.Local)
	require.ErrorIs(t, err, engine.ErrFenced)
	sameDigests(t, b, a)
}

// TestSwitchoverGivesUpInTime: where the peer does not come to have everything, appends go on.
func TestSwitchoverGivesUpInTime(t *testing.T) {
	a, b := pair(t)
	a.start()
	b.start()
	a.put(1, "k", "v1", engine.Applied(1))
	b.crash()
	a.put(1, "k", "v2", engine.Local)
	_, err := a.Failover(soon(t), "site-b", engine.FailoverOptions{Timeout: 50 * time.Millisecond})
	require.ErrorIs(t, err, engine.ErrUnavailable)
	a.put(1, "k", "v3", engine.Local)
	require.Equal(t, "site-a", a.Status().Primary)
}

// TestFailoverIsAskedWhereItIsDone: each wrong question gets the fact and the next step.
func TestFailoverIsAskedWhereItIsDone(t *testing.T) {
	net := linktest.NewMemory()
	a := newSite(t, net, "site-a", "site-b", "site-c").start()
	b := newSite(t, net, "site-b", "site-a", "site-c").start()
	ask := func(s *site, to string, lossless bool) error {
		_, err := s.Failover(context.Background(), to, engine.FailoverOptions{Only: true, Lossless: lossless})
		return err
	}
	require.ErrorIs(t, ask(a, "site-d", false), engine.ErrOptions)
	require.ErrorIs(t, ask(a, "site-a", false), engine.ErrOptions)
	require.ErrorContains(t, ask(b, "site-c", false), "run it at site site-a, which writes and hands over")
	require.ErrorIs(t, ask(b, "site-b", true), engine.ErrStandby)
	require.NoError(t, ask(b, "site-b", false))
	require.NoError(t, ask(a, "site-b", true))
}

// TestWriterOfYesterdayFollows: the former writer comes back from a copy of before the switchover, and
// the one of now with its disk replaced: both know who writes as soon as somebody tells (H2).
func TestWriterOfYesterdayFollows(t *testing.T) {
	a, b := pair(t)
	a.unnamed().start()
	b.unnamed().start()
	for i := range 8 {
		a.put(engine.Shard(i%4), "k", fmt.Sprint("v", i), engine.Applied(1))
	}
	disk, kept := a.disk.Copy(), a.store.Crash(func(_ engine.Shard, unsynced int) int { return unsynced })
	_, err := a.Failover(soon(t), "site-b", engine.FailoverOptions{Lossless: true})
	require.NoError(t, err)
	b.follows("site-b")
	b.writes()
	b.put(1, "k", "w", engine.Applied(1))
	a.crash()
	a.disk, a.store, a.options.FS, a.options.Store = disk, kept, disk, kept
	a.start()
	a.follows("site-b")
	for shard := range engine.Shard(4) {
		b.put(shard, "last", "x", engine.Applied(1))
	}
	sameDigests(t, b, a)

	a.crash()
	a.disk, a.store = vfs.NewMem(vfs.MemOptions{}), store.NewMem()
	a.options.FS, a.options.Store = a.disk, a.store
	a.start()
	a.follows("site-b")
	for shard := range engine.Shard(4) {
		b.put(shard, "last", "y", engine.Applied(1))
	}
	sameDigests(t, b, a)
}

// three is three sites that replicate; site-a writes.
func three(t testing.TB) (a, b, c *site) {
	net := linktest.NewMemory()
	return newSite(t, net, "site-a", "site-b", "site-c"), newSite(t, net, "site-b", "site-a", "site-c"),
		newSite(t, net, "site-c", "site-a", "site-b")
}

// TestThirdSitePullsWhatIsClosed: a site that was away while the writing moved gets the end of the
// old writer's logs from whoever has it, then the new one's, in that order (I3, I6).
func TestThirdSitePullsWhatIsClosed(t *testing.T) {
	a, b, c := three(t)
	for _, s := range []*site{a, b, c} {
		s.unnamed().start()
	}
	for i := range 8 {
		a.put(engine.Shard(i%4), "k", fmt.Sprint("v", i), engine.Applied(2))
	}
	c.crash()
	for i := range 8 {
		a.put(engine.Shard(i%4), "k", fmt.Sprint("w", i), engine.Applied(1))
	}
	_, err := a.Failover(soon(t), "site-b", engine.FailoverOptions{Lossless: true})
	require.NoError(t, err)
	b.follows("site-b")
	b.writes()
	for i := range 8 {
		b.put(engine.Shard(i%4), fmt.Sprint("of b ", i), "x", engine.Applied(1))
	}
	a.crash() // site-b alone gives it
	c.start()
	c.follows("site-b")
	b.put(1, "last", "x", engine.Applied(1))
	for shard := range engine.Shard(4) {
		b.put(shard, "last", "y", engine.Applied(1))
	}
	sameDigests(t, b, c)
	a.start()
	for shard := range engine.Shard(4) {
		b.put(shard, "last", "z", engine.Applied(2))
	}
	sameDigests(t, b, a)
	for _, s := range []*site{a, b, c} {
		require.Empty(t, s.Status().StoppedLogs, s.options.Site)
	}
}

// TestPromotedSiteTakesWhatAnotherHas: of what the writer had, more is at the third site than at
// the one that is promoted: it asks for that before it writes.
func TestPromotedSiteTakesWhatAnotherHas(t *testing.T) {
	a, b, c := three(t)
	for _, s := range []*site{a, b, c} {
		s.unnamed().start()
	}
	for i := range 8 {
		a.put(engine.Shard(i%4), "k", fmt.Sprint("v", i), engine.Applied(2))
	}
	b.crash()
	for i := range 8 {
		a.put(engine.Shard(i%4), fmt.Sprint("of c ", i), "x", engine.Applied(1))
	}
	a.crash()
	b.unnamed().start()
	require.Eventually(t, func() bool {
		for _, p := range b.Status().Peers {
			if p.Site == "site-c" && p.Link == "live" {
				return true
			}
		}
		return false
	}, patience, time.Millisecond)
	_, err := b.Failover(soon(t), "site-b", engine.FailoverOptions{})
	require.NoError(t, err)
	b.writes()
	for shard := range engine.Shard(4) {
		b.put(shard, "last", "y", engine.Applied(1))
	}
	require.Equal(t, "x", b.value(3, "of c 3"))
	sameDigests(t, b, c)
	a.unnamed().start()
	for shard := range engine.Shard(4) {
		b.put(shard, "last", "z", engine.Applied(2))
	}
	sameDigests(t, b, a)
}

// TestShardThatOnlyTheFormerWriterHas: the site that took over knows of nothing in that shard, until
// the former writer's page shows it: it ends before its first entry.
func TestShardThatOnlyTheFormerWriterHas(t *testing.T) {
	a, b := pair(t)
	a.unnamed().start()
	b.unnamed().start()
	a.put(0, "k", "v", engine.Applied(1))
	b.crash()
	a.put(3, "k", "of a alone", engine.AppliedHere)
	all := func(_ engine.Shard, unsynced int) int { return unsynced }
	a.crashWith(func(vfs.Unsynced) vfs.Fate { return vfs.Keep }, all)
	b.start()
	_, err := b.Failover(soon(t), "site-b", engine.FailoverOptions{})
	require.NoError(t, err)
	b.writes()
	a.start()
	a.follows("site-b")
	require.Eventually(t, func() bool { return len(a.Status().StoppedLogs) > 0 }, patience, time.Millisecond)
	require.Equal(t, 3, a.Status().StoppedLogs[0].Shard)
	report, err := a.Mend(soon(t), engine.MendOptions{From: "site-b", Lose: true})
	require.NoError(t, err)
	require.Equal(t, 1, report.Mended, report.Shards)
	require.Empty(t, a.value(3, "k"))
	for shard := range engine.Shard(4) {
		b.put(shard, "last", "of both", engine.Applied(1))
	}
	sameDigests(t, b, a)
}
