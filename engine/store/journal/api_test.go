package journal

import (
	"fmt"
	"io"
	"slices"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/claudefs/repl/wire"
)

// counter counts Releases.
type counter struct{ n int }

func (c *counter) Release() { c.n++ }

func TestBatchOutOfOrderIsRefusedWhole(t *testing.T) { // I3, I4
	j, _ := reopen(t, testOptions(vfs.NewMem(vfs.MemOptions{})), nil)
	w := newWriter(5)
	start, one, two, three := w.batch(0, 10), w.batch(0, 10), w.batch(0, 10), w.batch(0, 10)
	other := w.batch(1, 10)
	_, err := j.Stage([]wire.BatchRef{start, one}, nil)
	require.NoError(t, err)
	owner := &counter{}
	for _, bad := range [][]wire.BatchRef{
		{one}, {three}, {start}, {other, three}, {two, two}, {other, newWriter(6).batch(0, 1)},
	} {
		owner.n = 0
		_, err := j.Stage(bad, owner)
		require.Error(t, err)
		require.Equal(t, 1, owner.n, "given back before the error")
	}
	_, err = j.Stage([]wire.BatchRef{three}, nil)
	require.ErrorIs(t, err, ErrOrder)
	_, err = j.Stage([]wire.BatchRef{newWriter(6).batch(0, 1)}, nil)
	require.ErrorIs(t, err, ErrWrongJournal)
	_, err = j.Stage([]wire.BatchRef{two, other, three}, nil)
	require.NoError(t, err, "a refused Stage leaves no trace")
	require.NoError(t, flush(j))
	got, errs := readAll(j, 1)
	require.Empty(t, errs)
	require.Len(t, got, 5)
}

func TestStagedDuringFlushGoesToLaterUnits(t *testing.T) { // I1, I3
	o := testOptions(vfs.NewMem(vfs.MemOptions{}))
	j, _ := reopen(t, o, nil)
	w, owner := newWriter(5), &counter{}
	first, err := j.Stage([]wire.BatchRef{w.batch(0, 10)}, owner)
	require.NoError(t, err)
	f := j.BeginFlush()
	require.Nil(t, j.BeginFlush(), "one flush at a time")
	require.NoError(t, f.Write())
	var units []UnitNumber
	for range 8 { // 5 KB each: three to a unit of 16 KiB
		n, err := j.Stage([]wire.BatchRef{w.batch(0, 5000)}, owner)
		require.NoError(t, err)
		units = append(units, n)
	}
	require.Equal(t, []UnitNumber{2, 2, 2, 3, 3, 3, 4, 4}, units)
	require.Zero(t, owner.n)
	got, _ := readAll(j, 1)
	require.Empty(t, got, "nothing is readable before EndFlush")
	_, ok := j.Tail(wire.LogID{Site: 5})
	require.False(t, ok)
	require.NoError(t, f.Sync())
	done, err := j.EndFlush(f, nil)
	require.NoError(t, err)
	require.Equal(t, first, done.Unit)
	require.Len(t, done.Headers, 1)
	require.Equal(t, 1, owner.n)
	require.NoError(t, flush(j))
	require.Equal(t, 9, owner.n)
	require.EqualValues(t, 4, j.Durable())
	require.Zero(t, j.StagedBytes())
}

func TestFailedFlushStopsJournal(t *testing.T) { // I1, G5
	for _, f := range []vfs.Fault{
		{Op: vfs.OpWrite, Match: "segment-*", Call: 1}, {Op: vfs.OpSync, Match: "segment-*", Call: 1},
		{Op: vfs.OpWrite, Match: "segment-*", Call: 1, Err: syscall.ENOSPC, Effect: vfs.ShortWrite},
	} {
		j, _ := reopen(t, testOptions(vfs.WithFaults(vfs.NewMem(vfs.MemOptions{}), f)), nil)
		w, owner := newWriter(5), &counter{}
		_, err := j.Stage([]wire.BatchRef{w.batch(0, 10)}, owner)
		require.NoError(t, err)
		fl := j.BeginFlush()
		_, err = j.Stage([]wire.BatchRef{w.batch(0, 10)}, owner)
		require.NoError(t, err)
		if err = fl.Write(); err == nil {
			err = fl.Sync()
		}
		require.Error(t, err)
		_, err = j.EndFlush(fl, err)
		require.ErrorIs(t, err, ErrPoisoned)
		require.ErrorContains(t, err, "segment-0000000000000001.seg")
		if f.Err != nil {
			require.ErrorIs(t, err, syscall.ENOSPC)
		}
		require.Equal(t, 2, owner.n)
		_, err = j.Stage([]wire.BatchRef{w.batch(0, 10)}, owner)
		require.ErrorIs(t, err, ErrPoisoned)
		require.Equal(t, 3, owner.n)
		require.ErrorIs(t, j.Err(), ErrPoisoned)
		require.Nil(t, j.BeginFlush())
		require.Zero(t, j.Durable())
		require.NoError(t, j.Close())
	}
}

