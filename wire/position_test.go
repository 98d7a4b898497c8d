package wire

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func in(incarnation byte, seq Seq) Position {
	return Position{Incarnation: Incarnation{incarnation}, Seq: seq, Chain: Chain{incarnation, byte(seq)}}
}

// TestPositionsCompareByTheTable: each row of the table at the head of position.go, and
// the same two positions the other way round.
func TestPositionsCompareByTheTable(t *testing.T) {
	var l Lineage
	l.Learn(Incarnation{1}, 1)
	l.Learn(Incarnation{2}, 2)
	l.Learn(Incarnation{3}, 2) // a second writer of one epoch
	for _, c := range []struct {
		p, q  Position
		plain Order // nothing is known of epochs
		known Order // by l
	}{
		{Position{}, Position{}, OrderLevel, OrderLevel},
		{Position{}, in(1, 1), OrderBefore, OrderBefore},
		{in(1, 5), in(1, 6), OrderBefore, OrderBefore},
		{in(1, 5), in(1, 5), OrderLevel, OrderLevel},
		{in(1, 9), in(2, 5), OrderUnknown, OrderBefore},
		{in(1, 5), in(2, 9), OrderUnknown, OrderBefore},
		{in(2, 5), in(3, 5), OrderUnknown, OrderUnknown},
		{in(1, 5), in(4, 5), OrderUnknown, OrderUnknown},
		{in(4, 5), in(5, 5), OrderUnknown, OrderUnknown},
	} {
		require.Equal(t, c.plain, c.p.Order(c.q), "%s to %s", c.p, c.q)
		require.Equal(t, c.known, l.Order(c.p, c.q), "%s to %s, epochs known", c.p, c.q)
		back := map[Order]Order{OrderBefore: OrderAfter}
		for _, o := range []Order{OrderUnknown, OrderLevel} {
			back[o] = o
		}
		require.Equal(t, back[c.plain], c.q.Order(c.p), "%s to %s", c.q, c.p)
		require.Equal(t, back[c.known], l.Order(c.q, c.p), "%s to %s, epochs known", c.q, c.p)
		require.Equal(t, c.known == OrderLevel, l.Covers(c.p, c.q))
		require.Equal(t, c.known == OrderLevel || c.known == OrderBefore, l.Covers(c.q, c.p))
		lower := c.p
		if c.known == OrderUnknown {
			lower = Position{}
		}
		require.Equal(t, lower, l.Lower(c.p, c.q))
		require.Equal(t, lower, l.Lower(c.q, c.p))
		require.False(t, c.p.Beyond(c.q))
		require.Equal(t, c.plain == OrderBefore, c.q.Beyond(c.p))
	}
}

// TestLineageKeepsTheFirstEpoch: one incarnation has one writer.
func TestLineageKeepsTheFirstEpoch(t *testing.T) {
	var l Lineage
	l.Learn(Incarnation{1}, 0)
	l.Learn(Incarnation{}, 7)
	require.Zero(t, l.Epoch(Incarnation{1}))
	l.Learn(Incarnation{1}, 3)
	l.Learn(Incarnation{1}, 4)
	require.Equal(t, Epoch(3), l.Epoch(Incarnation{1}))
	require.Zero(t, l.Epoch(Incarnation{}))
	require.Zero(t, (*Lineage)(nil).Epoch(Incarnation{1}))
}

func TestEntriesCountInOneIncarnation(t *testing.T) {
	require.Equal(t, int64(4), in(1, 9).EntriesAfter(in(1, 5)))
	require.Zero(t, in(1, 5).EntriesAfter(in(1, 9)))
	require.Equal(t, int64(5), in(1, 5).EntriesAfter(Position{}))
	require.Equal(t, int64(5), in(1, 5).EntriesAfter(in(2, 9)))
	require.Zero(t, Position{}.EntriesAfter(in(1, 9)))
	require.True(t, in(1, 5).Same(in(1, 9)))
	require.True(t, in(1, 5).Same(Position{}))
	require.False(t, in(1, 5).Same(in(2, 5)))
}

// TestBatchFitsAPosition: each case of Fit, behind seq 5 of incarnation 1.
func TestBatchFitsAPosition(t *testing.T) {
	at := in(1, 5)
	batch := func(incarnation byte, first Seq, count uint32, prev, chain Chain) *BatchHeader {
		return &BatchHeader{
			Incarnation: Incarnation{incarnation}, FirstSeq: first, Count: count, Prev: prev, Chain: chain,
		}
	}
	other := Chain{99}
	for _, c := range []struct {
		h    *BatchHeader
		at   Position
		want Fit
	}{
		{batch(1, 6, 2, at.Chain, other), at, FitNext},
		{batch(1, 3, 2, other, other), at, FitHeld},
		{batch(1, 4, 2, other, at.Chain), at, FitEnds},
		{batch(1, 4, 2, other, other), at, FitFork},
		{batch(1, 4, 3, other, other), at, FitStraddles},
		{batch(1, 7, 1, at.Chain, other), at, FitGap},
		{batch(1, 6, 2, other, other), at, FitParts},
		{batch(2, 1, 9, Chain{}, other), at, FitOpens},
		{batch(2, 6, 1, at.Chain, other), at, FitStrange},
		{batch(2, 1, 1, Chain{}, other), Position{}, FitNext},
		{batch(2, 2, 1, other, other), Position{}, FitGap},
		{batch(2, 1, 1, other, other), Position{}, FitParts},
	} {
		require.Equal(t, c.want, c.at.Fit(c.h), "%d to %d of %s behind %s", c.h.FirstSeq, c.h.LastSeq(),
			c.h.Incarnation, c.at)
		require.Equal(t, c.want == FitHeld || c.want == FitEnds, c.want.Holds())
	}
}
