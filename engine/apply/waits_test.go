package apply

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine/store"
	"github.com/claudefs/repl/wire"
)

// waits requires that a batch waits for a position of a log, and changes nothing.
func waits(t *testing.T, a *Applier, b wire.BatchRef, site wire.SiteID, at wire.Position) *WaitError {
	t.Helper()
	done, err := a.Apply(background, &b)
	require.False(t, done)
	var wait *WaitError
	require.ErrorAs(t, err, &wait)
	require.Equal(t, wire.Cursor{Log: wire.LogID{Site: site, Shard: 3}, Position: at}, wait.For)
	require.NoError(t, a.Err(b.Header.Log()), "it did not stop")
	return wait
}

// TestStartWaitsForItsRows: what site 1 wrote in the first epoch is applied before what
// site 2 writes in the second, whichever is read first (I3).
func TestStartWaitsForItsRows(t *testing.T) {
	s := store.NewMem()
	a := newApplier(t, s)
	old := &chainer{incarnation: wire.Incarnation{1}}
	first := []wire.BatchRef{old.start(t), old.data(put("a", "1")), old.data(put("a", "2"))}
	orphan := old.data(put("a", "orphan"))
	end := first[2].Header.End()
	next := &chainer{incarnation: wire.Incarnation{2}, site: 2, epoch: 2}
	start, data := next.start(t, wire.LogEnd{Log: wire.LogID{Site: 1, Shard: 3}, End: end}), next.data(put("a", "3"))

	waits(t, a, start, 1, end)
	waits(t, a, data, 1, end) // behind a START that waits
	must(t, a, first[0], true)
	must(t, a, first[1], true)
	waits(t, a, start, 1, end)
	must(t, a, first[2], true)
	must(t, a, start, true)
	must(t, a, data, true)
	must(t, a, orphan, false) // its log is closed
	must(t, a, first[1], false)
	for range 2 {
		v, _ := s.Get(3, []byte("a"))
		require.Equal(t, "3", string(v.Payload))
		cursors, err := s.Cursors(3)
		require.NoError(t, err)
		require.Equal(t, []wire.Epoch{1, 2}, []wire.Epoch{cursors[0].Epoch, cursors[1].Epoch})
		a = newApplier(t, s) // and so after a restart, where a reader meets it again
		must(t, a, orphan, false)
	}
}

// TestStorePastItsEndStopsTheNewLog: the Store shows what did not survive (I7); it has to
// be repaired first.
func TestStorePastItsEndStopsTheNewLog(t *testing.T) {
	old := &chainer{incarnation: wire.Incarnation{1}}
	first := []wire.BatchRef{old.start(t), old.data(put("a", "1"))}
	orphan := old.data(put("a", "orphan"))
	mine, other := wire.LogID{Site: 1, Shard: 3}, wire.LogID{Site: 9, Shard: 3}
	foreign := wire.Position{Incarnation: wire.Incarnation{7}, Seq: 1, Chain: wire.Chain{1}}
	for name, rows := range map[string][]wire.LogEnd{
		"beyond its row":    {{Log: mine, End: first[1].Header.End()}},
		"without a row":     {},
		"only others named": {{Log: other, End: foreign}},
	} {
		s := store.NewMem()
		a := newApplier(t, s)
		must(t, a, first[0], true)
		must(t, a, first[1], true)
		must(t, a, orphan, true)
		next := &chainer{incarnation: wire.Incarnation{2}, site: 2, epoch: 2}
		b := next.start(t, rows...)
		if len(rows) > 0 && rows[0].Log == other {
			waits(t, a, b, 9, rows[0].End) // first, what it names
			continue
		}
		done, err := a.Apply(background, &b)
		require.False(t, done, name)
		require.ErrorIs(t, err, ErrPast, name)
		require.ErrorIs(t, a.Err(b.Header.Log()), ErrPast, name)
	}
	s := store.NewMem()
	a := newApplier(t, s)
	must(t, a, first[0], true)
	next := &chainer{incarnation: wire.Incarnation{2}, site: 2}
	must(t, a, next.start(t), true) // in the first epoch START names no other logs
}

// TestWaitingLogGoesOnOnceItsPositionIsThere: also where that was before it told.
func TestWaitingLogGoesOnOnceItsPositionIsThere(t *testing.T) {
	first, second, all := headersOf(0, 1, 5), headersOf(1, 1, 5), headersOf(1, 3, 9)
	a, b := first[0].Log(), second[0].Log()
	wait := []*WaitError{{Log: a, For: wire.Cursor{Log: b, Position: second[2].End()}}}
	at := wire.Position{}
	here := func(log wire.LogID) wire.Position {
		require.Equal(t, b, log)
		return at
	}
	moved := []wire.Cursor{{Log: a, Position: first[0].End()}}
	var w Waits
	require.Empty(t, w.Moved(moved, nil, here))
	require.Empty(t, w.Moved(nil, wait, here))
	require.Len(t, w.All(), 1)
	at = second[1].End()
	require.Empty(t, w.Moved(moved, wait, here))
	require.Len(t, w.All(), 1, "once for each log")
	at = second[3].End()
	require.Equal(t, []wire.LogID{a}, w.Moved(moved, nil, here))
	require.Empty(t, w.All())
	require.Equal(t, []wire.LogID{a}, w.Moved(nil, wait, here), "it is there already")
	require.Empty(t, w.All())
	at, wait[0].At = all[0].End(), all[0].End()
	require.Empty(t, w.Moved(nil, wait, here), "its seq is of another incarnation")
	at.Incarnation = wire.Incarnation{9}
	require.Equal(t, []wire.LogID{a}, w.Moved(moved, nil, here), "the log went on in a third one")
}

// TestFeedPassesOlderIncarnations: a reader that begins again meets them before the newer
// one that the cursor is in, and nobody stops for it (I14).
func TestFeedPassesOlderIncarnations(t *testing.T) {
	older, newer := headersOf(0, 1, 9), headersOf(0, 2, 4)
	for i := range older {
		older[i].Epoch = 1
	}
	for i := range newer {
		newer[i].Epoch = 3
	}
	f := NewFeed(&holes{}, 1, nil)
	f.Set(wire.Cursor{Log: older[0].Log(), Position: newer[1].End(), Epoch: 3})
	f.Begin()
	for i := range older {
		require.False(t, f.Takes(&older[i]), "seq %d", older[i].LastSeq())
	}
	require.Equal(t, newer[1].End(), f.End(older[0].Log()))
	for i := range newer {
		require.True(t, f.Takes(&newer[i])) // up to the cursor the applier passes over them
	}
}

// TestWaitingLogIsReadAgainFromItsCursor: what the reader passed behind it comes again.
func TestWaitingLogIsReadAgainFromItsCursor(t *testing.T) {
	all := headersOf(0, 1, 4)
	f := NewFeed(&holes{}, 1, nil)
	f.Begin()
	require.True(t, f.Takes(&all[0]))
	f.Moved(&all[0])
	require.True(t, f.Takes(&all[1]))
	require.True(t, f.Takes(&all[2]))
	f.Wait(&all[1])
	require.False(t, f.Takes(&all[3]))
	f.Begin()
	require.Equal(t, all[0].End(), f.End(all[0].Log()))
	for i := 1; i < 4; i++ {
		require.True(t, f.Takes(&all[i]))
	}
}
