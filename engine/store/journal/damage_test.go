package journal

import (
	"errors"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/claudefs/repl/wire"
)

// holder is another site's intact copy: every batch of every log, in order.
type holder map[wire.LogID][]wire.BatchRef

// fetch answers (log, from, to) as a peer would.
func (h holder) fetch(log wire.LogID, from, to wire.Position) (batches []wire.BatchRef) {
	for _, b := range h[log] {
		if b.Header.FirstSeq > from.Seq && (to.Seq == 0 || b.Header.LastSeq() <= to.Seq) {
			batches = append(batches, b)
		}
	}
	return batches
}

// mirrored writes n units of batches of 3 logs, two more from the 20th and the
// 30th on, into a mirror journal and returns its image, its options and the
// intact copy.
func mirrored(t *testing.T, n int) (*image, Options, holder) {
	t.Helper()
	mem := vfs.NewMem(vfs.MemOptions{})
	o := testOptions(mem)
	o.Kind, o.Site = Mirror, 6
	j, _, err := Open(o)
	require.NoError(t, err)
	w, all := newWriter(5), holder{}
	for i := range n {
		var batches []wire.BatchRef
		for k := range 5 {
			if k > 0 && (i+k)%3 == 0 || k >= 3 && i < 10*k-10 { // the later logs begin late
				continue
			}
			b := w.batch(wire.Shard(k), 400+i*37)
			batches = append(batches, b)
			all[b.Header.Log()] = append(all[b.Header.Log()], b)
		}
		_, err := j.Stage(batches, nil)
		require.NoError(t, err)
		require.NoError(t, flush(j))
	}
	return imageOf(t, mem, "j"), o, all
}

// readLogs reads everything and sorts it by log; each log must continue itself
// except where told holes says otherwise.
func readLogs(t *testing.T, j *Journal) (map[wire.LogID][][]byte, []error) {
	t.Helper()
	got, errs := readAll(j, 1)
	logs := map[wire.LogID][][]byte{}
	for _, b := range got {
		var h wire.BatchHeader
		require.NoError(t, wire.DecodeBatchHeader(b, &h))
		logs[h.Log()] = append(logs[h.Log()], b)
	}
	return logs, errs
}

func requireWhole(t *testing.T, j *Journal, all holder) {
	t.Helper()
	logs, errs := readLogs(t, j)
	require.Empty(t, errs)
	require.Len(t, logs, len(all))
	for log, batches := range all {
		require.Len(t, logs[log], len(batches), "log %s", log)
		for i := range batches {
			require.Equal(t, batches[i].Bytes, logs[log][i])
		}
	}
}

func reopen(t *testing.T, o Options, j *Journal) (*Journal, *Recovery) {
	t.Helper()
	if j != nil {
		require.NoError(t, j.Close())
	}
	j, rec, err := Open(o)
	require.NoError(t, err)
	return j, rec
}

func repairAll(t *testing.T, j *Journal, all holder) {
	t.Helper()
	for _, h := range j.Holes() {
		require.NoError(t, j.Repair(h.Log, all.fetch(h.Log, h.From, h.To)))
	}
	require.Empty(t, j.Holes())
}

func TestLostUnitsAreRepairedFromAHolder(t *testing.T) { // I4, I9
	for _, damage := range []string{"one", "two", "three in a row", "first"} {
		t.Run(damage, func(t *testing.T) {
			m, o, all := mirrored(t, 12)
			_, units := m.spots(t, oldName)
			var hit []int
			switch damage {
			case "one":
				hit = []int{5}
			case "two":
				hit = []int{3, 7}
			case "three in a row":
				hit = []int{4, 5, 6}
			case "first":
				hit = []int{0}
			}
			for _, i := range hit {
				m.files[oldName][units[i].off+40] ^= 1 // in the unit's header
			}
			o.FS = m.disk(t, "j")
			j, rec := reopen(t, o, nil)
			require.NotEmpty(t, rec.Damage)
			require.Equal(t, units[hit[0]].off, rec.Damage[0].Offset)
			require.Equal(t, units[hit[0]].number, rec.Damage[0].Unit)
			require.Equal(t, "j/"+oldName, rec.Damage[0].File)
			require.Empty(t, rec.Suspect, "later batches prove every tail")
			require.Zero(t, rec.TornBytes)
			_, errs := readLogs(t, j)
			require.NotEmpty(t, errs)
			for _, err := range errs {
				require.ErrorIs(t, err, ErrDamaged)
			}
			repairAll(t, j, all)
			requireWhole(t, j, all)
			j, rec = reopen(t, o, j)
			require.NotEmpty(t, rec.Damage, "the damage stays where it is")
			require.Empty(t, j.Holes())
			requireWhole(t, j, all)
		})
	}
}

