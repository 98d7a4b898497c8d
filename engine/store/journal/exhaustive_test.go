package journal

import (
	"bytes"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/claudefs/repl/wire"
)

// judge checks one changed image against the rule of I9: what lies at or below a
// mark is damage, never a torn tail; only the last unit may be cut; nothing passes
// unseen.
func judge(t *testing.T, m *image, o Options, what string, at int64, last, damagedFrom, damagedTo UnitNumber) {
	t.Helper()
	r, err := m.recover(o)
	if err != nil {
		t.Fatalf("%s at %d: recovery: %v", what, at, err)
	}
	if damagedFrom == last { // only the last unit: above every mark
		if len(r.report.Damage) != 0 || r.report.TornBytes == 0 || r.unit != last-1 {
			t.Fatalf("%s at %d in the last unit: %+v, ends at unit %d", what, at, r.report, r.unit)
		}
		return
	}
	if damagedTo == last && damagedFrom == last-1 && r.report.TornBytes > 0 {
		return // the only mark above the last but one went with the last: a torn tail of two
	}
	if len(r.report.Damage) == 0 {
		t.Fatalf("%s at %d in units %d to %d was not seen", what, at, damagedFrom, damagedTo)
	}
	if damagedTo < last && (r.report.TornBytes != 0 || r.unit != last) {
		t.Fatalf("%s at %d below a mark counts as torn: %+v, ends at unit %d", what, at, r.report, r.unit)
	}
}

func TestIntactFilesRaiseNoAlarm(t *testing.T) { // I9
	m, o := twoSegments(t)
	r, err := m.recover(o)
	require.NoError(t, err)
	require.Empty(t, r.report.Damage)
	require.Empty(t, r.report.Suspect)
	require.Zero(t, r.report.TornBytes)
	_, first := m.spots(t, oldName)
	_, second := m.spots(t, newName)
	require.EqualValues(t, len(first)+len(second), r.report.Units)
}

func TestEveryFlippedBitIsDetected(t *testing.T) { // I9, G4
	m, o := twoSegments(t)
	delete(m.files, oldName) // given back by Reclaim; the next test is about it
	headBytes, units := m.spots(t, newName)
	last := units[len(units)-1].number
	b := m.files[newName]
	require.GreaterOrEqual(t, units[len(units)-1].end-headBytes, int64(64<<10))
	flips := 0
	for bit := int64(0); bit < units[len(units)-1].end*8; bit += raceStride {
		b[bit/8] ^= 1 << (bit % 8)
		at := bit / 8
		if at < headBytes {
			judge(t, m, o, "flip", at, last, 0, 0)
		} else {
			i, _ := slices.BinarySearchFunc(units, at, func(u spot, at int64) int {
				if u.end <= at {
					return -1
				}
				return 1
			})
			judge(t, m, o, "flip", at, last, units[i].number, units[i].number)
		}
		b[bit/8] ^= 1 << (bit % 8)
		flips++
	}
	t.Logf("%d flips", flips)
}

func TestFlippedBitsOfAnOlderSegmentAreDetected(t *testing.T) { // I9
	m, o := twoSegments(t)
	headBytes, units := m.spots(t, oldName)
	_, newer := m.spots(t, newName)
	last := newer[len(newer)-1].number
	b := m.files[oldName]
	for bit := int64(0); bit < units[len(units)-1].end*8; bit += 13 * raceStride {
		b[bit/8] ^= 1 << (bit % 8)
		number := UnitNumber(0)
		for _, u := range units {
			if bit/8 >= headBytes && bit/8 >= u.off {
				number = u.number
			}
		}
		judge(t, m, o, "flip", bit/8, last, number, number)
		b[bit/8] ^= 1 << (bit % 8)
	}
}

