package apply

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine/role"
	"github.com/claudefs/repl/engine/store"
	"github.com/claudefs/repl/wire"
)

// In these tests 1A is the log of site 1 in epoch 1, 2B that of site 2 in epoch 2, and so on;
// 1A:3 is its third batch.

// closedLog is one incarnation: START, and n batches of one entry.
type closedLog struct {
	chainer
	rows []wire.LogEnd
	b    []wire.BatchRef
}

func newLog(t *testing.T, counter uint32, site wire.SiteID, n int, rows ...wire.LogEnd) *closedLog {
	epoch := wire.Epoch(counter)<<32 | wire.Epoch(site)
	if counter == 1 {
		epoch = role.First
	}
	l := &closedLog{rows: rows}
	l.chainer = chainer{incarnation: wire.Incarnation{byte(counter)}, site: site, epoch: epoch}
	l.b = append(l.b, l.chainer.start(t, rows...))
	for range n {
		l.b = append(l.b, l.data(put("a", string(rune('a'+len(l.b))))))
	}
	return l
}

func (l *closedLog) id() wire.LogID { return wire.LogID{Site: l.site, Shard: 3} }

// row says that the log ends with its seq.
func (l *closedLog) row(seq int) wire.LogEnd {
	return wire.LogEnd{Log: l.id(), End: l.b[seq-1].Header.End()}
}

func (l *closedLog) opening() role.Start {
	return role.Start{Log: l.id(), Incarnation: l.incarnation, Epoch: l.epoch, Rows: l.rows}
}

// give hands batches over, and says how many were applied.
func give(t *testing.T, a *Applier, batches ...wire.BatchRef) (applied int) {
	t.Helper()
	for i := range batches {
		done, err := a.Apply(background, &batches[i])
		require.NoError(t, err)
		if done {
			applied++
		}
	}
	return applied
}

// refused requires that a batch waits, for nothing that a cursor says.
func refused(t *testing.T, a *Applier, b wire.BatchRef) {
	t.Helper()
	done, err := a.Apply(background, &b)
	require.False(t, done)
	require.NotNil(t, Waiting(err), "%v", err)
	require.Zero(t, Waiting(err).For)
	require.ErrorContains(t, err, "waits for a START of a higher epoch")
	require.NoError(t, a.Err(b.Header.Log()))
}

// TestOrphanIsPassedOverOnceItsEndIsKnown: also where the reader meets it before the START (I6).
func TestOrphanIsPassedOverOnceItsEndIsKnown(t *testing.T) {
	old := newLog(t, 1, 1, 6)
	next := newLog(t, 2, 2, 1, old.row(3))
	for range 2 {
		s := store.NewMem()
		a := newApplier(t, s)
		require.Empty(t, a.Learn(next.opening()))
		require.Equal(t, 3, give(t, a, old.b...))
		require.Equal(t, 2, give(t, a, next.b...))
		require.Nil(t, a.Past())
		a = newApplier(t, s) // and so after a restart, told or not (H8)
		require.Zero(t, give(t, a, old.b...))
	}
}

// TestEndThatRisesHasPassedEntriesReadAgain: START 3C heard nothing of 2B, and more of 1A.
func TestEndThatRisesHasPassedEntriesReadAgain(t *testing.T) {
	old := newLog(t, 1, 1, 6)
	dead := newLog(t, 2, 2, 1, old.row(3))
	alive := newLog(t, 3, 3, 1, old.row(5))
	a := newApplier(t, store.NewMem())
	a.Learn(dead.opening())
	require.Equal(t, 3, give(t, a, old.b...))
	require.Equal(t, []wire.LogID{old.id()}, a.Learn(alive.opening()))
	refused(t, a, old.b[4]) // the reader has passed what lies before it
	at, rest := a.From(old.id())
	require.False(t, rest)
	require.Equal(t, old.b[2].Header.End(), at.Position)
	require.Equal(t, 2, give(t, a, old.b...))
	require.Zero(t, give(t, a, dead.b...), "it did not survive, and nobody waits for it")
	require.Equal(t, 2, give(t, a, alive.b...))
}