func TestFullDiskIsNamedAndCostsNothing(t *testing.T) { // I1, I10
	mem := vfs.NewMem(vfs.MemOptions{CapacityBytes: 200 << 10})
	s := newStory(testOptions(mem))
	s.o.SpareMax = 0
	var err error
	s.j, _, err = Open(s.o)
	require.NoError(t, err)
	for err == nil {
		if err = s.stage(0, 4000); err == nil {
			err = s.flush()
		}
	}
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.ErrorIs(t, err, ErrPoisoned)
	require.ErrorContains(t, err, ".seg")
	require.Greater(t, s.acked, 20)
	require.NoError(t, s.j.Close())
	for range 3 {
		_, _, err = Open(s.o)
		require.ErrorIs(t, err, syscall.ENOSPC)
		require.ErrorContains(t, err, "new-", "the error names the file")
	}
	m := imageOf(t, mem, "j")
	require.NoError(t, s.check(m.disk(t, "j")))
}

func TestIdleJournalPutsItsLastBatchesBelowAMark(t *testing.T) { // I9
	mem := vfs.NewMem(vfs.MemOptions{})
	j, _ := reopen(t, testOptions(mem), nil)
	require.False(t, j.StageIdle(), "nothing to protect")
	_, err := j.Stage([]wire.BatchRef{newWriter(5).batch(0, 10)}, nil)
	require.NoError(t, err)
	require.False(t, j.StageIdle(), "not idle")
	require.NoError(t, flush(j))
	require.True(t, j.StageIdle())
	require.NoError(t, flush(j))
	require.False(t, j.StageIdle(), "once is enough")
	m := imageOf(t, mem, "j")
	_, units := m.spots(t, oldName)
	require.Len(t, units, 2)
	m.files[oldName][units[0].off+50] ^= 1
	r, err := m.recover(testOptions(nil))
	require.NoError(t, err)
	require.Len(t, r.report.Damage, 1)
	require.Zero(t, r.report.TornBytes)
}

func TestStagedAtCloseLeavesNoTrace(t *testing.T) { // I9
	mem := vfs.NewMem(vfs.MemOptions{})
	o := testOptions(mem)
	j, _ := reopen(t, o, nil)
	w, owner := newWriter(5), &counter{}
	stageAndFlush(t, j, w, 0, owner)
	for range 5 { // more than one unit
		_, err := j.Stage([]wire.BatchRef{w.batch(0, 5000)}, owner)
		require.NoError(t, err)
	}
	require.NoError(t, j.Close())
	require.Equal(t, 6, owner.n)
	m := imageOf(t, mem, "j")
	_, units := m.spots(t, oldName)
	require.Len(t, units, 2)
	require.EqualValues(t, 2, units[1].number, "the closing unit")
	_, rec := reopen(t, o, nil)
	require.Zero(t, rec.TornBytes)
	require.Empty(t, rec.Damage)
}

