package sim

import (
	"testing"

	"github.com/claudefs/repl/engine/node"
	"github.com/claudefs/repl/engine/role"
	"github.com/claudefs/repl/wire"
	"github.com/stretchr/testify/require"
)

// TestSwitchoversLoseNothing: the writer moves to and fro under load, also while processes die.
func TestSwitchoversLoseNothing(t *testing.T) {
	for name, faults := range map[string]string{
		"calm":  "",
		"kills": "2s kill site-a span=300ms phase=sync\n5s kill site-b span=300ms phase=frame\n",
	} {
		t.Run(name, func(t *testing.T) {
			marks := live(t, `
				duration 12s
				moves true
				retain false
				shards 2
				100ms burst count=500 span=11s
				3s switchover site-b draw=1
				6s switchover site-a draw=2
				9s switchover site-b draw=3
			`+faults)
			require.Greater(t, marks["switchover done"], 20)
			require.NotZero(t, marks["fenced writer followed"])
			require.Zero(t, marks["orphans"])
			require.Zero(t, marks["Store past an end"])
		})
	}
}

// TestPromotionLeavesOrphans: both sides of a cut write. What the fenced writer had alone survives
// nowhere, its clients follow, and its Store, which is past the end, stops (I6).
func TestPromotionLeavesOrphans(t *testing.T) {
	marks := live(t, `
		duration 12s
		moves true
		retain false
		verify-wait 500ms
		100ms burst count=600 span=11s
		3s cut-both site-a span=5s
		4s promote site-b draw=1
	`)
	require.Equal(t, 10, marks["promoted"])
	for _, mark := range []string{"orphans", "fenced writer followed", "Store past an end"} {
		require.NotZero(t, marks[mark], mark)
	}
}

// TestBothSidesOfACutArePromoted: the higher epoch wins, and what only the other side wrote is
// orphaned as a whole (I5, I6).
func TestBothSidesOfACutArePromoted(t *testing.T) {
	marks := live(t, `
		duration 14s
		sites 3
		moves true
		retain false
		verify-wait 500ms
		100ms burst count=700 span=13s
		3s isolate site-a span=6s
		4s promote site-b draw=1
		5s promote site-a draw=2
		11s switchover site-c draw=3
	`)
	require.NotZero(t, marks["promoted"])
	require.NotZero(t, marks["orphans"])
}

// opened has a START of a site's log in an epoch, with rows, on the medium of a copy.
func (w *world) opened(at int, s *site, e wire.Epoch, in wire.Incarnation, rows ...wire.LogEnd) {
	w.lineage.opened(in, e, wire.Position{})
	w.check.started(at, &extent{rows: rows, header: wire.BatchHeader{
		Kind: wire.BatchStart, Site: s.id, Epoch: e, Incarnation: in, FirstSeq: 1, Count: 1,
	}})
}

// TestLogsEndWhereTheHighestStartSays: a START that a higher one does not name did not survive,
// and binds nothing; sites that do not have it know no end (I6).
func TestLogsEndWhereTheHighestStartSays(t *testing.T) {
	w := young()
	a, b, c := w.sites[0], w.sites[1], w.check
	first := wire.LogEnd{Log: bookLog, End: wire.Position{Incarnation: bookName, Seq: 7}}
	second, err := role.Next(role.First, b.id)
	require.NoError(t, err)
	third, err := role.Next(second, a.id)
	require.NoError(t, err)
	lower := wire.LogEnd{Log: bookLog, End: wire.Position{Incarnation: bookName, Seq: 5}}
	w.opened(1, b, second, wire.Incarnation{2}, lower)
	end, bound := c.end(1, bookLog, role.First)
	require.True(t, bound)
	require.Equal(t, wire.Seq(5), end)
	_, bound = c.end(0, bookLog, role.First)
	require.False(t, bound, "the START is not here")

	w.opened(1, a, third, wire.Incarnation{3}, first)
	end, _ = c.end(1, bookLog, role.First)
	require.Equal(t, wire.Seq(7), end)
	end, bound = c.end(1, wire.LogID{Site: b.id}, second)
	require.True(t, bound)
	require.Zero(t, end, "nothing of it survived")
	h := wire.BatchHeader{Site: bookLog.Site, Epoch: role.First, FirstSeq: 7, Count: 1}
	require.NotPanics(t, func() { c.beyond(1, &h) })
	h.Count = 2
	breaks(t, "I6", func() { c.beyond(1, &h) })
	require.NotPanics(t, func() { c.beyond(0, &h) })
}

