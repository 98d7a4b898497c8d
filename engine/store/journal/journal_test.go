package journal

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/claudefs/repl/wire"
)

const testCluster = wire.ClusterID(77)

// writer makes the batches of logs, as a source would.
type writer struct {
	cluster wire.ClusterID
	site    wire.SiteID
	tails   map[wire.LogID]Tail
	stamp   wire.Stamp
}

func newWriter(site wire.SiteID) *writer {
	return &writer{cluster: testCluster, site: site, tails: map[wire.LogID]Tail{}, stamp: 1 << 20}
}

// batch closes the next batch of a shard: a START if the log is new, else one
// entry whose payload is size bytes.
func (w *writer) batch(shard wire.Shard, size int) wire.BatchRef {
	log := wire.LogID{Site: w.site, Shard: shard}
	tail, known := w.tails[log]
	w.stamp++
	h := wire.BatchHeader{
		Kind: wire.BatchData, Prev: tail.Position.Chain, Cluster: w.cluster, Site: w.site, Shard: shard, Epoch: 1,
		Count: 1, Incarnation: tail.Position.Incarnation, FirstSeq: tail.Position.Seq + 1,
		FirstStamp: w.stamp, LastStamp: w.stamp,
	}
	b := make([]byte, wire.BatchHeaderBytes)
	if !known {
		h.Kind = wire.BatchStart
		h.Incarnation = wire.Incarnation{1, byte(shard), byte(w.site)}
		b, _ = wire.AppendStart(b, nil)
	} else {
		payload := make([]byte, size)
		for i := range payload {
			payload[i] = byte(uint64(w.stamp)*31 + uint64(i))
		}
		e := wire.Entry{Op: 1, Keys: [][]byte{fmt.Appendf(nil, "key-%d", w.stamp%7)}, Payload: payload}
		b = wire.AppendEntry(b, w.stamp, w.stamp, &e)
	}
	wire.CloseBatch(b, &h)
	w.tails[log] = tail.after(&h)
	return wire.BatchRef{Header: h, Bytes: b}
}

func testOptions(fs vfs.FS) Options {
	return Options{
		FS: fs, Dir: "j", Kind: Own, Cluster: testCluster, Site: 5,
		SegmentBytes: 64 << 10, UnitBytesMax: 16 << 10, tiny: true,
	}
}

// flush makes everything staged durable.
func flush(j *Journal) error {
	for {
		f := j.BeginFlush()
		if f == nil {
			return j.Err()
		}
		err := f.Write()
		if err == nil {
			err = f.Sync()
		}
		if _, err := j.EndFlush(f, err); err != nil {
			return err
		}
	}
}

// readAll reads from a unit to the durable end.
func readAll(j *Journal, from UnitNumber) (got [][]byte, errs []error) {
	r := j.NewReader(from)
	defer r.Close()
	for {
		refs, err := r.Next(8 << 10)
		if err != nil {
			errs = append(errs, err)
			if len(errs) > 100 {
				return got, errs
			}
			continue
		}
		if len(refs) == 0 {
			return got, errs
		}
		for i := range refs {
			got = append(got, append([]byte(nil), refs[i].Bytes...))
		}
	}
}

func TestWhatWasFlushedIsReadBackAfterReopening(t *testing.T) { // I1, I3
	mem := vfs.NewMem(vfs.MemOptions{})
	w := newWriter(5)
	var want [][]byte
	for round := range 5 {
		j, rec, err := Open(testOptions(mem))
		require.NoError(t, err)
		require.Equal(t, round == 0, rec.Created)
		require.Equal(t, wire.Term(round+1), rec.Term)
		require.Empty(t, rec.Damage)
		require.Zero(t, rec.TornBytes)
		for i := range 40 {
			b := w.batch(wire.Shard(i%3), 100*i)
			_, err := j.Stage([]wire.BatchRef{b}, nil)
			require.NoError(t, err)
			want = append(want, b.Bytes)
			if i%4 == 0 {
				_, err := j.StageControl([]ControlRecord{{ClockBound: w.stamp}}, w.stamp)
				require.NoError(t, err)
				require.NoError(t, flush(j))
			}
		}
		require.NoError(t, flush(j))
		got, errs := readAll(j, 1)
		require.Empty(t, errs)
		require.Equal(t, len(want), len(got))
		require.Equal(t, want, got)
		for log, tail := range w.tails {
			have, ok := j.Tail(log)
			require.True(t, ok)
			require.Equal(t, tail, have)
		}
		require.NoError(t, j.Close())
	}
}