func TestControlStateOutlivesSegmentsAndOpenings(t *testing.T) { // I1
	mem := vfs.NewMem(vfs.MemOptions{})
	o := testOptions(mem)
	j, _ := reopen(t, o, nil)
	log := wire.LogID{Site: 5, Shard: 3}
	at := wire.Position{Incarnation: wire.Incarnation{1}, Seq: 9, Chain: wire.Chain{2}}
	later := wire.Position{Incarnation: wire.Incarnation{1}, Seq: 12, Chain: wire.Chain{3}}
	for _, records := range [][]ControlRecord{
		{{ClockBound: 100}, {Epoch: &DomainEpoch{Domain: 7, Epoch: 3, Writer: 5}}, {Epoch: &DomainEpoch{Epoch: 2}}},
		{
			{Peer: &wire.RegisteredPeer{Site: 8, Name: "site-b", Cursors: []wire.Cursor{{Log: log, Position: at}}}},
			{Peer: &wire.RegisteredPeer{Site: 6}},
		},
		{{ClockBound: 50}, {RemovePeer: 6}, {Epoch: &DomainEpoch{Domain: 7, Epoch: 1, Writer: 9}}},
		{{Peer: &wire.RegisteredPeer{Site: 8, Name: "site-b", Cursors: []wire.Cursor{
			{Log: wire.LogID{Site: 5, Shard: 1}, Position: at}, {Log: log, Position: later},
		}}}},
	} {
		_, err := j.StageControl(records, 1)
		require.NoError(t, err)
		require.NoError(t, flush(j))
	}
	want := Control{
		ClockBound: 100,
		Epochs:     []DomainEpoch{{0, 2, 0}, {7, 3, 5}},
		Peers: []wire.RegisteredPeer{{Site: 8, Name: "site-b", Cursors: []wire.Cursor{
			{Log: wire.LogID{Site: 5, Shard: 1}, Position: at}, {Log: log, Position: later},
		}}},
	}
	require.Equal(t, want, j.Control())
	w := newWriter(5)
	for range 3 {
		j, _ = reopen(t, o, j)
		require.Equal(t, want, j.Control())
		for range 20 {
			_, err := j.Stage([]wire.BatchRef{w.batch(0, 9000)}, nil)
			require.NoError(t, err)
			require.NoError(t, flush(j))
		}
		_, err := j.Reclaim(func(log wire.LogID) wire.Position { return w.tails[log].Position })
		require.NoError(t, err)
	}
	require.Empty(t, j.Logs()[1:], "the control log is nobody's business")
	_, err := j.StageControl([]ControlRecord{{}}, 1)
	require.ErrorIs(t, err, wire.ErrLimit)
	mirror := o
	mirror.Kind, mirror.Dir, mirror.FS = Mirror, "m", vfs.NewMem(vfs.MemOptions{})
	k, _ := reopen(t, mirror, nil)
	_, err = k.StageControl([]ControlRecord{{ClockBound: 1}}, 1)
	require.Error(t, err)
}

func TestManyPeerCursorsSpanControlBatches(t *testing.T) { // I10
	o := Options{FS: vfs.NewMem(vfs.MemOptions{}), Dir: "j", Kind: Own, Cluster: testCluster, Site: 5}
	j, _ := reopen(t, o, nil)
	p := wire.RegisteredPeer{Site: 8, Name: "site-b"}
	for shard := range wire.Shard(30000) {
		p.Cursors = append(p.Cursors, wire.Cursor{
			Log: wire.LogID{Site: 5, Shard: shard}, Position: wire.Position{Seq: 1},
		})
	}
	_, err := j.StageControl([]ControlRecord{{Peer: &p}}, 1)
	require.NoError(t, err)
	require.NoError(t, flush(j))
	for range 2 {
		require.Equal(t, []wire.RegisteredPeer{p}, j.Control().Peers)
		j, _ = reopen(t, o, j)
	}
}

func TestReaderPinsItsSegment(t *testing.T) { // I12
	o := testOptions(vfs.NewMem(vfs.MemOptions{}))
	o.SpareBusyMax = 2
	j, _ := reopen(t, o, nil)
	w := newWriter(5)
	for range 40 {
		_, err := j.Stage([]wire.BatchRef{w.batch(0, 9000)}, nil)
		require.NoError(t, err)
		require.NoError(t, flush(j))
	}
	all := func(log wire.LogID) wire.Position { return w.tails[log].Position }
	segments := j.Stats().Segments
	require.Greater(t, segments, 4)
	r := j.NewReader(1)
	n, err := j.Reclaim(all)
	require.NoError(t, err)
	require.Zero(t, n)
	met := 0
	for r.Backlog() > 0 {
		refs, err := r.Next(1)
		require.NoError(t, err)
		met += len(refs)
		_, err = j.Reclaim(all)
		require.NoError(t, err)
	}
	require.Equal(t, 40, met)
	require.Equal(t, 2, j.Stats().Segments)
	require.Equal(t, 2, j.Stats().Spare)
	refs, err := r.Next(1)
	require.NoError(t, err)
	require.Empty(t, refs)
	r.Close()
	_, err = r.Next(1)
	require.ErrorIs(t, err, ErrClosed)
	_, err = j.SegmentStart(func(wire.LogID) wire.Position { return wire.Position{} }, nil)
	require.ErrorIs(t, err, ErrNotRetained)
	require.ErrorContains(t, err, "00000005/0")
}

