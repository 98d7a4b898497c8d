package engine_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/engine/store"
	"github.com/claudefs/repl/engine/store/vfs"
)

// What cannot come is not waited for: the bubble's clock says how long a verification took.

// timed is a verification, and how long it took.
func timed(t *testing.T, s *site, o engine.VerifyOptions) (*engine.VerifyReport, time.Duration) {
	t.Helper()
	began := time.Now()
	r, err := s.Verify(t.Context(), o)
	require.NoError(t, err)
	return r, time.Since(began)
}

// TestStoppedShardsAreAnsweredAtOnce: a standby was set up again from nothing after its
// history was given back. Each of its logs is stopped, and the report has the reason and
// what differs, from either site (I14).
func TestStoppedShardsAreAnsweredAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t)
		b.start()
		a.start()
		giveBack(t, a, b)
		b.end()
		b.disk, b.store = vfs.NewMem(vfs.MemOptions{}), store.NewMem()
		b.options.FS, b.options.Store = b.disk, b.store
		b.start()
		a.awaitEvent("log-stopped")
		for a.Status().Peers[0].Link != "live" || len(a.Status().Peers[0].StoppedLogs) < 4 {
			<-time.After(tick)
		}
		for _, s := range []*site{a, b} {
			r, took := timed(t, s, engine.VerifyOptions{})
			require.Less(t, took, 10*time.Second, s.options.Site)
			require.Equal(t, engine.VerifyDifferent, r.Result, asJSON(t, r))
			gaps := r.Peers[0].NotCompared
			require.Contains(t, gaps[len(gaps)-1].Reason, "not retained", asJSON(t, r))
			require.True(t, gaps[len(gaps)-1].Lasting)
			require.Contains(t, r.Peers[0].Reason, `"first `, asJSON(t, r))
		}
		a.end()
		b.end()
	})
}

// TestSilentWriterIsNotWaitedForTwice: two standbys are compared, one of which missed the
// end of the log, and the writer is away: nothing brings it (I14).
func TestSilentWriterIsNotWaitedForTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, c := trio(t)
		for _, s := range []*site{b, c, a} {
			s.start()
		}
		for shard := range 4 {
			a.put(engine.Shard(shard), "before", "v", engine.Applied(2))
		}
		b.end()
		for shard := range 4 {
			a.put(engine.Shard(shard), "missed", "v", engine.Applied(1))
		}
		a.end()
		b.start()
		for b.Status().Peers[1].Link != "live" {
			<-time.After(tick)
		}
		for _, s := range []*site{b, c} {
			other := map[*site]string{b: "site-c", c: "site-b"}[s]
			r, took := timed(t, s, engine.VerifyOptions{Peer: other})
			require.Less(t, took, 25*time.Second, s.options.Site)
			require.Equal(t, engine.VerifyPartly, r.Result, asJSON(t, r))
			require.Empty(t, r.Peers[0].Differences, "one is behind: %s", asJSON(t, r))
		}
		b.end()
		c.end()
	})
}

// TestVerifyNamesSegmentThatIsGone: of a site that is open, in either journal, without
// reading stored bytes. What a peer has comes back, and the next look is clean (I9).
func TestVerifyNamesSegmentThatIsGone(t *testing.T) {
	for journal, name := range []string{"own", "mirror"} {
		for _, cut := range []bool{false, true} {
			a, b, c := rotting(t)
			a.putBulk(0, 24, engine.Applied(1))
			s := []*site{a, b}[journal]
			file := s.disk.Names("/data/" + name + "/segment-")[0]
			if cut {
				f, err := s.disk.Open(file)
				require.NoError(t, err)
				require.NoError(t, f.Truncate(1<<20))
				require.NoError(t, f.Close())
			} else {
				require.NoError(t, s.disk.Remove(file))
			}
			r := verify(t, s, engine.VerifyOptions{Peer: []string{"site-b", "site-a"}[journal]})
			require.Equal(t, engine.VerifyDifferent, r.Result, asJSON(t, r))
			d := r.Peers[0].Differences[0]
			require.Equal(t, []any{"damage", 1, "site-a"}, []any{d.What, d.Shard, d.Site})
			s.awaitMended(journal, 1)
			for _, deep := range []bool{false, true} {
				r = verify(t, s, engine.VerifyOptions{Deep: deep, Peer: []string{"site-b", "site-a"}[journal]})
				require.Equal(t, engine.VerifyEqual, r.Result, asJSON(t, r))
			}
			c.start()
			a.put(1, "last", "v", engine.Applied(2))
			sameDigests(t, a, c)
			for _, s := range []*site{a, b, c} {
				s.end()
			}
		}
	}
}

// TestHoleThatNobodyNeedsGoes: what damage took from an own journal is nowhere else, every
// Store shows it, and nothing is written. It is given back with its segment (I12, I14).
func TestHoleThatNobodyNeedsGoes(t *testing.T) {
	a, b := calm(t)
	b.start()
	a.start()
	a.putBulk(0, 100, engine.Applied(1))
	for range 2 { // each opening begins a segment, and two heads stay
		b.end()
		b.start()
	}
	a.put(2, "more", "v", engine.Applied(1))
	require.Eventually(t, func() bool { return b.Status().Journals[1].Segments == 2 }, patience, tick)
	a.end()
	a.spoilUnit("own", "payload 80.")
	a.start()
	require.Equal(t, 1, a.Status().Journals[0].Missing)
	a.end()
	a.start()
	a.awaitHealth("OK")
	require.Zero(t, a.Status().Journals[0].Missing)
	require.Equal(t, engine.VerifyEqual, verify(t, a, engine.VerifyOptions{Deep: true}).Result)
}

// TestHoleIsNotWaitedFor: what damage took is nowhere, and the Stores stand before it (I14).
func TestHoleIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t)
		gate := make(chan struct{})
		for _, s := range []*site{b, a} {
			s.options.Store, s.options.RecentBytesMax = &gated{s.store, gate}, 4<<20
			s.options.SegmentBytes = 16 << 20
			s.start()
		}
		a.putBulk(0, 100, engine.Durable(1))
		a.spoil("own", "payload 4.")
		b.spoil("mirror", "payload 4.")
		close(gate)
		a.put(2, "other", "v", engine.Applied(1))
		for a.Status().Journals[0].Missing == 0 || b.Status().Journals[1].Missing == 0 {
			<-time.After(tick)
		}
		for _, s := range []*site{a, b} {
			r, took := timed(t, s, engine.VerifyOptions{Lo: 1, Hi: 2})
			require.Less(t, took, 10*time.Second, s.options.Site)
			require.NotEqual(t, engine.VerifyEqual, r.Result, asJSON(t, r))
		}
		a.end()
		b.end()
	})
}
