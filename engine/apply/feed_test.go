package apply

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/wire"
)

// holes is a Journal with damage: the position behind which a log misses something.
type holes struct {
	lost    map[wire.LogID]wire.Position
	repairs uint64
	ends    map[wire.LogID]wire.Position
}

func (h *holes) NextLost(log wire.LogID, at wire.Position) bool {
	from, lost := h.lost[log]
	return lost && from == at
}

func (h *holes) Repairs() uint64 { return h.repairs }

func (h *holes) End(log wire.LogID) wire.Position { return h.ends[log] }

// headersOf are batches of one entry of a shard's log, in one incarnation.
func headersOf(shard wire.Shard, incarnation byte, n int) (headers []wire.BatchHeader) {
	for i := range n {
		headers = append(headers, wire.BatchHeader{
			Kind: wire.BatchData, Incarnation: wire.Incarnation{incarnation}, Site: 1, Shard: shard,
			FirstSeq: wire.Seq(i + 1), Count: 1, Chain: wire.Chain{incarnation, byte(i + 1)},
		})
	}
	return headers
}

// TestLogWaitsForItsRepair: the others go on (I10), and after it so does this one (I14).
func TestLogWaitsForItsRepair(t *testing.T) {
	torn, sound := headersOf(0, 1, 5), headersOf(1, 1, 5)
	j := &holes{lost: map[wire.LogID]wire.Position{torn[0].Log(): torn[1].End()}}
	f := NewFeed(j, 2, nil)
	f.Set(wire.Cursor{Log: torn[0].Log(), Position: torn[0].End()})
	f.Begin()
	require.Equal(t, torn[0].End(), f.End(torn[0].Log()))
	for _, c := range []struct {
		h    *wire.BatchHeader
		want bool
	}{
		{&torn[0], true}, // the applier passes over it
		{&torn[1], true}, {&sound[0], true}, {&torn[3], false}, {&torn[4], false}, {&sound[1], true},
	} {
		require.Equal(t, c.want, f.Takes(c.h), c.h.LastSeq())
	}
	require.Equal(t, torn[1].End(), f.End(torn[0].Log()))

	j.lost, j.repairs = nil, 1
	require.False(t, f.Takes(&torn[3]), "it waits until the reader begins again")
	f.Begin()
	for i := 2; i < 5; i++ {
		require.True(t, f.Takes(&torn[i]))
	}
}

// TestGapIsTheAppliersUnlessARepairPassed: without damage nobody waits for a repair that
// will not come (I3).
func TestGapIsTheAppliersUnlessARepairPassed(t *testing.T) {
	all := headersOf(0, 1, 6)
	j := &holes{}
	f := NewFeed(j, 1, nil)
	f.Begin()
	require.True(t, f.Takes(&all[0]))
	j.repairs++ // of what the reader has passed
	require.False(t, f.Takes(&all[2]))
	f.Begin()
	require.True(t, f.Takes(&all[1]))
	require.True(t, f.Takes(&all[4]), "nothing was lost: the applier says so")
}

// TestFeedComparesWithinIncarnations: a later one whose START was lost leaves a gap,
// whatever its seqs are.
func TestFeedComparesWithinIncarnations(t *testing.T) {
	first, second := headersOf(0, 1, 9), headersOf(0, 2, 4)
	j := &holes{lost: map[wire.LogID]wire.Position{first[0].Log(): first[8].End()}}
	f := NewFeed(j, 1, nil)
	f.Set(wire.Cursor{Log: first[0].Log(), Position: first[8].End()})
	f.Begin()
	require.False(t, f.Takes(&second[2]), "seq 3 lies below seq 9 of another incarnation")
	j.lost = nil
	f.Begin()
	require.True(t, f.Takes(&second[0]))
	require.Equal(t, second[0].End(), f.End(first[0].Log()))
}

// TestStoppedLogIsTakenNoMore, nor is a shard that nobody has.
func TestStoppedLogIsTakenNoMore(t *testing.T) {
	all := headersOf(0, 1, 3)
	f := NewFeed(&holes{}, 1, nil)
	f.Begin()
	require.True(t, f.Stop(all[0].Log()))
	require.False(t, f.Stop(all[0].Log()))
	require.False(t, f.Takes(&all[0]))
	f.Begin()
	require.False(t, f.Takes(&all[0]))
	require.False(t, f.Takes(&headersOf(1, 1, 1)[0]))
}

// TestMovedLogsAreToldOnce, at their last position and sorted.
func TestMovedLogsAreToldOnce(t *testing.T) {
	a, b := headersOf(2, 1, 3), headersOf(1, 1, 3)
	f := NewFeed(&holes{}, 3, nil)
	for range 2 {
		for _, h := range []*wire.BatchHeader{&a[0], &b[0], &a[1], &a[2], &b[1]} {
			f.Moved(h)
		}
		want := []wire.Cursor{{Log: b[0].Log(), Position: b[1].End()}, {Log: a[0].Log(), Position: a[2].End()}}
		require.Equal(t, want, f.TakeMoved())
		require.Empty(t, f.TakeMoved())
	}
}