// TestGapIsAStopWhereNothingBecameDue: a reader that skips is a mistake (I3).
func TestGapIsAStopWhereNothingBecameDue(t *testing.T) {
	old := newLog(t, 1, 1, 6)
	a := newApplier(t, store.NewMem())
	give(t, a, old.b[:2]...)
	_, err := a.Apply(background, &old.b[4])
	require.ErrorIs(t, err, wire.ErrProtocol)
}

// TestFencedWriterHoldsOwnEntries until an end for them is known, and applies up to it (H2).
func TestFencedWriterHoldsOwnEntries(t *testing.T) {
	old := newLog(t, 1, 1, 6)
	next := newLog(t, 2, 2, 1, old.row(4))
	a := newApplier(t, store.NewMem())
	require.Equal(t, 2, give(t, a, old.b[:2]...))
	a.Raise(1, next.epoch)
	require.Zero(t, give(t, a, old.b[:2]...), "what is applied is passed over")
	refused(t, a, old.b[2])
	refused(t, a, old.b[3])
	other := newApplier(t, store.NewMem())
	other.Raise(3, next.epoch)
	require.Equal(t, 7, give(t, other, old.b...), "a mirror of it is not held")
	require.Equal(t, []wire.LogID{old.id()}, a.Learn(next.opening()))
	require.Equal(t, 2, give(t, a, old.b...))
	require.Equal(t, 2, give(t, a, next.b...))
}

// TestWriterOfTheEpochHeldAppliesItsTails: they are the ends that its START will name.
func TestWriterOfTheEpochHeldAppliesItsTails(t *testing.T) {
	old := newLog(t, 1, 1, 2)
	a := newApplier(t, store.NewMem())
	a.Raise(1, 2<<32|2)
	refused(t, a, old.b[0])
	require.Equal(t, []wire.LogID{old.id()}, a.Raise(1, 3<<32|1))
	require.Empty(t, a.Raise(1, 2<<32|2), "an epoch never falls")
	require.Equal(t, 3, give(t, a, old.b...))
	require.Equal(t, 2, give(t, a, newLog(t, 3, 1, 1, old.row(3)).b...))
}

// TestStorePastAnEndStopsItsShard, by log, end and cursor, until an end rises.
func TestStorePastAnEndStopsItsShard(t *testing.T) {
	old := newLog(t, 1, 1, 6)
	dead := newLog(t, 2, 2, 1, old.row(3))
	alive := newLog(t, 3, 3, 1, old.row(6))
	s := store.NewMem()
	a := newApplier(t, s)
	require.Equal(t, 5, give(t, a, old.b[:5]...))
	require.Empty(t, a.Learn(dead.opening()))
	for range 2 {
		for _, b := range []wire.BatchRef{old.b[5], dead.b[0]} {
			done, err := a.Apply(background, &b)
			require.False(t, done)
			require.ErrorIs(t, err, ErrPast)
			require.ErrorContains(t, err, "log 00000001/3 is applied up to seq 5")
			require.ErrorContains(t, err, "ends at seq 3")
			require.ErrorContains(t, err, "repair the shard's state from a site that stands at its ends")
			wait, past := Refused(err)
			require.Nil(t, wait)
			require.Equal(t, a.Past(), past)
		}
		a = newApplier(t, s)
		a.Learn(dead.opening())
	}
	_, err := a.Apply(background, &old.b[5])
	require.ErrorIs(t, err, ErrPast)
	require.Equal(t, []wire.LogID{old.id()}, a.Learn(alive.opening()))
	require.Nil(t, a.Past())
	a.From(old.id())
	require.Equal(t, 1, give(t, a, old.b...))
	require.Equal(t, 2, give(t, a, alive.b...))
}

// TestNextApplierInheritsTheEnds: after a repair the Store stands elsewhere, and the ends stay.
func TestNextApplierInheritsTheEnds(t *testing.T) {
	old := newLog(t, 1, 1, 6)
	next := newLog(t, 2, 2, 1, old.row(3))
	past, s := newApplier(t, store.NewMem()), store.NewMem()
	past.Raise(1, next.epoch+1<<32)
	past.Learn(next.opening())
	a := newApplier(t, s)
	a.Inherit(past)
	require.Equal(t, 3, give(t, a, old.b...))
	require.Equal(t, 2, give(t, a, next.b...))
	refused(t, a, newLog(t, 3, 1, 1, old.row(3)).b[0])
}

