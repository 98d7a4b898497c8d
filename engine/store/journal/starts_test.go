package journal

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/claudefs/repl/wire"
)

// open closes the START of a later incarnation of a shard's log, with these rows.
func (w *writer) open(t *testing.T, shard wire.Shard, epoch wire.Epoch, rows ...wire.LogEnd) wire.BatchRef {
	t.Helper()
	log := wire.LogID{Site: w.site, Shard: shard}
	w.stamp++
	h := wire.BatchHeader{
		Kind: wire.BatchStart, Cluster: w.cluster, Site: w.site, Shard: shard, Epoch: epoch, Count: 1,
		Incarnation: wire.Incarnation{byte(epoch), byte(shard), byte(w.site)}, FirstSeq: 1,
		FirstStamp: w.stamp, LastStamp: w.stamp,
	}
	b, err := wire.AppendStart(make([]byte, wire.BatchHeaderBytes), rows)
	require.NoError(t, err)
	wire.CloseBatch(b, &h)
	w.tails[log] = w.tails[log].after(&h)
	return wire.BatchRef{Header: h, Bytes: b}
}

// put stages and flushes batches.
func put(t *testing.T, j *Journal, batches ...wire.BatchRef) {
	t.Helper()
	for i := range batches {
		_, err := j.Stage(batches[i:i+1], nil)
		require.NoError(t, err)
	}
	require.NoError(t, flush(j))
}

// TestStartOutlivesItsBatch: where older logs end is known for as long as anybody may ask,
// also when the START's own segment is given back, and to each later Open (I6).
func TestStartOutlivesItsBatch(t *testing.T) {
	for _, kind := range []Kind{Own, Mirror} {
		o := testOptions(vfs.NewMem(vfs.MemOptions{}))
		o.Kind = kind
		w, site := newWriter(5), wire.SiteID(5)
		if kind == Mirror {
			o.Site, site = 9, 5
		}
		j, _ := reopen(t, o, nil)
		put(t, j, w.batch(0, 10), w.batch(0, 10))
		before := w.tails[wire.LogID{Site: site}].Position
		rows := []wire.LogEnd{{Log: wire.LogID{Site: 3}, End: before}, {Log: wire.LogID{Site: site}, End: before}}
		opened := w.open(t, 0, 7<<32|5, rows...)
		put(t, j, opened)
		require.Equal(t, wire.FirstEpoch, j.EpochOf(wire.LogID{Site: site}, before.Incarnation))
		want := []wire.Start{{
			Log: wire.LogID{Site: site}, Incarnation: opened.Header.Incarnation, Epoch: 7<<32 | 5, Rows: rows,
			Before: before,
		}}
		require.Equal(t, want, j.Starts())
		require.Equal(t, want, j.StartsOf([]wire.BatchHeader{opened.Header}))
		for range 80 {
			put(t, j, w.batch(0, 4000))
		}
		gone, err := j.Reclaim(func(log wire.LogID) wire.Position { return w.tails[log].Position })
		require.NoError(t, err)
		require.NotZero(t, gone)
		require.Equal(t, []wire.LogID{{Site: site}}, j.NotRetained(func(wire.LogID) wire.Position { return before }))
		for range 3 {
			var r *Recovery
			j, r = reopen(t, o, j)
			require.Empty(t, r.Damage)
			require.Equal(t, want, j.Starts())
			require.Equal(t, wire.Epoch(7<<32|5), j.Tails()[0].Epoch)
		}
		require.NoError(t, j.Close())
	}
}