// TestNotRetainedAsksOncePerLog: who needs what is gone learns of all logs by one walk,
// whatever their number (I10).
func TestNotRetainedAsksOncePerLog(t *testing.T) {
	j, w := manyLogs(t, 300)
	asked := 0
	gone := j.NotRetained(func(log wire.LogID) wire.Position {
		asked++
		if log.Shard%3 == 0 {
			return w.tails[log].Position
		}
		return wire.Position{}
	})
	require.Len(t, gone, 200)
	require.True(t, slices.IsSortedFunc(gone, wire.LogID.Compare))
	require.Equal(t, 300, asked)
}

// TestRetainAsksWhatRose: while one log holds the oldest segment, a call asks for that
// one only; and it looks at all once more before the segment goes, as a floor may fall.
func TestRetainAsksWhatRose(t *testing.T) {
	j, w := manyLogs(t, 300)
	for range 8 { // another segment to give back, in which all logs have something
		for shard := range wire.Shard(300) {
			_, err := j.Stage([]wire.BatchRef{w.batch(shard, 300)}, nil)
			require.NoError(t, err)
		}
		require.NoError(t, flush(j))
	}
	asked, have := 0, map[wire.LogID]wire.Position{}
	floor := func(log wire.LogID) wire.Position {
		asked++
		return have[log]
	}
	for shard := range wire.Shard(300) { // one log's floor rises at a time
		before := asked
		n, err := j.Reclaim(floor)
		require.NoError(t, err)
		require.Zero(t, n)
		log, held := j.Holder(floor)
		require.True(t, held)
		require.LessOrEqual(t, asked-before, 5, "shard %d", shard)
		have[log] = w.tails[log].Position
		if shard == 150 {
			for fallen := range have {
				delete(have, fallen)
				break
			}
		}
	}
	n, err := j.Reclaim(floor)
	require.NoError(t, err)
	require.Zero(t, n, "one floor fell behind the look")
	log, held := j.Holder(floor)
	require.True(t, held)
	have[log] = w.tails[log].Position
	n, err = j.Reclaim(floor)
	require.NoError(t, err)
	require.NotZero(t, n)
}

// manyLogs is a journal in which each of so many logs has a batch that is gone.
func manyLogs(t *testing.T, logs wire.Shard) (*Journal, *writer) {
	o := testOptions(vfs.NewMem(vfs.MemOptions{}))
	o.SegmentBytes = 256 << 10
	j, _ := reopen(t, o, nil)
	w := newWriter(5)
	for j.Stats().Segments < 3 {
		for shard := range logs {
			_, err := j.Stage([]wire.BatchRef{w.batch(shard, 300)}, nil)
			require.NoError(t, err)
		}
		require.NoError(t, flush(j))
	}
	_, err := j.Reclaim(func(log wire.LogID) wire.Position { return w.tails[log].Position })
	require.NoError(t, err)
	return j, w
}

func TestPrepareMakesTheNextFileAhead(t *testing.T) { // I10
	faulty := vfs.WithFaults(vfs.NewMem(vfs.MemOptions{}))
	o := testOptions(faulty)
	j, _ := reopen(t, o, nil)
	more, err := j.Prepare()
	require.NoError(t, err)
	require.False(t, more, "not yet half full")
	w := newWriter(5)
	for j.Stats().Bytes < o.SegmentBytes/2 {
		_, err := j.Stage([]wire.BatchRef{w.batch(0, 3000)}, nil)
		require.NoError(t, err)
		require.NoError(t, flush(j))
	}
	for more = true; more; {
		more, err = j.Prepare()
		require.NoError(t, err)
	}
	require.Equal(t, 1, j.Stats().Spare)
	created := faulty.Calls(vfs.OpCreate)
	for j.Stats().Segments < 2 {
		_, err := j.Stage([]wire.BatchRef{w.batch(0, 3000)}, nil)
		require.NoError(t, err)
		require.NoError(t, flush(j))
	}
	require.Equal(t, created, faulty.Calls(vfs.OpCreate))
	require.Zero(t, j.Stats().Spare)
}