// TestStoreWithAnIncarnationThatDidNotSurvive is past its end, whatever its seq.
func TestStoreWithAnIncarnationThatDidNotSurvive(t *testing.T) {
	old := newLog(t, 1, 1, 1)
	dead := newLog(t, 2, 2, 1, old.row(2))
	alive := newLog(t, 3, 3, 1, old.row(2))
	a := newApplier(t, store.NewMem())
	give(t, a, old.b...)
	give(t, a, dead.b...)
	a.Learn(alive.opening())
	require.ErrorContains(t, a.Past(), "did not survive")
}

// TestDeadStartHoldsNothingUp: 3B waits for entries of 1A that nobody has any more; then 4C says
// that both are nothing, and opens the same log's next incarnation.
func TestDeadStartHoldsNothingUp(t *testing.T) {
	lost := newLog(t, 1, 1, 3)
	dead := newLog(t, 3, 2, 1, lost.row(4))
	alive := newLog(t, 4, 2, 1)
	a := newApplier(t, store.NewMem())
	waits(t, a, dead.b[0], 1, lost.end)
	waits(t, a, dead.b[1], 1, lost.end)
	require.Equal(t, []wire.LogID{dead.id()}, a.Learn(alive.opening()))
	a.From(dead.id())
	require.Equal(t, 2, give(t, a, append(dead.b, alive.b...)...))
}

// TestLowestWaitingStartIsWhatItsLogWaitsFor: behind it others of the log wait, too, and the
// wait that others end must not be lost among theirs.
func TestLowestWaitingStartIsWhatItsLogWaitsFor(t *testing.T) {
	old := newLog(t, 1, 3, 3)
	first := newLog(t, 2, 2, 1, old.row(4))
	second := newLog(t, 3, 2, 1, first.row(2), old.row(4))
	a := newApplier(t, store.NewMem())
	a.Learn(first.opening())
	a.Learn(second.opening())
	at := func(log wire.LogID) wire.Position { return a.Cursor(log) }
	var w Waits
	var told []*WaitError
	for _, b := range append(first.b, second.b...) {
		told = append(told, waits(t, a, b, 3, old.end))
	}
	require.Empty(t, w.Moved(nil, told, at))
	require.Equal(t, 4, give(t, a, old.b...))
	require.Equal(t, []wire.LogID{first.id()}, w.Moved([]wire.Cursor{{Log: old.id()}}, nil, at))
	a.From(first.id())
	require.Equal(t, 4, give(t, a, append(first.b, second.b...)...))
}

// TestWaitsOfAReaderThatBeginsAgainAreGone: it meets them again.
func TestWaitsOfAReaderThatBeginsAgainAreGone(t *testing.T) {
	mine, other := wire.LogID{Site: 1}, wire.LogID{Site: 2}
	held := &WaitError{Log: mine}
	wait := &WaitError{Log: mine, For: wire.Cursor{Log: other, Position: wire.Position{Seq: 5}}}
	at := func(wire.LogID) wire.Position { return wire.Position{} }
	var w Waits
	require.Empty(t, w.Moved(nil, []*WaitError{wait, held}, at))
	require.Equal(t, []WaitError{*wait}, w.All(), "what a cursor ends is not forgotten for what a START ends")
	w.Begin(func(log wire.LogID) bool { return log == other })
	require.Len(t, w.All(), 1)
	w.Begin(func(log wire.LogID) bool { return log == mine })
	require.Empty(t, w.All())
}