func TestDamagedBodyTakesOnlyItsOwnLog(t *testing.T) { // I9, I10
	m, o, all := mirrored(t, 12)
	_, units := m.spots(t, oldName)
	spans := batchSpots(t, m, oldName, units[5])
	require.Len(t, spans, 2)
	m.files[oldName][spans[0][1]-1] ^= 1
	o.FS = m.disk(t, "j")
	j, rec := reopen(t, o, nil)
	require.Len(t, rec.Damage, 1)
	require.Empty(t, rec.Suspect)
	holes := j.Holes()
	require.Len(t, holes, 1)
	logs, errs := readLogs(t, j)
	require.Len(t, errs, 1)
	require.ErrorIs(t, errs[0], ErrDamaged)
	require.ErrorIs(t, errs[0], wire.ErrCorrupt, "one mark for bytes that do not hold")
	for log, batches := range all {
		want := len(batches)
		if log == holes[0].Log {
			want--
		}
		require.Len(t, logs[log], want)
	}
	repairAll(t, j, all)
	requireWhole(t, j, all)
	j, _ = reopen(t, o, j)
	requireWhole(t, j, all)
}

func TestUnprovenTailIsSuspect(t *testing.T) { // I9
	m, o, all := mirrored(t, 12)
	_, units := m.spots(t, oldName)
	// Unit 11 is below the mark of unit 12, which holds two of the three logs.
	m.files[oldName][units[10].off+40] ^= 1
	o.FS = m.disk(t, "j")
	j, rec := reopen(t, o, nil)
	require.Len(t, rec.Suspect, 1)
	suspect := rec.Suspect[0]
	for range 2 { // opening again proves nothing
		j, rec = reopen(t, o, j)
		require.Equal(t, []wire.LogID{suspect}, rec.Suspect)
	}
	tail, _ := j.Tail(suspect)
	next := all.fetch(suspect, tail.Position, wire.Position{})
	require.Len(t, next, 1, "the damaged unit had one batch of it")
	_, err := j.Stage(next, nil)
	require.ErrorIs(t, err, ErrDamaged)

	repairAll(t, j, all)
	requireWhole(t, j, all)
	w := newWriter(5)
	w.stamp = 1 << 30
	for log := range all {
		w.tails[log], _ = j.Tail(log)
	}
	for range 2 {
		b := w.batch(suspect.Shard, 50)
		_, err = j.Stage([]wire.BatchRef{b}, nil)
		require.NoError(t, err)
		require.NoError(t, flush(j))
		all[suspect] = append(all[suspect], b)
		j, rec = reopen(t, o, j)
		require.Empty(t, rec.Suspect)
		requireWhole(t, j, all)
	}
}

// rollIdle begins a segment, as damage that a reader meets has it begun.
func rollIdle(t *testing.T, j *Journal) {
	t.Helper()
	j.renew = true
	require.True(t, j.StageIdle())
	require.NoError(t, flush(j))
}

// TestClearedLogStaysCleared: also one of which nothing is appended, once the journal is
// idle. Else each opening asked the peers again, and told a loss again (I9).
func TestClearedLogStaysCleared(t *testing.T) {
	m, o, _ := mirrored(t, 12)
	_, units := m.spots(t, oldName)
	m.files[oldName][units[10].off+40] ^= 1
	o.FS = m.disk(t, "j")
	j, rec := reopen(t, o, nil)
	require.NotEmpty(t, rec.Suspect)
	for _, log := range rec.Suspect {
		j.Clear(log)
	}
	require.True(t, j.StageIdle())
	require.NoError(t, flush(j))
	require.False(t, j.StageIdle(), "once")
	j, rec = reopen(t, o, j)
	require.Empty(t, rec.Suspect)
	require.False(t, j.StageIdle())
	require.NoError(t, j.Close())
}

