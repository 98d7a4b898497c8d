package writer

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/claudefs/repl/engine/store/journal"
	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/claudefs/repl/wire"
	"github.com/stretchr/testify/require"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func newWriter(t testing.TB, shards int) (*Writer, *journal.Journal) {
	return newWriterOn(t, shards, vfs.NewMem(vfs.MemOptions{}))
}

func newWriterOn(t testing.TB, shards int, disk vfs.FS) (*Writer, *journal.Journal) {
	made := byte(0)
	w := New(Options{
		Cluster: 7, Site: 1, Shards: shards, Epoch: 1, BytesMax: 4 << 20, ClockFloor: wire.StampOf(noon) + 5,
		Now:         func() time.Time { return noon },
		Incarnation: func() wire.Incarnation { made++; return wire.Incarnation{made} },
	})
	j, _, err := journal.Open(journal.Options{
		FS: disk, Dir: "/own", Kind: journal.Own, Cluster: 7, Site: 1, SegmentBytes: 64 << 20,
	})
	require.NoError(t, err)
	t.Cleanup(func() { j.Close() })
	return w, j
}

// flush stages what is pending and makes it durable.
func flush(t testing.TB, w *Writer, j *journal.Journal) []wire.BatchHeader {
	t.Helper()
	_, err := w.Flush(j, noon)
	require.NoError(t, err)
	var headers []wire.BatchHeader
	for f := j.BeginFlush(); f != nil; f = j.BeginFlush() {
		err := f.Write()
		if err == nil {
			err = f.Sync()
		}
		done, err := j.EndFlush(f, err)
		require.NoError(t, err)
		headers = append(headers, done.Headers...)
	}
	return headers
}

func entry(payload int) *wire.Entry {
	return &wire.Entry{Op: 1, Keys: [][]byte{[]byte("key")}, Payload: make([]byte, payload)}
}

func TestNewLogBeginsWithItsStartBatch(t *testing.T) {
	w, j := newWriter(t, 2)
	ref, err := w.Append(1, entry(10), 0)
	require.NoError(t, err)
	require.Equal(t, wire.Seq(2), ref.Seq)
	require.Equal(t, wire.LogID{Site: 1, Shard: 1}, ref.Log)
	require.Equal(t, wire.StampOf(noon)+5, w.StampMax())
	headers := flush(t, w, j)
	require.Len(t, headers, 2)
	require.Equal(t, headers[1].LastStamp, w.StampMax())
	start, data := &headers[0], &headers[1]
	require.Equal(t, wire.BatchStart, start.Kind)
	require.Equal(t, wire.Seq(1), start.FirstSeq)
	require.Equal(t, wire.Chain{}, start.Prev)
	require.Equal(t, start.Chain, data.Prev, "I4")
	require.Greater(t, start.FirstStamp, wire.StampOf(noon)+5, "the clock floor")
	require.Greater(t, data.FirstStamp, start.LastStamp)
	require.Zero(t, w.PendingBytes())
}

func TestShardsShareNoCacheLine(t *testing.T) {
	require.Zero(t, reflect.TypeFor[shardLog]().Size()%64)
}

func TestBatchesAreContiguousAndChained(t *testing.T) {
	w, j := newWriter(t, 3)
	r := rand.New(rand.NewPCG(1, 2))
	wall := noon
	w.o.Now = func() time.Time { return wall }
	var want [3][]string
	for n := range 2000 {
		shard := wire.Shard(r.IntN(3))
		payload := fmt.Appendf(nil, "%d ", n)
		payload = append(payload, make([]byte, r.IntN(5000))...)
		e := &wire.Entry{Op: 1, Keys: [][]byte{[]byte("key")}, Payload: payload}
		ref, err := w.Append(shard, e, 0)
		if err == ErrFull {
			flush(t, w, j)
			ref, err = w.Append(shard, e, 0)
		}
		require.NoError(t, err)
		require.Equal(t, wire.Seq(len(want[shard])+2), ref.Seq)
		want[shard] = append(want[shard], string(payload))
		// The clock steps on, back, and far ahead.
		wall = wall.Add([]time.Duration{time.Microsecond, -time.Second, 3 * time.Second}[r.IntN(3)])
		if r.IntN(50) == 0 {
			flush(t, w, j)
		}
	}
	flush(t, w, j)
	require.Equal(t, want, readBack(t, j))
}

// readBack reads all payloads by shard and checks the order of each log (I3, I4).
func readBack(t *testing.T, j *journal.Journal) (got [3][]string) {
	var ends [3]wire.BatchHeader
	for shard := range ends {
		ends[shard].FirstSeq = 1
	}
	reader := j.NewReader(1)
	defer reader.Close()
	for {
		refs, err := reader.Next(1 << 20)
		require.NoError(t, err)
		if len(refs) == 0 {
			return got
		}
		for i := range refs {
			h := refs[i].Header
			end := &ends[h.Shard]
			require.Equal(t, end.Chain, h.Prev)
			require.Equal(t, end.FirstSeq+wire.Seq(end.Count), h.FirstSeq)
			require.Greater(t, h.FirstStamp, end.LastStamp)
			*end = h
			if h.Kind != wire.BatchData {
				continue
			}
			var r wire.EntryReader
			var e wire.Entry
			r.Reset(&h, refs[i].Body())
			for r.Next(&e) {
				got[h.Shard] = append(got[h.Shard], string(e.Payload))
			}
			require.NoError(t, r.Err())
		}
	}
}

