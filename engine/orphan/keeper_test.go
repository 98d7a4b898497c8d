package orphan

import (
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine/store/journal"
	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/claudefs/repl/wire"
)

// rig is the two journals of site 1, and what keeps its orphans.
type rig struct {
	t           *testing.T
	disk        *vfs.Mem
	files       fullDisk
	own, mirror *journal.Journal
	*Keeper
}

// fullDisk has no room for new files while it is told so.
type fullDisk struct {
	vfs.FS
	full atomic.Bool
}

func (d *fullDisk) Create(name string) (vfs.File, error) {
	if d.full.Load() {
		return nil, syscall.ENOSPC
	}
	return d.FS.Create(name)
}

func newRig(t *testing.T) *rig {
	r := &rig{t: t, disk: vfs.NewMem(vfs.MemOptions{})}
	r.files.FS = r.disk
	open := func(kind journal.Kind, dir string) *journal.Journal {
		j, _, err := journal.Open(journal.Options{
			FS: r.disk, Dir: dir, Kind: kind, Cluster: 5, Site: 1, SegmentBytes: 4 << 20,
		})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, j.Close()) })
		return j
	}
	r.own, r.mirror = open(journal.Own, "own"), open(journal.Mirror, "mirror")
	r.reopen()
	return r
}

func (r *rig) reopen() {
	var err error
	r.Keeper, err = Open(&r.files, "orphans", r.own, r.mirror)
	require.NoError(r.t, err)
}

func (r *rig) put(j *journal.Journal, batches ...wire.BatchRef) {
	_, err := j.Stage(batches, nil)
	require.NoError(r.t, err)
	f := j.BeginFlush()
	require.NoError(r.t, f.Write())
	require.NoError(r.t, f.Sync())
	_, err = j.EndFlush(f, nil)
	require.NoError(r.t, err)
}

// start is the START of a site's log of logA's shard, with these rows.
func start(t *testing.T, site wire.SiteID, epoch wire.Epoch, rows ...wire.LogEnd) wire.BatchRef {
	return opening(t, wire.LogID{Site: site, Shard: logA.Shard}, wire.Incarnation{byte(site), 9}, epoch, rows...)
}

func opening(t *testing.T, log wire.LogID, in wire.Incarnation, epoch wire.Epoch, rows ...wire.LogEnd) wire.BatchRef {
	h := wire.BatchHeader{
		Kind: wire.BatchStart, Cluster: 5, Site: log.Site, Node: 1, Shard: log.Shard, Epoch: epoch, Count: 1,
		Incarnation: in, FirstSeq: 1, FirstStamp: 50, LastStamp: 50,
	}
	b, err := wire.AppendStart(make([]byte, wire.BatchHeaderBytes), rows)
	require.NoError(t, err)
	wire.CloseBatch(b, &h)
	return wire.BatchRef{Header: h, Bytes: b}
}

// logOf is a log of the first epoch: its START, then batches of so many entries.
func logOf(t *testing.T, log wire.LogID, in wire.Incarnation, counts ...int) []wire.BatchRef {
	first := opening(t, log, in, 1)
	return append([]wire.BatchRef{first}, batchesOf(log, in, 1, 1, first.Header.Chain, counts...)...)
}

// look saves, and returns how many entries were saved for the first time.
func (r *rig) look() (entries int64) {
	told, err := r.Look()
	require.NoError(r.t, err)
	for _, one := range told {
		require.False(r.t, one.Gone)
		entries += one.Entries
	}
	require.False(r.t, r.Stale())
	return entries
}

func (r *rig) seqs() (seqs []wire.Seq) {
	require.NoError(r.t, r.Entries(inA, func(_ *Range, e *wire.Entry) error {
		seqs = append(seqs, e.Seq)
		return nil
	}))
	return seqs
}

// TestTailBeyondItsEndIsSavedOnce: nothing while no end is bound; then what lies beyond it, once, over
// restarts as well (I6).
func TestTailBeyondItsEndIsSavedOnce(t *testing.T) {
	r := newRig(t)
	batches := logOf(t, logA, inA, 2, 2, 4)
	r.put(r.own, batches...)
	require.Zero(t, r.look())
	r.put(r.mirror, start(t, 2, 2<<32|2, wire.LogEnd{Log: logA, End: batches[1].Header.End()}))
	require.True(t, r.Withholds(logA), "it was not looked yet")
	require.Error(t, r.Holds(logA.Shard))
	require.Equal(t, int64(6), r.look())
	require.False(t, r.Withholds(logA))
	require.NoError(t, r.Holds(logA.Shard))
	for range 2 {
		require.Equal(t, []wire.Seq{4, 5, 6, 7, 8, 9}, r.seqs())
		require.Zero(t, r.look())
		r.reopen()
	}
	require.Zero(t, r.look())
	require.True(t, r.Has(wire.Ref{Log: logA, Incarnation: inA, Seq: 4}))
	require.False(t, r.Has(wire.Ref{Log: logA, Incarnation: inA, Seq: 3}))
	require.NoError(t, r.Settle([]Range{r.List()[0].Range}))
	r.reopen()
	require.Zero(t, r.look(), "it is settled, and the journal has it still")
	require.Empty(t, r.List())
}

