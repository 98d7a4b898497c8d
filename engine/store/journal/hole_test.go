package journal

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/wire"
)

// holeAt is a position of incarnation i; 0 is nothing.
func holeAt(i byte, seq wire.Seq) wire.Position {
	if i == 0 {
		return wire.Position{}
	}
	return wire.Position{Incarnation: wire.Incarnation{i}, Seq: seq, Chain: wire.Chain{i, byte(seq)}}
}

// TestHolesCompareWithinIncarnations: a seq of another incarnation says nothing (I4).
func TestHolesCompareWithinIncarnations(t *testing.T) {
	one := Hole{From: holeAt(1, 40), To: holeAt(1, 50)}
	first := Hole{To: holeAt(1, 50)}
	over := Hole{From: holeAt(1, 40), To: holeAt(2, 7)}
	open := Hole{From: holeAt(1, 40)}
	unknown := Hole{}
	for _, c := range []struct {
		name           string
		h              Hole
		at             wire.Position
		contains, wait bool
	}{
		{"at its begin", one, holeAt(1, 40), false, true},
		{"inside", one, holeAt(1, 45), true, true},
		{"at its end", one, holeAt(1, 50), true, false},
		{"behind it", one, holeAt(1, 51), false, false},
		{"before it", one, holeAt(1, 39), false, false},
		{"seq inside, other incarnation", one, holeAt(2, 45), false, false},
		{"nothing", one, holeAt(0, 0), false, false},
		{"nothing, at the log's begin", first, holeAt(0, 0), false, true},
		{"inside, from the log's begin", first, holeAt(1, 1), true, true},
		{"other incarnation, from the log's begin", first, holeAt(3, 1), false, false},
		{"rest of the first incarnation", over, holeAt(1, 90), true, true},
		{"begin of the next incarnation", over, holeAt(2, 1), true, true},
		{"end in the next incarnation", over, holeAt(2, 7), true, false},
		{"behind it in the next incarnation", over, holeAt(2, 8), false, false},
		{"third incarnation, perhaps between", over, holeAt(3, 9), true, true},
		{"at the begin of an open hole", open, holeAt(1, 40), false, true},
		{"in an open hole", open, holeAt(1, 4000), true, true},
		{"before an open hole", open, holeAt(1, 3), false, false},
		{"nothing known, nothing had", unknown, holeAt(0, 0), false, true},
		{"nothing known", unknown, holeAt(1, 3), true, true},
	} {
		require.Equal(t, c.contains, c.h.Contains(c.at), c.name)
		require.Equal(t, c.wait, c.h.TakesNext(c.at), c.name)
	}
	other := holeAt(1, 40)
	other.Chain[5]++
	require.False(t, one.TakesNext(other), "another history at the hole's begin waits for nothing")
}

// TestMissingAsksForEachHole, closed ones only, and tells once what is missing no more: one
// that nobody has holds up no other of its log (I14).
func TestMissingAsksForEachHole(t *testing.T) {
	a, b := wire.LogID{Site: 1, Shard: 1}, wire.LogID{Site: 1, Shard: 2}
	open := Hole{Log: a, From: holeAt(1, 90)}
	a1 := Hole{Log: a, From: holeAt(1, 10), To: holeAt(1, 20)}
	a2 := Hole{Log: a, From: holeAt(1, 30), To: holeAt(1, 40)}
	b1 := Hole{Log: b, From: holeAt(1, 5), To: holeAt(1, 6)}
	var m Missing
	gone, ask := m.Update([]Hole{open})
	require.Empty(t, ask)
	require.Empty(t, gone)
	require.False(t, m.Any())

	gone, ask = m.Update([]Hole{open, a1, a2, b1})
	require.Equal(t, []Hole{a1, a2, b1}, ask)
	require.Empty(t, gone)
	gone, ask = m.Update([]Hole{open, a1, a2, b1})
	require.Empty(t, ask)
	require.Empty(t, gone)

	rest := a1
	rest.From = holeAt(1, 15)
	gone, ask = m.Update([]Hole{open, rest, a2, b1})
	require.Equal(t, []Hole{a1}, gone)
	require.Equal(t, []Hole{rest}, ask, "the part that is left")
	gone, ask = m.Update([]Hole{open, a2})
	require.Empty(t, ask)
	require.Equal(t, []Hole{rest, b1}, gone)
	gone, _ = m.Update([]Hole{open})
	require.Equal(t, []Hole{a2}, gone)
	require.False(t, m.Any())
}