func TestSuspectLogOutlivesDamagedSegment(t *testing.T) { // I9, I12
	m, o, all := mirrored(t, 12)
	_, units := m.spots(t, oldName)
	m.files[oldName][units[10].off+40] ^= 1
	o.FS = m.disk(t, "j")
	j, rec := reopen(t, o, nil)
	suspect := rec.Suspect[0]
	rollIdle(t, j)
	n, err := j.Reclaim(func(log wire.LogID) wire.Position { tail, _ := j.Tail(log); return tail.Position })
	require.NoError(t, err)
	require.Equal(t, 1, n)
	for range 2 {
		j, rec = reopen(t, o, j)
		require.Equal(t, []wire.LogID{suspect}, rec.Suspect)
		require.Empty(t, rec.Damage)
		require.Equal(t, 3, j.Stats().Segments, "openings leave nothing behind")
	}
	tail, _ := j.Tail(suspect)
	repairAll(t, j, all)
	for range 5 {
		// A peer that has all but what was lost must meet exactly that.
		from, err := j.SegmentStart(func(log wire.LogID) wire.Position {
			if log == suspect {
				return tail.Position
			}
			tail, _ := j.Tail(log)
			return tail.Position
		}, nil)
		require.NoError(t, err)
		got, errs := readAll(j, from)
		require.Empty(t, errs)
		require.Len(t, got, 1)
		require.Equal(t, all[suspect][len(all[suspect])-1].Bytes, got[0])
		j, rec = reopen(t, o, j)
		require.Empty(t, rec.Suspect)
		require.Empty(t, rec.Damage)
		require.LessOrEqual(t, j.Stats().Segments, 5, "openings leave nothing behind")
	}
}

// TestSuspectHoleOutlivesDamagedSegment: in the same life, too, and it
// can be repaired (I9, I12).
func TestSuspectHoleOutlivesDamagedSegment(t *testing.T) {
	m, o, all := mirrored(t, 12)
	_, units := m.spots(t, oldName)
	m.files[oldName][units[10].off+40] ^= 1
	o.FS = m.disk(t, "j")
	j, rec := reopen(t, o, nil)
	suspect := rec.Suspect[0]
	holes := j.Holes()
	require.Len(t, slices.DeleteFunc(slices.Clone(holes), func(h Hole) bool { return h.Log != suspect }), 1)
	served := map[wire.LogID]wire.Position{}
	for log := range all {
		tail, _ := j.Tail(log)
		served[log] = tail.Position
	}
	rollIdle(t, j)
	n, err := j.Reclaim(func(log wire.LogID) wire.Position { return served[log] })
	require.NoError(t, err)
	require.Equal(t, 1, n)
	require.Equal(t, []Hole{{Log: suspect, From: served[suspect]}}, j.Holes())
	got, errs := readAll(j, 1)
	require.Empty(t, errs, "what is retained is whole")
	require.Empty(t, got)
	repairAll(t, j, all)
	for range 3 {
		from, err := j.SegmentStart(func(log wire.LogID) wire.Position { return served[log] }, nil)
		require.NoError(t, err)
		got, errs = readAll(j, from)
		require.Empty(t, errs)
		require.Len(t, got, 1)
		require.Equal(t, all[suspect][len(all[suspect])-1].Bytes, got[0])
		j, rec = reopen(t, o, j)
		require.Empty(t, rec.Suspect)
		require.Empty(t, rec.Damage)
	}
}

func TestRepairedTailIsMetByWhoeverLacksIt(t *testing.T) { // I9, I12
	m, o, all := mirrored(t, 12)
	_, units := m.spots(t, oldName)
	m.files[oldName][units[10].off+40] ^= 1
	o.FS = m.disk(t, "j")
	j, rec := reopen(t, o, nil)
	suspect := rec.Suspect[0]
	before := map[wire.LogID]wire.Position{}
	for log := range all {
		tail, _ := j.Tail(log)
		before[log] = tail.Position
	}
	repairAll(t, j, all)
	for range 2 {
		from, err := j.SegmentStart(func(log wire.LogID) wire.Position { return before[log] }, nil)
		require.NoError(t, err)
		got, errs := readAll(j, from)
		require.Empty(t, errs)
		last := all[suspect][len(all[suspect])-1].Bytes
		require.True(t, slices.ContainsFunc(got, func(b []byte) bool { return string(b) == string(last) }))
		j, rec = reopen(t, o, j)
		require.Empty(t, rec.Suspect)
	}
}