// TestStartIsKeptAtEveryPowerCut: as soon as its batch is durable, and in no half.
func TestStartIsKeptAtEveryPowerCut(t *testing.T) {
	mem := vfs.NewMem(vfs.MemOptions{})
	o := testOptions(nil)
	durable, cuts := 0, 0
	o.FS = &tap{mem, func() {
		cuts++
		crashes(mem, uint64(cuts), 2, func(disk *vfs.Mem, what string) {
			other := o
			other.FS = disk
			j, r, err := Open(other)
			require.NoError(t, err, "cut %d, %s", cuts, what)
			require.Empty(t, r.Damage, "cut %d, %s", cuts, what)
			kept := j.Starts()
			require.GreaterOrEqual(t, len(kept), durable, "cut %d, %s", cuts, what)
			for i := range kept {
				require.Equal(t, wire.Epoch(i+2), kept[i].Epoch)
				require.Equal(t, wire.FirstEpoch+wire.Epoch(i), j.EpochOf(kept[i].Log, kept[i].Before.Incarnation))
				require.Equal(t, []wire.LogEnd{{Log: kept[i].Log, End: kept[i].Before}}, kept[i].Rows)
			}
			require.NoError(t, j.Close())
		})
	}}
	j, _, err := Open(o)
	require.NoError(t, err)
	w, log := newWriter(5), wire.LogID{Site: 5}
	for epoch := wire.Epoch(2); epoch < 6; epoch++ {
		for range 8 {
			put(t, j, w.batch(0, 3000))
		}
		put(t, j, w.open(t, 0, epoch, wire.LogEnd{Log: log, End: w.tails[log].Position}))
		durable++
		_, err := j.Reclaim(func(log wire.LogID) wire.Position { return w.tails[log].Position })
		require.NoError(t, err)
	}
	require.Greater(t, cuts, 80)
}

// TestFailedStageKeepsNoStart: what was not staged is not counted, and a head that is full
// refuses by name (I10).
func TestFailedStageKeepsNoStart(t *testing.T) {
	o := testOptions(vfs.NewMem(vfs.MemOptions{}))
	j, _ := reopen(t, o, nil)
	w := newWriter(5)
	put(t, j, w.batch(0, 10))
	end := wire.LogEnd{Log: wire.LogID{Site: 5}, End: w.tails[wire.LogID{Site: 5}].Position}
	good, bad := w.open(t, 0, 2, end), w.open(t, 1, 2)
	bad.Bytes = bad.Bytes[:len(bad.Bytes)-1]
	_, err := j.Stage([]wire.BatchRef{good, bad}, nil)
	require.ErrorIs(t, err, wire.ErrCorrupt)
	require.Zero(t, j.startsStaged)
	for shard := wire.Shard(2); ; shard++ {
		b := w.open(t, shard, 2, end)
		if _, err = j.Stage([]wire.BatchRef{b}, nil); err != nil {
			require.ErrorIs(t, err, wire.ErrLimit)
			require.ErrorContains(t, err, "of STARTs and control state")
			require.Greater(t, int(shard), 100)
			break
		}
		require.NoError(t, flush(j))
	}
	require.NoError(t, flush(j))
	_, err = j.StageControl([]ControlRecord{{Peer: manyCursors(9, 300)}}, 1)
	require.ErrorIs(t, err, wire.ErrLimit, "they share the room")
	require.NoError(t, j.Close())
}

// manyCursors is a peer that takes so many cursors of room.
func manyCursors(site wire.SiteID, cursors int) *wire.RegisteredPeer {
	p := &wire.RegisteredPeer{Site: site, Name: "peer"}
	for i := range cursors {
		p.Cursors = append(p.Cursors, wire.Cursor{Log: wire.LogID{Site: 5, Shard: wire.Shard(i)}})
	}
	return p
}

func TestSpecificationSaysWhatAStartEncodes(t *testing.T) {
	fields, size := formatTable(t, "start")
	require.Equal(t, StartFixedBytes, size)
	var k starts
	s := wire.Start{
		Log: wire.LogID{Site: 1, Shard: 2}, Incarnation: wire.Incarnation{3}, Epoch: 4,
		Rows: []wire.LogEnd{{
			Log: wire.LogID{Site: 8, Shard: 2},
			End: wire.Position{Incarnation: wire.Incarnation{9}, Seq: 10, Chain: wire.Chain{11}},
		}},
		Before: wire.Position{Incarnation: wire.Incarnation{5}, Chain: wire.Chain{6}, Seq: 7},
	}
	k.add(s)
	b := k.encode(nil)
	require.Len(t, b, k.bytes)
	requireFields(t, fields, b, map[string]any{
		"log site": 1, "log shard": 2, "incarnation": 3, "epoch": 4, "before: incarnation": 5, "before: chain": 6,
		"before: seq": 7,
	})
	back, err := decodeStarts(b)
	require.NoError(t, err)
	require.Equal(t, k, back)
	h := &head{kind: Own, segmentBytes: 8 << 20, first: 1, starts: b}
	encoded := h.encode()
	require.EqualValues(t, FormatStarts, encoded[4])
	decoded, err := decodeHead(encoded)
	require.NoError(t, err)
	require.Equal(t, b, decoded.starts)
	for cut := 1; cut < len(b); cut++ {
		_, err := decodeStarts(b[:cut])
		require.ErrorIs(t, err, wire.ErrProtocol)
	}
	_, err = decodeStarts(append(b, b...))
	require.ErrorIs(t, err, wire.ErrProtocol, "twice the same")
}