// TestPiecesBecomeOneStretch: side by side with other logs', and anew where an answer
// ended early.
func TestPiecesBecomeOneStretch(t *testing.T) {
	a, b := wire.LogID{Site: 1, Shard: 1}, wire.LogID{Site: 1, Shard: 2}
	batch := func(seq wire.Seq) wire.BatchRef {
		return wire.BatchRef{Header: wire.BatchHeader{
			Incarnation: wire.Incarnation{1}, FirstSeq: seq, Count: 1, Chain: wire.Chain{1, byte(seq)},
		}, Bytes: []byte{byte(seq)}}
	}
	var p Pieces
	lent := batch(11)
	require.Nil(t, p.Add(a, holeAt(1, 10), []wire.BatchRef{lent}, false))
	lent.Bytes[0] = 99 // the frame is used again
	require.Len(t, p.Add(b, holeAt(1, 3), []wire.BatchRef{batch(4)}, true), 1)
	whole := p.Add(a, holeAt(1, 11), []wire.BatchRef{batch(12), batch(13)}, true)
	require.Len(t, whole, 3)
	require.Equal(t, []byte{11}, whole[0].Bytes)

	require.Nil(t, p.Add(a, holeAt(1, 13), []wire.BatchRef{batch(14)}, false))
	require.Nil(t, p.Add(a, holeAt(1, 13), []wire.BatchRef{batch(14)}, false), "asked again from there")
	require.Len(t, p.Add(a, holeAt(1, 14), []wire.BatchRef{batch(15)}, true), 2)
	require.Empty(t, p.logs)
}

// TestRepairFillsNoOtherLog: what was repaired is a part of a longer hole now. The hole of a
// log whose end nobody knows would take its positions, which are another log's (I4, I9).
func TestRepairFillsNoOtherLog(t *testing.T) {
	m, o, all := mirrored(t, 12)
	_, units := m.spots(t, oldName)
	for _, i := range []int{4, 10} { // the younger one hides where a log ends
		m.files[oldName][units[i].off+40] ^= 1
	}
	mem := m.disk(t, "j")
	o.FS = mem
	j, rec := reopen(t, o, nil)
	require.Len(t, rec.Suspect, 1)
	suspect := rec.Suspect[0]
	of := func(j *Journal) []Hole {
		return slices.DeleteFunc(sorted(j.Holes()), func(h Hole) bool { return h.Log != suspect || !h.Open() })
	}
	ends := of(j)
	require.Len(t, ends, 1)
	mended := 0
	for _, h := range j.Holes() {
		if !h.Open() {
			require.NoError(t, j.Repair(h.Log, all.fetch(h.Log, h.From, h.To)))
			mended++
		}
	}
	require.NotZero(t, mended)
	require.NoError(t, j.Close())
	flipBit(t, mem, "j/"+oldName, units[3].off+40)
	j, _ = reopen(t, o, nil)
	require.Equal(t, ends, of(j))
	require.Equal(t, mended, j.Stats().Repaired, "each repair fills its part")
	for _, h := range j.Holes() {
		require.True(t, h.Open() || h.From.Seq < h.To.Seq, "log %s: %s to %s", h.Log, h.From, h.To)
	}
	repairAll(t, j, all)
	requireWhole(t, j, all)
}