// TestReaderBeginsAtRepairOfItsHole: damage in an old segment left a
// log suspect, which a peer cleared; then its last batch before that was lost, and what
// came behind, in the next segment. Nothing proves where the first loss ended, so all is
// one hole, at the first damage. Who has the log up to where the next segment begins is
// to meet the repair there, and the segment stays as long as somebody lacks it (I3, I12).
func TestReaderBeginsAtRepairOfItsHole(t *testing.T) {
	m, o, all := mirrored(t, 12)
	_, units := m.spots(t, oldName)
	m.files[oldName][units[10].off+40] ^= 1
	mem := m.disk(t, "j")
	o.FS = mem
	j, rec := reopen(t, o, nil)
	suspect := rec.Suspect[0]
	have := map[wire.LogID]wire.Position{}
	for log := range all {
		tail, _ := j.Tail(log)
		have[log] = tail.Position
	}
	j.Clear(suspect)
	j.renew = false // an earlier release began no segment for that
	lost := all[suspect][len(all[suspect])-1]
	require.Equal(t, have[suspect].Seq+1, lost.Header.FirstSeq)
	_, err := j.Stage([]wire.BatchRef{lost}, nil)
	require.NoError(t, err)
	require.NoError(t, flush(j))
	second := j.segs[len(j.segs)-1].name
	j, _ = reopen(t, o, j) // a third segment proves where the log ends
	require.NoError(t, j.Close())

	m = imageOf(t, mem, "j")
	m.files[oldName][units[9].off+40] ^= 1
	_, units = m.spots(t, second)
	m.files[second][units[0].off+50] ^= 1
	o.FS = m.disk(t, "j")
	j, rec = reopen(t, o, nil)
	require.Empty(t, rec.Suspect)
	before := all[suspect][len(all[suspect])-3]
	require.Contains(t, j.Holes(), Hole{suspect, before.Header.End(), lost.Header.End()})
	repairAll(t, j, all)
	ends := func(log wire.LogID) wire.Position { return have[log] }
	from, err := j.SegmentStart(ends, nil)
	require.NoError(t, err)
	got, _ := readAll(j, from) // that nobody knows what else was in the second is told
	require.True(t, slices.ContainsFunc(got, func(b []byte) bool { return string(b) == string(lost.Bytes) }))
	n, err := j.Reclaim(ends)
	require.NoError(t, err)
	require.Zero(t, n, "the repair goes with the segment")
	have[suspect] = lost.Header.End()
	n, err = j.Reclaim(ends)
	require.NoError(t, err)
	require.NotZero(t, n)
}

func TestCutDuringRepairLeavesOrFillsHole(t *testing.T) { // I1, I9
	for _, at := range []int{5, 10} { // a hole between batches; the end of a suspect log
		m, o, all := mirrored(t, 12)
		_, units := m.spots(t, oldName)
		m.files[oldName][units[at].off+40] ^= 1
		mem := m.disk(t, "j")
		cuts, returned := uint64(0), false
		check := func() {
			cuts++
			crashes(mem, cuts, 30, func(disk *vfs.Mem, what string) {
				o := o
				o.FS = disk
				j, _ := reopen(t, o, nil)
				if returned {
					require.Empty(t, j.Holes(), what)
				}
				repairAll(t, j, all)
				requireWhole(t, j, all)
			})
		}
		quiet := func() {}
		hook := &quiet
		o.FS = &tap{mem, func() { (*hook)() }}
		j, _ := reopen(t, o, nil)
		hook = &check
		repairAll(t, j, all)
		returned = true
		check()
		require.Greater(t, cuts, uint64(4))
	}
}

func TestLostControlRecordsAreTold(t *testing.T) { // I9
	mem := vfs.NewMem(vfs.MemOptions{})
	o := testOptions(mem)
	j, _ := reopen(t, o, nil)
	for i := range 3 {
		_, err := j.StageControl([]ControlRecord{{ClockBound: wire.Stamp(i + 1)}}, 1)
		require.NoError(t, err)
		require.NoError(t, flush(j))
	}
	m := imageOf(t, mem, "j")
	_, units := m.spots(t, oldName)
	for _, at := range []int64{units[1].off + 40, units[1].off + UnitHeaderBytes + wire.BatchHeaderBytes + 7} {
		m.files[oldName][at] ^= 1
		r, err := m.recover(o)
		require.NoError(t, err)
		require.Len(t, r.report.Damage, 1)
		require.True(t, r.report.ControlSuspect)
		require.Empty(t, r.report.Suspect)
		m.files[oldName][at] ^= 1
	}
	r, err := m.recover(o)
	require.NoError(t, err)
	require.False(t, r.report.ControlSuspect)
}