// TestEndThatRisesTakesEntriesOff: a later START names the log further on, and not the one whose START
// said otherwise: what survived after all is not listed any more.
func TestEndThatRisesTakesEntriesOff(t *testing.T) {
	r := newRig(t)
	batches := logOf(t, logA, inA, 2, 2, 4)
	r.put(r.own, batches...)
	r.put(r.mirror, start(t, 2, 2<<32|2, wire.LogEnd{Log: logA, End: batches[1].Header.End()}))
	require.Equal(t, int64(6), r.look())
	r.put(r.mirror, start(t, 3, 3<<32|3, wire.LogEnd{Log: logA, End: batches[2].Header.End()}))
	for range 2 {
		r.look()
		require.Equal(t, []wire.Seq{6, 7, 8, 9}, r.seqs())
		require.Equal(t, int64(4), r.List()[0].Entries)
		require.False(t, r.Has(wire.Ref{Log: logA, Incarnation: inA, Seq: 5}))
		r.reopen()
	}
}

// TestKeepsIsForAllBetween: a stretch is kept if each of its entries is in a file, of that incarnation.
func TestKeepsIsForAllBetween(t *testing.T) {
	r := newRig(t)
	batches := logOf(t, logA, inA, 2, 2, 4)
	at, to := batches[0].Header.End(), batches[2].Header.End()
	r.put(r.own, batches...)
	require.False(t, r.Keeps(logA, at, to))
	r.put(r.mirror, start(t, 2, 2<<32|2, wire.LogEnd{Log: logA, End: batches[1].Header.End()}))
	r.look()
	require.True(t, r.Keeps(logA, batches[1].Header.End(), to))
	require.False(t, r.Keeps(logA, at, to), "two of them survived, and are in no file")
	to.Incarnation[0]++
	require.False(t, r.Keeps(logA, batches[1].Header.End(), to))
	require.NoError(t, r.Settle([]Range{r.List()[0].Range}))
	to.Incarnation[0]--
	require.False(t, r.Keeps(logA, batches[1].Header.End(), to), "discarded")
}

// TestEndThatFallsHasMoreSaved: the lower END is known later.
func TestEndThatFallsHasMoreSaved(t *testing.T) {
	r := newRig(t)
	batches := logOf(t, logA, inA, 2, 2, 4)
	r.put(r.own, batches...)
	r.put(r.mirror, start(t, 2, 2<<32|2, wire.LogEnd{Log: logA, End: batches[2].Header.End()}))
	require.Equal(t, int64(4), r.look())
	r.put(r.mirror, start(t, 3, 3<<32|3, wire.LogEnd{Log: logA, End: batches[1].Header.End()}))
	require.Equal(t, int64(2), r.look())
	require.Equal(t, int64(6), r.List()[0].Entries)
	require.ElementsMatch(t, []wire.Seq{4, 5, 6, 7, 8, 9}, r.seqs())
}

// TestLogThatNoRowNames: it ends at 0, and all of it is saved. A third site's mirror is treated alike.
func TestLogThatNoRowNames(t *testing.T) {
	r := newRig(t)
	third := wire.LogID{Site: 4, Shard: logA.Shard}
	r.put(r.own, logOf(t, logA, inA, 2)...)
	r.put(r.mirror, logOf(t, third, wire.Incarnation{4}, 4)...)
	r.put(r.mirror, start(t, 2, 2<<32|2))
	require.Equal(t, int64(6), r.look())
	require.Equal(t, []Listed{
		{Range{logA, inA, 1, 0, 3}, 2}, {Range{third, wire.Incarnation{4}, 1, 0, 5}, 4},
	}, r.List())
}

// TestUnwrittenFileWithholdsItsLog: until it is written, its shard is not mended, and nothing of the log
// is given back; other logs are not held.
func TestUnwrittenFileWithholdsItsLog(t *testing.T) {
	r := newRig(t)
	other := wire.LogID{Site: 1, Shard: 8}
	batches := logOf(t, logA, inA, 2, 2)
	r.put(r.own, batches...)
	r.put(r.own, logOf(t, other, wire.Incarnation{5}, 2)...)
	r.put(r.mirror, start(t, 2, 2<<32|2, wire.LogEnd{Log: logA, End: batches[1].Header.End()}))
	r.files.full.Store(true)
	for range 2 {
		_, err := r.Look()
		require.ErrorIs(t, err, syscall.ENOSPC)
		require.ErrorIs(t, r.Err(), syscall.ENOSPC)
		require.True(t, r.Withholds(logA))
		require.False(t, r.Withholds(other))
		require.ErrorIs(t, r.Holds(logA.Shard), syscall.ENOSPC)
		require.NoError(t, r.Holds(other.Shard))
		require.Empty(t, r.List())
	}
	r.files.full.Store(false)
	require.Equal(t, int64(2), r.look())
	require.False(t, r.Withholds(logA))
	require.NoError(t, r.Holds(logA.Shard))
	require.NoError(t, r.Err())
}
