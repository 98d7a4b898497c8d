package journal

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/claudefs/repl/wire"
)

// TestEveryUnitRepeatedOrSplicedIsDetected puts each unit in each other's place,
// moves what follows to let it in once more, and joins the beginning of one with
// the end of another at every sector (I9, G4).
func TestEveryUnitRepeatedOrSplicedIsDetected(t *testing.T) {
	m, o := twoSegments(t)
	_, units := m.spots(t, newName)
	last := units[len(units)-1].number
	whole := m.files[newName]
	behind := func(end int64) UnitNumber { // the unit that holds the byte before end
		for _, u := range units {
			if end <= u.end {
				return u.number
			}
		}
		return last
	}
	repeats, inserts, splices := 0, 0, 0
	for i, a := range units {
		for k := i % raceStride % 3; k < len(units); k += 1 + raceStride/20 {
			if i == k {
				continue
			}
			b, from := units[k], whole[a.off:a.end]
			changed := slices.Clone(whole)
			copy(changed[b.off:], from)
			m.files[newName] = changed
			covered := behind(b.off + int64(len(from)))
			judgeTail(t, m, o, fmt.Sprintf("unit %d over", a.number), b.off, last, b.number, covered)
			repeats++

			m.files[newName] = slices.Concat(whole[:b.off], from, whole[b.off:])[:len(whole)]
			judgeTail(t, m, o, fmt.Sprintf("unit %d once more", a.number), b.off, last, b.number, last)
			inserts++

			for at := int64(512); at < min(a.end-a.off, b.end-b.off); at += 512 {
				if slices.Equal(whole[a.off+at:a.end], whole[b.off+at:b.end]) {
					continue // padding
				}
				changed := slices.Clone(whole)
				copy(changed[b.off+at:b.end], whole[a.off+at:a.end])
				m.files[newName] = changed
				judge(t, m, o, fmt.Sprintf("end of unit %d", a.number), b.off+at, last, b.number, b.number)
				splices++
			}
		}
	}
	t.Logf("%d repeated, %d inserted, %d spliced", repeats, inserts, splices)
}

// judgeTail is judge where everything from a unit to the last may be gone, and with
// it every mark: then it is damage, or cut and nothing of it counts.
func judgeTail(t *testing.T, m *image, o Options, what string, at int64, last, from, to UnitNumber) {
	t.Helper()
	if to < last || from >= last-1 {
		judge(t, m, o, what, at, last, from, to)
		return
	}
	r, err := m.recover(o)
	require.NoError(t, err)
	if len(r.report.Damage) == 0 {
		require.NotZero(t, r.report.TornBytes, "%s at %d was not seen", what, at)
		require.Less(t, r.unit, from, "%s at %d", what, at)
	}
}

// TestUnitsOfAnotherJournalNeverCount puts units with the same number, at the same
// place, of a journal of another kind, site, cluster or life in a segment's middle:
// each is damage (I9, I11, G4).
func TestUnitsOfAnotherJournalNeverCount(t *testing.T) {
	m, o := twoSegments(t)
	_, units := m.spots(t, newName)
	last := units[len(units)-1].number
	whole := m.files[newName]
	for name, change := range map[string]func(*Options){
		"kind":    func(o *Options) { o.Kind = Mirror },
		"site":    func(o *Options) { o.Site++ },
		"cluster": func(o *Options) { o.Cluster++ },
		"life":    func(*Options) {},
	} {
		other := o
		change(&other)
		foreign := twoSegmentsOf(t, other, name == "life")
		_, theirs := foreign.spots(t, newName)
		tried := 0
		for i, u := range units[:len(units)-1] {
			if i >= len(theirs) || u != theirs[i] {
				continue
			}
			changed := slices.Clone(whole)
			copy(changed[u.off:u.end], foreign.files[newName][u.off:u.end])
			m.files[newName] = changed
			judge(t, m, o, "unit of another "+name, u.off, last, u.number, u.number)
			tried++
		}
		require.Greater(t, tried, 3, name)
	}
}

// TestEveryFlippedBitOfAMirrorIsDetected: heads whole, units at every 29th bit; what
// the format says of the own journal's bits holds for the mirror's (I9, G4).
func TestEveryFlippedBitOfAMirrorIsDetected(t *testing.T) {
	o := testOptions(nil)
	o.Kind, o.Site = Mirror, 6
	m := twoSegmentsOf(t, o, false)
	r, err := m.recover(o)
	require.NoError(t, err)
	require.Empty(t, r.report.Damage, "no false alarm")
	require.Zero(t, r.report.TornBytes)
	_, newer := m.spots(t, newName)
	last := newer[len(newer)-1].number
	flips := 0
	for _, name := range []string{oldName, newName} {
		headBytes, units := m.spots(t, name)
		b, step := m.files[name], int64(1)
		for bit := int64(0); bit < units[len(units)-1].end*8; bit += step * raceStride {
			number := UnitNumber(0)
			for _, u := range units {
				if bit/8 >= headBytes && bit/8 >= u.off {
					number = u.number
				}
			}
			if number > 0 {
				step = 29
			}
			b[bit/8] ^= 1 << (bit % 8)
			judge(t, m, o, "flip in "+name, bit/8, last, number, number)
			b[bit/8] ^= 1 << (bit % 8)
			flips++
		}
	}
	t.Logf("%d flips", flips)
}