func TestPeerThatAgreesClearsASuspectLog(t *testing.T) { // I9
	m, o, _ := mirrored(t, 12)
	_, units := m.spots(t, oldName)
	m.files[oldName][units[10].off+40] ^= 1
	o.FS = m.disk(t, "j")
	j, rec := reopen(t, o, nil)
	require.Len(t, rec.Suspect, 1)
	j.Clear(rec.Suspect[0])
	w := newWriter(5)
	w.stamp = 1 << 30
	w.tails[rec.Suspect[0]], _ = j.Tail(rec.Suspect[0])
	_, err := j.Stage([]wire.BatchRef{w.batch(rec.Suspect[0].Shard, 10)}, nil)
	require.NoError(t, err)
	require.NoError(t, flush(j))
	_, rec = reopen(t, o, j)
	require.Empty(t, rec.Suspect)
}

func TestRepairThatDoesNotFitIsRefused(t *testing.T) { // I4
	m, o, all := mirrored(t, 12)
	_, units := m.spots(t, oldName)
	m.files[oldName][units[5].off+40] ^= 1
	o.FS = m.disk(t, "j")
	j, _ := reopen(t, o, nil)
	h := j.Holes()[0]
	good := all.fetch(h.Log, h.From, h.To)
	require.ErrorIs(t, j.Repair(h.Log, nil), ErrOrder)
	require.ErrorIs(t, j.Repair(h.Log, all[h.Log][:1]), ErrOrder)
	bad := slices.Clone(good)
	bad[0].Bytes = slices.Clone(bad[0].Bytes)
	bad[0].Bytes[len(bad[0].Bytes)-1] ^= 1
	require.ErrorIs(t, j.Repair(h.Log, bad), wire.ErrCorrupt)
	require.NoError(t, j.Repair(h.Log, good))
}

func TestBytesThatGoBadLaterAreToldByTheReader(t *testing.T) { // I9
	m, o, _ := mirrored(t, 12)
	_, units := m.spots(t, oldName)
	mem := m.disk(t, "j")
	o.FS = mem
	j, rec := reopen(t, o, nil)
	require.Empty(t, rec.Damage)
	f, err := mem.Open("j/" + oldName)
	require.NoError(t, err)
	require.NoError(t, f.WriteAt([][]byte{{0xff, 0xff}}, units[4].off+200))
	got, errs := readAll(j, 1)
	require.Len(t, errs, 1)
	require.ErrorIs(t, errs[0], ErrDamaged)
	require.ErrorContains(t, errs[0], "unit 5")
	require.NotEmpty(t, got)
}

func TestDamagedHeadCostsNoBatch(t *testing.T) { // I9
	m, o := twoSegments(t)
	o.FS = m.disk(t, "j")
	j, _ := reopen(t, o, nil)
	want, errs := readAll(j, 1)
	require.Empty(t, errs)
	m.files[newName][20] ^= 4
	o.FS = m.disk(t, "j")
	j, rec := reopen(t, o, nil)
	require.Len(t, rec.Damage, 1)
	require.Empty(t, rec.Suspect)
	got, errs := readAll(j, 1)
	require.Empty(t, errs)
	require.True(t, equalAll(want, got))
}

func TestAnotherJournalIsRefusedByName(t *testing.T) { // I11
	mem := vfs.NewMem(vfs.MemOptions{})
	o := testOptions(mem)
	j, _ := reopen(t, o, nil)
	_, _, err := Open(o)
	require.ErrorIs(t, err, vfs.ErrLocked)
	require.NoError(t, j.Close())
	for _, change := range []func(*Options){
		func(o *Options) { o.Cluster++ }, func(o *Options) { o.Site++ }, func(o *Options) { o.Kind = Mirror },
	} {
		other := o
		change(&other)
		_, _, err := Open(other)
		require.ErrorIs(t, err, ErrWrongJournal)
		require.ErrorContains(t, err, "segment-")
	}
}

func TestNewerReleasesHeadIsNotDamage(t *testing.T) { // G11
	m, o := twoSegments(t)
	b := m.files[newName]
	b[4] = FormatStarts + 1
	n, err := headSize(b)
	require.NoError(t, err)
	digest := headDigest(b[:n])
	copy(b[16:], digest[:])
	o.FS = m.disk(t, "j")
	_, _, err = Open(o)
	require.ErrorIs(t, err, wire.ErrVersion)
	require.False(t, errors.Is(err, wire.ErrCorrupt))
}
