package engine_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/engine/store"
	"github.com/stretchr/testify/require"
)

// The sites of these tests are open while their disks rot, and none is started again
// to find or mend it.

// bulk is a payload that names itself, and is so large that a journal which keeps
// 4 MiB in memory has given back the older ones of it.
func bulk(n int) string { return fmt.Sprintf("payload %d.", n) + strings.Repeat("x", 64<<10) }

func (s *site) putBulk(lo, hi int, level engine.Level) {
	s.t.Helper()
	for i := lo; i < hi; i++ {
		s.put(1, fmt.Sprintf("key %d", i), bulk(i), level)
	}
}

// requireWhole: the stored bytes of a site hold, and are its peers'.
func requireWhole(t *testing.T, sites ...*site) {
	t.Helper()
	for _, s := range sites {
		r := verify(t, s, engine.VerifyOptions{Deep: true})
		require.Equal(t, engine.VerifyEqual, r.Result, "%s: %s", s.options.Site, asJSON(t, r))
		require.Empty(t, s.Status().StoppedLogs)
	}
}

// awaitHealth returns when a site's health is that word.
func (s *site) awaitHealth(word string) engine.Status {
	s.t.Helper()
	var st engine.Status
	require.Eventually(s.t, func() bool { st = s.Status(); return st.Health == word }, patience, tick,
		"%s: %v", word, &st)
	return st
}