// TestEpochHasOneIncarnationOfALog: at the site that it names (I5).
func TestEpochHasOneIncarnationOfALog(t *testing.T) {
	w := young()
	e := w.sites[1].second(t)
	w.opened(1, w.sites[1], e, wire.Incarnation{2})
	require.NotPanics(t, func() { w.opened(0, w.sites[1], e, wire.Incarnation{2}) })
	breaks(t, "I5", func() { w.opened(0, w.sites[1], e, wire.Incarnation{3}) })
	breaks(t, "I5", func() { w.opened(0, w.sites[0], e+1<<32, wire.Incarnation{4}) })
}

// TestOrphanWasNotConfirmedByAll: an entry that every site confirmed survives each move of the
// writer (I1), and one that did not survive is applied nowhere (I6).
func TestOrphanWasNotConfirmedByAll(t *testing.T) {
	left := func(change func(*world, *op)) func() {
		w := young()
		w.epoch = w.sites[1].second(t)
		w.opened(1, w.sites[1], w.epoch, wire.Incarnation{2})
		ref := wire.Ref{Log: bookLog, Incarnation: bookName, Seq: 3}
		w.load.ops = []op{{ref: ref, epoch: role.First, local: true}}
		change(w, &w.load.ops[0])
		return w.check.left
	}
	require.NotPanics(t, left(func(*world, *op) {}))
	breaks(t, "I1", left(func(_ *world, o *op) { o.durable[1] = true }))
	breaks(t, "I6", left(func(_ *world, o *op) { o.applied[1] = true }))
	require.NotPanics(t, left(func(w *world, o *op) { // its Store has stopped
		w.opened(0, w.sites[1], w.epoch, wire.Incarnation{2})
		w.check.applied[0][bookLog] = &history{cursor: wire.Position{Incarnation: bookName, Seq: 3}, epoch: role.First}
		o.applied[0] = true
	}))
}

// TestHandingOverNeedsEverything: the site that takes over has what was acknowledged (I1).
func TestHandingOverNeedsEverything(t *testing.T) {
	w := young()
	from, to := w.sites[0], w.sites[1]
	from.p.epoch = role.First
	w.book(1, node.Mirror)
	ref := wire.Ref{Log: bookLog, Incarnation: bookName, Seq: 5}
	w.load.ops = []op{{ref: ref, epoch: role.First, local: true}}
	require.NotPanics(t, func() { w.check.handsOver(from, to) })
	w.load.ops[0].ref.Seq++
	breaks(t, "I1", func() { w.check.handsOver(from, to) })
}

// TestSwitchoverWaitsForTheWriter: a writer that has just started has no shard open, does not know
// what it appended before, and hands nothing over.
func TestSwitchoverWaitsForTheWriter(t *testing.T) {
	w := young()
	p := w.sites[0].p
	clear(p.admitted)
	require.False(t, p.handedOver(w.sites[1]))
	for shard := range p.admitted {
		p.admitted[shard] = true
	}
	require.True(t, p.handedOver(w.sites[1]))
	require.True(t, p.paused == p.founded)
}

// TestWriterPastAnEndIsReplaced: the operator promotes a site whose Store is past no end; where
// there is none, the world has nothing to wait for.
func TestWriterPastAnEndIsReplaced(t *testing.T) {
	w := young()
	a, b := w.sites[0], w.sites[1]
	held, err := role.Next(b.second(t), a.id)
	require.NoError(t, err)
	a.p.epoch, b.p.epoch = held, held
	w.moveAgain()
	require.Zero(t, w.marks["another site promoted"])
	w.opened(0, b, b.second(t), wire.Incarnation{2})
	past := &history{cursor: wire.Position{Incarnation: bookName, Seq: 3}, epoch: role.First}
	w.check.applied[0][bookLog] = past
	w.moveAgain()
	require.Equal(t, 1, w.marks["another site promoted"])
	require.False(t, w.done)
	w.opened(1, b, b.second(t), wire.Incarnation{2})
	w.check.applied[1][bookLog] = past
	w.moveAgain()
	require.True(t, w.done)
}

// TestLaterIncarnationCoversNoOrphan: a medium that goes on in one does not have what lay beyond
// the end of the one before.
func TestLaterIncarnationCoversNoOrphan(t *testing.T) {
	w := young()
	w.book(0, node.Own)
	l := w.check.ledgers[0][node.Own][bookLog]
	l.ends = append(l.ends, batchEnd{seq: 2*span + 3})
	for seq, want := range map[wire.Seq]bool{5: true, 6: false, 2*span + 1: true, 2*span + 4: false} {
		require.Equal(t, want, w.check.has(0, node.Own, bookLog, bookName, seq), seq)
	}
}