// TestReadingBeginsWhereSomethingMayBeApplied: orphans that were given back are not missed.
func TestReadingBeginsWhereSomethingMayBeApplied(t *testing.T) {
	old := newLog(t, 1, 1, 6)
	next := newLog(t, 2, 2, 3, old.row(3))
	back := newLog(t, 3, 1, 1, old.row(3), next.row(2))
	from := func(a *Applier, log wire.LogID) any {
		at, rest := a.From(log)
		if rest {
			return "rest"
		}
		return at.Position
	}
	s := store.NewMem()
	a := newApplier(t, s)
	require.Equal(t, wire.Position{}, from(a, old.id()))
	a.Learn(next.opening())
	require.Equal(t, wire.Position{}, from(a, old.id()), "START 2B names what nobody knows")
	require.Equal(t, wire.Position{}, from(a, next.id()))
	give(t, a, old.b[:2]...)
	require.Equal(t, old.b[1].Header.End(), from(a, old.id()))
	give(t, a, old.b[2])
	require.Equal(t, "rest", from(a, old.id()), "it stands at its end")
	require.Equal(t, "rest", from(a, wire.LogID{Site: 9, Shard: 3}), "no START names it")
	again := []wire.LogID{old.id(), next.id(), {Site: 9, Shard: 3}}
	opening := back.opening()
	opening.Before = old.b[6].Header.End()
	require.Equal(t, again, a.Learn(opening))
	require.Equal(t, opening.Before, from(a, old.id()), "behind its orphans")
	require.Equal(t, 4, give(t, a, append(next.b, back.b...)...))
	require.Equal(t, "rest", from(a, next.id()))
	require.Equal(t, back.b[1].Header.End(), from(a, old.id()))
}

// TestFeedTakesOlderIncarnationThatArrivedLater: which of two survives is not the Feed's word.
func TestFeedTakesOlderIncarnationThatArrivedLater(t *testing.T) {
	dead, old := headersOf(0, 3, 2), headersOf(0, 1, 4)
	for i := range dead {
		dead[i].Epoch = 3
	}
	for i := range old {
		old[i].Epoch = 1
	}
	f := NewFeed(&holes{}, 1, nil)
	f.Begin()
	for _, h := range append(dead, old...) {
		require.True(t, f.Takes(&h), "epoch %d, seq %d", h.Epoch, h.FirstSeq)
	}
	f.Wait(&dead[0])
	require.False(t, f.Takes(&dead[1]))
	require.True(t, f.Takes(&old[3]), "another incarnation is refused for itself")
}

// TestFeedBeginsBehindWhatIsNotWanted: it asks where, and the journal where its log ends.
func TestFeedBeginsBehindWhatIsNotWanted(t *testing.T) {
	old, next, older := headersOf(0, 1, 4), headersOf(0, 2, 2), headersOf(0, 7, 1)
	next[0].Epoch, next[1].Epoch = 2, 2
	at, rest := wire.Cursor{Position: old[1].End()}, true
	j := &holes{ends: map[wire.LogID]wire.Position{old[0].Log(): old[3].End()}}
	f := NewFeed(j, 1, func(wire.LogID) (wire.Cursor, bool) { return at, rest })
	f.Begin()
	require.Equal(t, old[3].End(), f.End(old[0].Log()))
	require.True(t, f.Takes(&next[0]), "a START that comes later")
	at, rest = wire.Cursor{Position: old[3].End(), Epoch: 2}, false
	f.Begin()
	require.Equal(t, at.Position, f.End(old[0].Log()))
	require.False(t, f.Takes(&older[0]))
	require.True(t, f.Takes(&next[0]))
}

func TestSecondIncarnationOfAnEpochStopsItsLog(t *testing.T) { // I5
	one, two := newLog(t, 2, 2, 1), newLog(t, 2, 2, 1)
	two.incarnation = wire.Incarnation{9}
	a := newApplier(t, store.NewMem())
	a.Learn(one.opening())
	require.Empty(t, a.Learn(one.opening()))
	a.Learn(two.opening())
	require.ErrorIs(t, a.Err(two.id()), role.ErrTwoWriters)
}

// TestEndInsideABatchStopsTheLog: batches are never grouped again, so it is another history (I4).
func TestEndInsideABatchStopsTheLog(t *testing.T) {
	old := newLog(t, 1, 1, 1)
	wide := old.data(put("b", "1"), put("c", "2"))
	forked := old.row(2)
	forked.End.Chain[0]++
	for _, end := range []wire.LogEnd{forked, {Log: old.id(), End: wire.Position{
		Incarnation: old.incarnation, Seq: 3, Chain: wire.Chain{1},
	}}} {
		a := newApplier(t, store.NewMem())
		a.Learn(newLog(t, 2, 2, 1, end).opening())
		var err error
		for _, b := range append(old.b, wide) {
			if err == nil {
				_, err = a.Apply(background, &b)
			}
		}
		require.ErrorIs(t, err, wire.ErrProtocol)
		require.ErrorContains(t, err, "histories differ")
	}
}
