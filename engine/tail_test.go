package engine_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/claudefs/repl/wire/link/linktest"
	"github.com/stretchr/testify/require"
)

// TestTailOfTheFormerWriterIsLeftOut: what the writer had alone when another site took over does not
// come to any other site; its own Store, which has applied it, stops that shard, by name, and the
// others go on, until it is mended from a site that stands at the ends (I6, I7).
func TestTailOfTheFormerWriterIsLeftOut(t *testing.T) {
	a, b := pair(t)
	a.unnamed().start()
	b.unnamed().start()
	for i := range 8 {
		a.put(engine.Shard(i%4), "k", fmt.Sprint("v", i), engine.Applied(1))
	}
	b.crash()
	a.put(1, "k", "of a alone", engine.AppliedHere)
	all := func(_ engine.Shard, unsynced int) int { return unsynced }
	a.crashWith(func(vfs.Unsynced) vfs.Fate { return vfs.Keep }, all)
	b.start()
	_, err := b.Failover(soon(t), "site-b", engine.FailoverOptions{})
	require.NoError(t, err)
	b.writes()
	for shard := range engine.Shard(4) {
		b.put(shard, "last", "of b", engine.Local)
	}
	a.start()
	a.follows("site-b")
	for _, shard := range []engine.Shard{0, 2, 3} {
		b.put(shard, "last", "of b again", engine.Applied(1))
	}
	b.put(1, "last", "of b again", engine.Durable(1))
	require.Equal(t, "v5", b.value(1, "k"))
	require.Eventually(t, func() bool { return len(a.Status().StoppedLogs) > 0 }, patience, time.Millisecond)
	require.Contains(t, a.Status().StoppedLogs[0].Reason, "past")
	require.Equal(t, "FAILED", a.Status().Health)
	for _, l := range a.Status().StoppedLogs {
		require.Equal(t, 1, l.Shard)
	}

	report, err := a.Mend(soon(t), engine.MendOptions{From: "site-b", Lo: 1, Hi: 2, Lose: true})
	require.NoError(t, err)
	require.Equal(t, 1, report.Mended, report.Shards)
	for shard := range engine.Shard(4) {
		b.put(shard, "last", "of both", engine.Applied(1))
	}
	sameDigests(t, b, a)
	require.Empty(t, a.Status().StoppedLogs)
	// Its journal still has what was given up, which its Store will never show: that is no backlog.
	applied := func() bool { return a.Status().Apply.State == engine.ApplyOK }
	a.await(applied, func() any { return a.Status().Apply })
	a.end()
	a.start()
	b.put(1, "last", "after a restart", engine.Applied(1))
	sameDigests(t, b, a)
	a.await(applied, func() any { return a.Status().Apply })
	for _, s := range []*site{a, b} { // and no part of the log
		report, err := s.Verify(soon(t), engine.VerifyOptions{})
		require.NoError(t, err)
		require.Equal(t, engine.VerifyEqual, report.Result, "%s: %+v", s.options.Site, report)
	}
	// It writes again, in that shard too.
	_, err = b.Failover(soon(t), "site-a", engine.FailoverOptions{Lossless: true})
	require.NoError(t, err)
	a.await(func() bool { return a.Status().Appends.State == engine.AppendsOpen },
		func() any { return a.Status().Appends })
	a.put(1, "last", "of a again", engine.Applied(1))
	sameDigests(t, a, b)
}

// TestStoreWithOrphansStopsItsShard: what a fenced writer had applied and its peer never had did not
// survive. Nothing more of that shard is applied, also after a restart, and status says where and
// what helps; the other shards go on (I6, I10).
func TestStoreWithOrphansStopsItsShard(t *testing.T) {
	net := linktest.NewMemory()
	a, b := newSite(t, net, "site-a", "site-b"), newSite(t, net, "site-b", "site-a")
	a.unnamed().start()
	b.unnamed().start()
	a.put(1, "k", "v1", engine.Applied(1))
	a.put(2, "k", "v1", engine.Applied(1))
	b.crash()
	a.put(1, "k", "of a alone", engine.AppliedHere)
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
	a.follows("site-b")
	b.writes()
	b.put(2, "k", "v2", engine.Applied(1))
	for range 2 {
		require.Eventually(t, func() bool { return len(a.Status().StoppedLogs) > 0 }, patience, time.Millisecond)
		stopped := a.Status().StoppedLogs
		require.Len(t, stopped, 1)
		require.Equal(t, uint32(1), uint32(stopped[0].Shard))
		require.Contains(t, stopped[0].Reason, "applier stopped: shard 1: log")
		require.Contains(t, stopped[0].Reason, "ends at seq 2")
		require.Contains(t, stopped[0].Reason, "the Store is past the end of a log")
		require.Equal(t, engine.ApplyStopped, a.Status().Apply.State)
		require.Equal(t, "of a alone", a.value(1, "k"))
		a.crash()
		a.start()
		a.follows("site-b")
	}
	b.put(2, "k", "v3", engine.Applied(1))
	require.Equal(t, "v3", a.value(2, "k"))
	_, err = a.Failover(soon(t), "site-a", engine.FailoverOptions{Only: true})
	require.ErrorIs(t, err, engine.ErrStopped, "it is not promoted before it is mended")
	require.ErrorContains(t, err, "cfs admin replication mend 1 --from SITE")
	require.False(t, a.Status().MayPromote)
	require.Contains(t, a.Status().MayPromoteReason, "cfs admin replication mend 1 --from SITE")
	require.Equal(t, "it writes", b.Status().MayPromoteReason)
}

// TestMendCountsWhatIsLostForGood: entries that a file of orphans keeps are not lost, and neither are
// those of older incarnations that survived, which the other site has.
func TestMendCountsWhatIsLostForGood(t *testing.T) {
	a, b := pair(t)
	a.unnamed().start()
	b.unnamed().start()
	for i := range 5 {
		a.put(1, fmt.Sprint("k", i), "of a", engine.Applied(1))
	}
	_, err := a.Failover(soon(t), "site-b", engine.FailoverOptions{Lossless: true})
	require.NoError(t, err)
	open := func(s *site) {
		s.await(func() bool { return s.Status().Appends.State == engine.AppendsOpen },
			func() any { return s.Status().Appends })
	}
	open(b)
	for i := range 3 {
		b.put(1, fmt.Sprint("k", i), "of b", engine.Applied(1))
	}
	a.crash()
	b.put(1, "k0", "of b alone", engine.AppliedHere)
	b.put(1, "k1", "of b alone", engine.AppliedHere)
	all := func(_ engine.Shard, unsynced int) int { return unsynced }
	b.crashWith(func(vfs.Unsynced) vfs.Fate { return vfs.Keep }, all)
	a.start()
	_, err = a.Failover(soon(t), "site-a", engine.FailoverOptions{})
	require.NoError(t, err)
	open(a)
	a.put(1, "k2", "of a again", engine.Local)
	b.start()
	b.follows("site-a")
	b.await(func() bool { return len(b.Status().StoppedLogs) > 0 }, func() any { return b.Status() })
	report, err := b.Mend(soon(t), engine.MendOptions{From: "site-a", Lo: 1, Hi: 2})
	require.NoError(t, err)
	require.Equal(t, 1, report.Mended, report.Shards)
	require.Zero(t, report.Shards[0].LostEntries)
	require.Equal(t, int64(2), b.Status().Orphans.Entries, "they are in a file")
	a.put(1, "last", "v", engine.Applied(1))
	sameDigests(t, a, b)
}