func TestEveryTruncationIsDetected(t *testing.T) { // I9, G4
	m, o := twoSegments(t)
	for _, name := range []string{oldName, newName} {
		if name == newName {
			delete(m.files, oldName)
		}
		whole := m.files[name]
		for n := 0; n < len(whole); n += raceStride {
			m.files[name] = whole[:n]
			r, err := m.recover(o)
			require.NoError(t, err)
			if n < BlockBytes && name == newName {
				// Not even a head is left: whether it ever was used nobody can tell
				// from this file.
				require.NotZero(t, r.report.TornBytes+int64(len(r.report.Damage))+int64(len(r.junk)), "cut to %d", n)
				continue
			}
			require.NotEmpty(t, r.report.Damage, "%s cut to %d", name, n)
			require.Zero(t, r.report.TornBytes, "%s cut to %d", name, n)
		}
		m.files[name] = whole
	}
}

func TestEveryPairOfUnitsSwappedIsDetected(t *testing.T) { // I9, G4
	m, o := twoSegments(t)
	_, old := m.spots(t, oldName)
	_, newer := m.spots(t, newName)
	last := newer[len(newer)-1].number
	type where struct {
		name string
		spot
	}
	var all []where
	for _, u := range old {
		all = append(all, where{oldName, u})
	}
	for _, u := range newer {
		all = append(all, where{newName, u})
	}
	pairs := 0
	for i := range all {
		for k := i + 1; k < len(all); k += raceStride {
			a, b := all[i], all[k]
			fa, fb := m.files[a.name], m.files[b.name]
			ua, ub := fa[a.off:a.end], fb[b.off:b.end]
			if a.name == b.name {
				m.files[a.name] = slices.Concat(fa[:a.off], ub, fa[a.end:b.off], ua, fa[b.end:])
			} else {
				pad := make([]byte, len(ua)+len(ub))
				m.files[a.name] = slices.Concat(fa[:a.off], ub, fa[a.end:], pad)[:len(fa)]
				m.files[b.name] = slices.Concat(fb[:b.off], ua, fb[b.end:], pad)[:len(fb)]
			}
			to := b.number
			if a.name != b.name && len(ua) != len(ub) {
				to = last // all units behind have moved
			}
			judge(t, m, o, "swap", a.off, last, a.number, to)
			m.files[a.name], m.files[b.name] = fa, fb
			pairs++
		}
	}
	t.Logf("%d pairs", pairs)
}

// batchSpots lists the batches of a unit.
func batchSpots(t *testing.T, m *image, name string, u spot) (spans [][2]int64) {
	t.Helper()
	require.NoError(t, Inspect(m, name, func(i Item) error {
		if i.Batch != nil && i.Offset > u.off && i.Offset < u.end {
			spans = append(spans, [2]int64{i.Offset, i.Offset + int64(i.Batch.Bytes())})
		}
		return nil
	}))
	return spans
}

// replaceBatch returns unit u with one batch exchanged for another, the rest
// moved up or down behind it, at its old size.
func replaceBatch(file []byte, u spot, old [2]int64, by []byte) []byte {
	b := slices.Concat(file[u.off:old[0]], by, file[old[1]:u.end], make([]byte, old[1]-old[0]))
	return b[:u.end-u.off]
}

func TestEveryPairOfBatchesSwappedIsDetected(t *testing.T) { // I9, G4
	m, o := twoSegments(t)
	_, units := m.spots(t, newName)
	last := units[len(units)-1].number
	whole := m.files[newName]
	type where struct {
		span [2]int64
		unit spot
	}
	var all []where
	for _, u := range units {
		for _, s := range batchSpots(t, m, newName, u) {
			all = append(all, where{s, u})
		}
	}
	for i := range all {
		for k := i + 1; k < len(all); k += raceStride {
			a, b := all[i], all[k]
			ba, bb := whole[a.span[0]:a.span[1]], whole[b.span[0]:b.span[1]]
			changed := slices.Clone(whole)
			if a.unit == b.unit {
				copy(changed[a.span[0]:], slices.Concat(bb, whole[a.span[1]:b.span[0]], ba))
			} else {
				copy(changed[a.unit.off:], replaceBatch(whole, a.unit, a.span, bb))
				copy(changed[b.unit.off:], replaceBatch(whole, b.unit, b.span, ba))
			}
			m.files[newName] = changed
			judge(t, m, o, "swap", a.span[0], last, a.unit.number, b.unit.number)
		}
	}
	t.Logf("%d batches", len(all))
}