// TestDamagedRepairIsNoSource: any bit of a repair segment may flip, any end of it
// be lost: then the hole is open again, or what is read is what was written (I9, G4).
func TestDamagedRepairIsNoSource(t *testing.T) {
	m, o, all := mirrored(t, 12)
	_, units := m.spots(t, oldName)
	m.files[oldName][units[5].off+40] ^= 1
	o.FS = m.disk(t, "j")
	j, _ := reopen(t, o, nil)
	want := len(j.Holes())
	repairAll(t, j, all)
	require.NoError(t, j.Close())
	m = imageOf(t, o.FS, "j")
	tried, opened := 0, 0
	try := func(what string) {
		o.FS = m.disk(t, "j")
		j, rec := reopen(t, o, nil)
		if holes := len(j.Holes()); holes > 0 {
			require.LessOrEqual(t, holes, want, what)
			require.NotEmpty(t, rec.Damage, what)
			opened++
			repairAll(t, j, all)
		}
		requireWhole(t, j, all)
		require.NoError(t, j.Close())
		tried++
	}
	for name, b := range m.files {
		if _, ok := fileNumber(repairPrefix, name); !ok {
			continue
		}
		for bit := 0; bit < len(b)*8; bit += 61 * raceStride {
			b[bit/8] ^= 1 << (bit % 8)
			try(fmt.Sprintf("bit %d of %s", bit, name))
			b[bit/8] ^= 1 << (bit % 8)
		}
		for end := 0; end < len(b); end += 509 * raceStride {
			m.files[name] = b[:end]
			try(fmt.Sprintf("%s cut to %d", name, end))
		}
		m.files[name] = b
	}
	require.Greater(t, opened, tried/2)
	t.Logf("%d damaged, %d holes open again", tried, opened)
}

// twoSegmentsOf is twoSegments for other options; later is a journal that lived once
// before.
func twoSegmentsOf(t *testing.T, o Options, later bool) *image {
	t.Helper()
	mem := vfs.NewMem(vfs.MemOptions{})
	o.FS = mem
	w := newWriter(o.Site)
	if o.Kind == Mirror {
		w = newWriter(9)
	}
	if later {
		w.stamp += 99
	}
	fillTwoSegments(t, &o, w)
	return imageOf(t, mem, "j")
}

// TestFlippedBitsOfALargeSegmentAreDetected does with a segment of the default size
// what is done to every bit of a small one, to bits drawn at random: as many as
// CLAUDEFS_FLIPS says, which "make nightly" sets (I9, G4).
func TestFlippedBitsOfALargeSegmentAreDetected(t *testing.T) {
	flips, err := strconv.Atoi(cmp.Or(os.Getenv("CLAUDEFS_FLIPS"), "16"))
	require.NoError(t, err, "CLAUDEFS_FLIPS is a number")
	mem := vfs.NewMem(vfs.MemOptions{})
	o := testOptions(mem)
	o.SegmentBytes, o.UnitBytesMax = 64<<20, 1<<20
	j, _, err := Open(o)
	require.NoError(t, err)
	for w := newWriter(5); j.active.seg.end < 62<<20; {
		_, err := j.Stage([]wire.BatchRef{w.batch(0, 300_000), w.batch(1, 50_000), w.batch(2, 9)}, nil)
		require.NoError(t, err)
		require.NoError(t, flush(j))
	}
	m := imageOf(t, mem, "j")
	_, units := m.spots(t, oldName)
	require.Greater(t, len(units), 100)
	last, b := units[len(units)-1], m.files[oldName]
	r := rand.New(rand.NewPCG(uint64(flips), 4))
	for range flips {
		bit := r.Int64N(last.end * 8)
		number := UnitNumber(0)
		for _, u := range units {
			if bit/8 >= u.off {
				number = u.number
			}
		}
		b[bit/8] ^= 1 << (bit % 8)
		judge(t, m, o, "flip", bit/8, last.number, number, number)
		b[bit/8] ^= 1 << (bit % 8)
	}
	t.Logf("%d flips", flips)
}
