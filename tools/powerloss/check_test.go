package powerloss

import (
	"encoding/binary"
	"testing"

	"github.com/claudefs/repl/wire"
	"github.com/stretchr/testify/require"
)

// batch closes one whose entries are the writer's with these numbers.
func batch(first wire.Seq, prev wire.Chain, writer uint32, numbers ...uint64) wire.BatchRef {
	h := wire.BatchHeader{
		Kind: wire.BatchData, Prev: prev, Incarnation: wire.Incarnation{1}, Cluster: 1,
		Site: wire.SiteIDOf(cluster, source), Epoch: 1, Count: uint32(len(numbers)), FirstSeq: first,
		FirstStamp: wire.Stamp(first) << 12, LastStamp: wire.Stamp(first)<<12 + wire.Stamp(len(numbers)-1),
	}
	b := make([]byte, wire.BatchHeaderBytes)
	for i, number := range numbers {
		payload := binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint32(nil, writer), number)
		e := wire.Entry{Op: 1024, Keys: [][]byte{[]byte("k")}, Payload: payload}
		b = wire.AppendEntry(b, h.FirstStamp, h.FirstStamp+wire.Stamp(i), &e)
	}
	wire.CloseBatch(b, &h)
	return wire.BatchRef{Header: h, Bytes: b}
}

func TestJournalThatIsOutOfOrderIsFoundOut(t *testing.T) {
	one := batch(1, wire.Chain{}, 7, 1, 2)
	chain := one.Header.Chain
	for name, c := range map[string]struct {
		second wire.BatchRef
		faults []string // parts of each
	}{
		"right":           {batch(3, chain, 7, 3), nil},
		"a gap":           {batch(4, chain, 7, 3), []string{"seq 4 follows"}},
		"another history": {batch(3, wire.Chain{9}, 7, 3), []string{"seq 3 follows"}},
		"repeated batch":  {one, []string{"seq 1 follows", "entry 1 of writer 7 follows its entry 2"}},
		"repeated entry":  {batch(3, chain, 7, 2), []string{"entry 2 of writer 7 follows its entry 2"}},
		"skipped entry":   {batch(3, chain, 7, 4), []string{"entry 4 of writer 7 follows its entry 2"}},
		"another writer":  {batch(3, chain, 8, 1), nil},
	} {
		t.Run(name, func(t *testing.T) {
			v, b := &verdict{}, newBook("own")
			b.take(v, &one)
			b.take(v, &c.second)
			require.Len(t, v.faults, len(c.faults), "%v", v.faults)
			require.Equal(t, len(c.faults), v.others)
			for i, part := range c.faults {
				require.Contains(t, v.faults[i], part)
			}
		})
	}
}

func TestChainsThatDifferAreFoundOut(t *testing.T) { // I4
	one := batch(1, wire.Chain{}, 7, 1, 2)
	other := batch(1, wire.Chain{}, 7, 1, 3)
	v, own, mirrored := &verdict{}, newBook("own"), newBook("mirror")
	own.take(v, &one)
	mirrored.take(v, &one)
	compareChains(v, own, mirrored)
	require.False(t, v.bad())
	mirrored = newBook("mirror")
	mirrored.take(&verdict{}, &other)
	compareChains(v, own, mirrored)
	require.Equal(t, 1, v.others)
}

func TestWhatIsGoneTheStoreMustHaveHad(t *testing.T) { // I12
	third := batch(3, wire.Chain{3}, 7, 3)
	log := third.Header.Log()
	for _, c := range []struct {
		floor wire.Seq
		bad   bool
	}{{1, true}, {2, false}, {3, false}} {
		v, b := &verdict{}, newBook("own")
		b.take(v, &third)
		b.checkFloors(v, map[wire.LogID]floor{log: {source, log, third.Header.Incarnation, c.floor}})
		require.Equal(t, c.bad, v.bad(), "floor %d: %v", c.floor, v.faults)
		gone := promise{level: local, inc: third.Header.Incarnation, seq: 2, writer: 7, number: 2}
		require.False(t, b.missing(v, &gone), "the Store has it")
	}
	v, empty := &verdict{}, newBook("own")
	empty.checkFloors(v, map[wire.LogID]floor{log: {source, log, third.Header.Incarnation, 2}})
	require.False(t, empty.missing(v, &promise{inc: third.Header.Incarnation, seq: 2}))
	require.True(t, empty.missing(v, &promise{inc: third.Header.Incarnation, seq: 3}))
}