// TestMirrorThatRotsUnderLoadIsMended: by position and chain, while entries come in.
// site-c is away, so that nothing is given back; then it gets everything (I3, I4, I9).
func TestMirrorThatRotsUnderLoadIsMended(t *testing.T) {
	a, b, c := rotting(t)
	a.putBulk(0, 30, engine.Applied(1))
	var load sync.WaitGroup
	load.Go(func() {
		for i := range 300 {
			e := entry(fmt.Sprint(i), "load")
			if _, err := a.Append(soon(t), engine.Shard(i%4), e, engine.Durable(1)); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for n, i := range []int{3, 12, 13} {
		b.spoil("mirror", fmt.Sprintf("payload %d.", i))
		r := verify(t, b, engine.VerifyOptions{Deep: true})
		require.NotEqual(t, engine.VerifyEqual, r.Result)
		b.awaitMended(1, n+1)
	}
	load.Wait()
	c.start()
	a.put(1, "last", "v", engine.Applied(2))
	sameDigests(t, a, b)
	sameDigests(t, a, c)
	b.awaitHealth("OK")
}

// rotting is three sites, the third of which has been there and is away, with
// journals that keep little in memory and give little back.
func rotting(t *testing.T) (a, b, c *site) {
	a, b, c = trio(t)
	for _, s := range []*site{b, c, a} {
		s.options.RecentBytesMax, s.options.SegmentBytes, s.options.HeartbeatTimeout = 4<<20, 16<<20, patience
		s.start()
	}
	a.put(1, "before", "v", engine.Applied(2))
	c.end()
	return a, b, c
}

// TestOwnLogThatRotsIsMendedWhileItIsShipped: site-c was away, so site-a reads the
// file for it, and meets the rot; site-b has what it took (I4, I9, I14).
func TestOwnLogThatRotsIsMendedWhileItIsShipped(t *testing.T) {
	a, _, c := rotting(t)
	a.putBulk(0, 100, engine.Applied(1))
	a.spoil("own", "payload 40.")
	for i := 5; i < 25; i++ { // more in a row than a link would put up with errors
		a.spoil("own", fmt.Sprintf("payload %d.", i))
	}
	c.start()
	a.awaitMended(0, 1)
	a.put(1, "after", "v", engine.Applied(2))
	require.Equal(t, bulk(40), c.value(1, "key 40"))
	sameDigests(t, a, c)
	a.awaitHealth("OK")
}

// TestOwnLogThatRotsIsMendedWhenItIsVerified: nothing but Verify reads it (I9).
func TestOwnLogThatRotsIsMendedWhenItIsVerified(t *testing.T) {
	a, b, c := rotting(t)
	a.putBulk(0, 10, engine.Applied(1))
	a.spoil("own", "payload 4.")
	r := verify(t, a, engine.VerifyOptions{Deep: true})
	require.NotEqual(t, engine.VerifyEqual, r.Result)
	a.awaitMended(0, 1)
	j := a.Status().Journals[0]
	require.Equal(t, []int{1, 1, 1, 0}, []int{j.Damage, j.Holes, j.Repaired, j.Missing}, "what was found stays told")
	a.end()
	a.start() // The repair outlives a restart, and is what site-c gets.
	require.Equal(t, 1, a.Status().Journals[0].Repaired)
	c.start()
	a.put(1, "after", "v", engine.Applied(2))
	sameDigests(t, a, c)
	requireWhole(t, a, b, c)
	a.awaitHealth("OK")
}

// TestStoreWaitsForRepairOfItsLog: the Store is an older one,
// the peer that has what is lost is away. The log is not stopped; the others go on
// (I3, I9).
func TestStoreWaitsForRepairOfItsLog(t *testing.T) {
	a, b := calm(t)
	b.start()
	a.start()
	a.putBulk(0, 20, engine.Applied(1))
	b.end()
	a.end()
	a.spoil("own", "payload 10.")
	a.store = store.NewMem()
	a.options.Store = a.store
	a.start()
	a.put(2, "other", "v", engine.AppliedHere)
	a.put(1, "behind", "v", engine.Local)
	a.put(2, "another", "v", engine.AppliedHere)
	require.Equal(t, bulk(9), a.value(1, "key 9"))
	require.Empty(t, a.value(1, "key 11"), "from the damage on")
	st := a.Status()
	require.Empty(t, st.StoppedLogs)
	require.Equal(t, "behind", st.Apply.State)
	require.Equal(t, 1, st.Journals[0].Missing)
	require.NotEqual(t, "OK", st.Health)
	b.start()
	a.awaitMended(0, 1)
	a.put(1, "after", "v", engine.AppliedHere)
	require.Equal(t, bulk(10), a.value(1, "key 10"))
	a.put(1, "last", "v", engine.Applied(1))
	sameDigests(t, a, b)
	a.awaitHealth("OK")
}

// gated is a Store that applies when it may.
type gated struct {
	*store.Mem
	gate chan struct{} // closed: it may
}

func (g *gated) Apply(ctx context.Context, c *store.Change) error {
	select {
	case <-g.gate:
	case <-ctx.Done():
		return ctx.Err()
	}
	return g.Mem.Apply(ctx, c)
}

// TestApplierThatMeetsRotGoesOnBehindItsRepair: in either journal, the Store is so
// far behind that its entries are read from the file (I2, I3, I9).
func TestApplierThatMeetsRotGoesOnBehindItsRepair(t *testing.T) {
	for journal, name := range []string{"own", "mirror"} {
		t.Run(name, func(t *testing.T) {
			a, b := calm(t)
			s := []*site{a, b}[journal]
			slow := &gated{s.store, make(chan struct{})}
			s.options.Store, s.options.RecentBytesMax = slow, 4<<20
			a.options.SegmentBytes, b.options.SegmentBytes = 16<<20, 16<<20
			b.start()
			a.start()
			a.putBulk(0, 130, engine.Durable(1))
			for _, i := range []int{40, 41, 60} {
				s.spoil(name, fmt.Sprintf("payload %d.", i))
			}
			close(slow.gate)
			a.put(1, "after", "v", engine.Applied(1))
			require.NoError(t, a.Ready(soon(t), 1))
			s.awaitMended(journal, 1)
			sameDigests(t, a, b)
			requireWhole(t, a, b)
			s.awaitHealth("OK")
		})
	}
}

// TestCopyThatRottedIsNoSource: the same entry rots in site-a's own journal and in
// site-b's mirror. It comes from site-c, to site-a and then to site-b (I4, I9).
func TestCopyThatRottedIsNoSource(t *testing.T) {
	a, b, c := rotting(t)
	c.start()
	a.putBulk(0, 20, engine.Applied(2))
	a.spoil("own", "payload 7.")
	b.spoil("mirror", "payload 7.")
	verify(t, a, engine.VerifyOptions{Deep: true})
	a.awaitMended(0, 1)
	verify(t, b, engine.VerifyOptions{Deep: true})
	b.awaitMended(1, 1)
	requireWhole(t, a, b, c)
	for _, s := range []*site{a, b, c} {
		s.awaitHealth("OK")
	}
}

// TestHealthIsNotOKWhileSomethingIsMissing: both sites lost the same entry before
// either Store showed it, so nobody can give it back, and status does not forget it.
// No log is stopped for that, and nothing behind it is applied (I3, I9).
func TestHealthIsNotOKWhileSomethingIsMissing(t *testing.T) {
	a, b := calm(t)
	gate := make(chan struct{})
	for _, s := range []*site{b, a} {
		s.options.Store, s.options.RecentBytesMax = &gated{s.store, gate}, 4<<20
		s.options.SegmentBytes = 16 << 20
		s.start()
	}
	a.putBulk(0, 100, engine.Durable(1))
	a.awaitHealth("OK")
	a.spoil("own", "payload 4.")
	b.spoil("mirror", "payload 4.")
	close(gate)
	a.put(2, "other", "v", engine.Applied(1))
	for journal, s := range []*site{a, b} {
		require.Eventually(t, func() bool { return s.Status().Journals[journal].Missing == 1 }, patience, tick)
		st := s.Status()
		require.NotEqual(t, "OK", st.Health)
		j := &st.Journals[journal]
		require.Equal(t, []int{1, 1, 0, 1}, []int{j.Damage, j.Holes, j.Repaired, j.Missing})
		require.Equal(t, "behind", st.Apply.State)
		require.Equal(t, bulk(3), s.value(1, "key 3"))
		require.Empty(t, s.value(1, "key 5"))
	}
	require.Contains(t, a.Status().Reason, "damage took 1 stretch of the own journal")
}