// TestStartComesBehindWhatItNames: what was to be staged before it may have failed (H7).
func TestStartComesBehindWhatItNames(t *testing.T) {
	o := testOptions(vfs.NewMem(vfs.MemOptions{}))
	o.Kind, o.Site = Mirror, 9
	j, _ := reopen(t, o, nil)
	w, log := newWriter(5), wire.LogID{Site: 5}
	put(t, j, w.batch(0, 10))
	lost := w.batch(0, 10)
	early := w.open(t, 0, 2, wire.LogEnd{Log: log, End: lost.Header.End()})
	later := w.open(t, 0, 3, wire.LogEnd{Log: log, End: early.Header.End()})
	for _, b := range []wire.BatchRef{early, later} {
		_, err := j.Stage([]wire.BatchRef{b}, nil)
		require.ErrorIs(t, err, ErrOrder)
		require.ErrorContains(t, err, "names its end")
	}
	put(t, j, lost, early, later)
	// A START whose log ended in an incarnation before the last one, which did not survive.
	put(t, j, w.open(t, 0, 4, wire.LogEnd{Log: log, End: early.Header.End()}))
	require.Len(t, j.Starts(), 3)
	require.NoError(t, j.Close())
}

// TestReaderBeginsBehindAMiddleIncarnation: which no head's table names, because it came and
// went within one segment.
func TestReaderBeginsBehindAMiddleIncarnation(t *testing.T) {
	o := testOptions(vfs.NewMem(vfs.MemOptions{}))
	j, _ := reopen(t, o, nil)
	w, log := newWriter(5), wire.LogID{Site: 5}
	put(t, j, w.batch(0, 10), w.batch(0, 10))
	j, _ = reopen(t, o, j) // the next head has the first incarnation
	open := func(epoch wire.Epoch) wire.Position {
		b := w.open(t, 0, epoch, wire.LogEnd{Log: log, End: w.tails[log].Position})
		put(t, j, b)
		return b.Header.End()
	}
	middle := open(2)
	open(3)
	have := func(wire.LogID) wire.Position { return middle }
	require.Empty(t, j.NotRetained(have))
	first, err := j.SegmentStart(have, nil)
	require.NoError(t, err)
	require.Greater(t, first, UnitNumber(1), "nothing of the first incarnation is read again")
	require.NoError(t, j.Close())
}

// TestKeepingAStartCostsNoMoreWithMoreShards: each epoch brings one of every shard, one by one.
func TestKeepingAStartCostsNoMoreWithMoreShards(t *testing.T) {
	const shards = 40_000 // sorted by insertion they take half a minute
	var k starts
	begin := time.Now()
	for epoch := wire.Epoch(2); epoch < 6; epoch++ {
		for shard := range wire.Shard(shards) {
			log := wire.LogID{Site: 1, Shard: shard}
			k.add(wire.Start{Log: log, Incarnation: wire.Incarnation{byte(epoch)}, Epoch: epoch})
		}
	}
	all := k.sorted()
	require.Len(t, all, 4*shards)
	require.True(t, slices.IsSortedFunc(all, func(a, b wire.Start) int { return compareStarts(&a, &b) }))
	require.Len(t, k.of(shards-1), 4)
	require.Less(t, time.Since(begin), 15*time.Second)
}