func TestStaleUnitBeyondAnEarlierCutNeverComesBack(t *testing.T) { // I9
	mem := vfs.NewMem(vfs.MemOptions{})
	o := testOptions(mem)
	j, _, err := Open(o)
	require.NoError(t, err)
	w := newWriter(5)
	for range 4 {
		_, err := j.Stage([]wire.BatchRef{w.batch(0, 100)}, nil)
		require.NoError(t, err)
		require.NoError(t, flush(j))
	}
	m := imageOf(t, mem, "j")
	_, units := m.spots(t, oldName)
	// Unit 3 tears, and unit 4 stays whole although its mark says no more than 2:
	// what several flushes under way at once would leave.
	b := m.files[oldName]
	u := units[3]
	clear(b[units[2].off : units[2].off+512])
	var h unitHeader
	h.decode(b[u.off:])
	h.mark = 2
	h.encode(b[u.off : u.off+UnitHeaderBytes])
	digest, err := newVerifier().digest(b[u.off:u.end], &h)
	require.NoError(t, err)
	copy(b[u.off+8:], digest[:])

	mem = m.disk(t, "j")
	o = testOptions(mem)
	kept, rec, err := Open(o)
	require.NoError(t, err)
	require.Empty(t, rec.Damage)
	require.EqualValues(t, units[3].end-units[2].off, rec.TornBytes)
	require.EqualValues(t, 2, kept.Durable())
	tail, _ := kept.Tail(wire.LogID{Site: 5})
	w.tails[wire.LogID{Site: 5}] = tail
	other := w.batch(0, 200)
	_, err = kept.Stage([]wire.BatchRef{other}, nil)
	require.NoError(t, err)
	require.NoError(t, flush(kept))
	require.NoError(t, kept.Close())

	again, rec, err := Open(o)
	require.NoError(t, err)
	require.Empty(t, rec.Damage)
	require.Zero(t, rec.TornBytes, "a cut is reported once")
	got, errs := readAll(again, 1)
	require.Empty(t, errs)
	require.Len(t, got, 3)
	require.True(t, bytes.Equal(got[2], other.Bytes))
}

func TestStaleUnitsOfARecycledSegmentNeverValidate(t *testing.T) { // I9
	mem := vfs.NewMem(vfs.MemOptions{})
	o := testOptions(mem)
	o.SegmentBytes = 32 << 10
	j, _, err := Open(o)
	require.NoError(t, err)
	w := newWriter(5)
	var got [][]byte
	for i := range 60 {
		b := w.batch(0, 3000)
		_, err := j.Stage([]wire.BatchRef{b}, nil)
		require.NoError(t, err)
		require.NoError(t, flush(j))
		_, err = j.Reclaim(func(log wire.LogID) wire.Position { return w.tails[log].Position })
		require.NoError(t, err)
		// At every moment a power cut finds the recycled file with older units
		// behind the newest one.
		m := imageOf(t, mem.Crash(func(vfs.Unsynced) vfs.Fate { return vfs.Keep }), "j")
		r, err := m.recover(o)
		require.NoError(t, err)
		require.Empty(t, r.report.Damage)
		require.Zero(t, r.report.TornBytes)
		require.EqualValues(t, i+1, r.unit)
	}
	require.Positive(t, j.Stats().Spare)
	require.NoError(t, j.Close())
	j, rec, err := Open(o)
	require.NoError(t, err)
	require.Empty(t, rec.Damage)
	got, errs := readAll(j, 1)
	require.Empty(t, errs)
	require.NotEmpty(t, got)
}