func TestFullBatchIsClosedAndTheLargestEntryFits(t *testing.T) {
	w, j := newWriter(t, 1)
	for range 3 {
		_, err := w.Append(0, entry(wire.EntryPayloadBytesMax), 0)
		require.NoError(t, err)
	}
	headers := flush(t, w, j)
	require.Len(t, headers, 4)
	for i := range headers {
		require.LessOrEqual(t, headers[i].Bytes(), wire.BatchBytesMax)
	}
}

func TestClockIsReadOncePerBatch(t *testing.T) {
	w, j := newWriter(t, 1)
	wall, asked := noon, 0
	w.o.Now = func() time.Time { asked++; return wall }
	for batch := range 3 {
		wall = noon.Add(time.Duration(batch+1) * time.Minute)
		for range 100 {
			_, err := w.Append(0, entry(1), 0)
			require.NoError(t, err)
		}
		headers := flush(t, w, j)
		data := headers[len(headers)-1]
		require.Equal(t, batch+1, asked)
		require.WithinDuration(t, wall, data.FirstStamp.Time(), time.Microsecond)
		require.Equal(t, data.FirstStamp+99, data.LastStamp)
	}
}

func TestFullWriterDoesNothingUntilItIsFlushed(t *testing.T) {
	w, j := newWriter(t, 2)
	for {
		_, err := w.Append(0, entry(1<<20), 0)
		if err != nil {
			require.ErrorIs(t, err, ErrFull)
			break
		}
	}
	pending := w.PendingBytes()
	require.LessOrEqual(t, pending, int64(4<<20), "I10")
	_, err := w.Append(1, entry(1<<20), 0)
	require.ErrorIs(t, err, ErrFull)
	require.Equal(t, pending, w.PendingBytes())
	headers := flush(t, w, j)
	require.Zero(t, w.PendingBytes())
	for i := range headers {
		require.Zero(t, headers[i].Shard, "the refused entry left no START batch behind")
	}
}

func TestIndexesRiseAndARefusedOneChangesNothing(t *testing.T) {
	w, j := newWriter(t, 1)
	w.SetTail(0, journal.Tail{LastIndex: 6})
	_, err := w.Append(0, entry(1), 6)
	require.ErrorIs(t, err, ErrIndex)
	_, err = w.Append(0, entry(1), 7)
	require.NoError(t, err)
	_, err = w.Append(0, entry(1), 7)
	require.ErrorIs(t, err, ErrIndex)
	headers := flush(t, w, j)
	require.Equal(t, uint64(6), headers[0].LastIndex)
	require.Equal(t, uint64(7), headers[1].LastIndex)
}

func TestFailedStageDropsPending(t *testing.T) {
	w, j := newWriter(t, 2)
	_, err := w.Append(0, entry(10), 0)
	require.NoError(t, err)
	_, err = w.Append(1, entry(10), 0)
	require.NoError(t, err)
	require.NoError(t, j.Close())
	_, err = w.Flush(j, noon)
	require.ErrorIs(t, err, journal.ErrClosed)
	require.Zero(t, w.PendingBytes(), "memory goes back")
	_, again := w.Append(0, entry(10), 0)
	require.Equal(t, err, again)
	_, again = w.Flush(j, noon)
	require.Equal(t, err, again)
}

func TestSteadyAppendAllocatesNothing(t *testing.T) {
	// Units that only seem to be written take no pages of the memory disk.
	disk := vfs.WithFaults(vfs.NewMem(vfs.MemOptions{}),
		vfs.Fault{Op: vfs.OpWrite, Call: 3, Forever: true, Effect: vfs.LoseWrite})
	w, j := newWriterOn(t, 8, disk)
	e := entry(200)
	e.Keys = [][]byte{bytes.Repeat([]byte("k"), 20), []byte("other")}
	const entries = 1000
	wall := noon
	w.o.Now = func() time.Time { return wall }
	round := func() {
		for i := range entries {
			wall = wall.Add(time.Microsecond)
			if _, err := w.Append(wire.Shard(i%8), e, 0); err != nil {
				panic(err)
			}
		}
		if _, err := w.Flush(j, wall); err != nil {
			panic(err)
		}
		f := j.BeginFlush()
		err := f.Write()
		if err == nil {
			err = f.Sync()
		}
		if _, err = j.EndFlush(f, err); err != nil {
			panic(err)
		}
	}
	for range 5 {
		round()
	}
	perRound := testing.AllocsPerRun(20, round)
	t.Logf("%.0f allocations in a round of %d entries and one flush", perRound, entries)
	require.Less(t, perRound/entries, 0.01)
}

// TestTailThatCameBackRaisesTheClockBound: what is appended first behind it may be
// stamped right behind it, so the bound that is flushed before must cover it (I8).
func TestTailThatCameBackRaisesTheClockBound(t *testing.T) {
	w, _ := newWriter(t, 2)
	back := wire.StampOf(noon.Add(time.Hour))
	w.SetTail(0, journal.Tail{LastStamp: back})
	require.Equal(t, back, w.StampMax())
	w.SetTail(1, journal.Tail{LastStamp: back - 1})
	require.Equal(t, back, w.StampMax())
}