func TestSteadyStateAllocatesNothing(t *testing.T) {
	if raceStride > 1 {
		t.Log("the race detector allocates; checked without it")
		return
	}
	o := Options{FS: nothing{}, Dir: "j", Kind: Own, Cluster: testCluster, Site: 5}
	j, _ := reopen(t, o, nil)
	w := newWriter(5)
	var batches [][]wire.BatchRef
	for range 400 {
		batches = append(batches, []wire.BatchRef{w.batch(0, 100), w.batch(1, 3000)})
	}
	i := 0
	step := func() {
		_, err := j.Stage(batches[i], nil)
		i++
		if err == nil {
			err = flush(j)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for range 10 {
		step()
	}
	require.Zero(t, testing.AllocsPerRun(300, step))

	m, ro, _ := mirrored(t, 12)
	ro.FS = m.disk(t, "j")
	k, _ := reopen(t, ro, nil)
	r := k.NewReader(1)
	_, err := r.Next(1) // grows the buffer
	require.NoError(t, err)
	_, err = r.Next(1)
	require.NoError(t, err)
	off, unit := r.off, r.unit
	require.Zero(t, testing.AllocsPerRun(100, func() {
		r.off, r.unit = off, unit
		if refs, err := r.Next(1); err != nil || len(refs) == 0 {
			t.Fatal(len(refs), err)
		}
	}))
}

// nothing is a disk that forgets, so that only the journal's own allocations count.
type nothing struct{ vfs.FS }

type nothingFile struct{ vfs.File }

func (nothing) MkdirAll(string) error           { return nil }
func (nothing) List(string) ([]string, error)   { return nil, nil }
func (nothing) SyncDir(string) error            { return nil }
func (nothing) Lock(string) (io.Closer, error)  { return io.NopCloser(nil), nil }
func (nothing) Create(string) (vfs.File, error) { return nothingFile{}, nil }
func (nothing) Open(string) (vfs.File, error)   { return nothingFile{}, nil }
func (nothing) Rename(string, string) error     { return nil }

func (nothingFile) WriteAt([][]byte, int64) error { return nil }
func (nothingFile) Sync() error                   { return nil }
func (nothingFile) Truncate(int64) error          { return nil }
func (nothingFile) Size() (int64, error)          { return 0, nil }
func (nothingFile) Close() error                  { return nil }

func TestReadersRunBesideTheWriter(t *testing.T) { // I3; meaningful under the race detector
	o := testOptions(vfs.NewMem(vfs.MemOptions{}))
	j, _ := reopen(t, o, nil)
	const batches = 300
	var readers sync.WaitGroup
	failed := make(chan error, 3)
	for range 3 {
		readers.Go(func() { // ends when it has met every batch
			r := j.NewReader(1)
			defer r.Close()
			for next := wire.Seq(1); next <= batches; {
				refs, err := r.Next(10 << 10)
				if err != nil {
					failed <- err
					return
				}
				for i := range refs {
					if refs[i].Header.FirstSeq != next {
						failed <- fmt.Errorf("seq %d, want %d", refs[i].Header.FirstSeq, next)
						return
					}
					next++
				}
			}
		})
	}
	w := newWriter(5)
	for range batches {
		_, err := j.Stage([]wire.BatchRef{w.batch(0, 700)}, nil)
		require.NoError(t, err)
		require.NoError(t, flush(j))
		_, err = j.Prepare()
		require.NoError(t, err)
	}
	readers.Wait()
	close(failed)
	for err := range failed {
		t.Error(err)
	}
}

func TestOptionsOutOfRangeAreAllNamed(t *testing.T) {
	_, _, err := Open(Options{SegmentBytes: 5, UnitBytesMax: 5, SpareMax: -1})
	for _, what := range []string{"FS", "Dir", "Kind", "Cluster", "SegmentBytes", "UnitBytesMax", "SpareMax"} {
		require.ErrorContains(t, err, what)
	}
}
