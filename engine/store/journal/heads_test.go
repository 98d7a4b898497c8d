package journal

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/claudefs/repl/wire"
)

// idleJournal returns a journal that was closed after everybody had everything: its
// segments hold no batch, and only heads say where its logs stand and who its peers
// are. segments are their files, oldest first.
func idleJournal(t *testing.T) (mem *vfs.Mem, o Options, tail Tail, segments []string) {
	t.Helper()
	mem = vfs.NewMem(vfs.MemOptions{})
	o = testOptions(mem)
	j, _ := reopen(t, o, nil)
	w := newWriter(5)
	for range 20 {
		_, err := j.Stage([]wire.BatchRef{w.batch(0, 100)}, nil)
		require.NoError(t, err)
		require.NoError(t, flush(j))
	}
	_, err := j.StageControl([]ControlRecord{{Peer: &wire.RegisteredPeer{Site: 9, Name: "b"}}}, 1)
	require.NoError(t, err)
	require.NoError(t, flush(j))
	tail, _ = j.Tail(wire.LogID{Site: 5})
	for range 3 {
		rollIdle(t, j)
		_, err = j.Reclaim(func(log wire.LogID) wire.Position { x, _ := j.Tail(log); return x.Position })
		require.NoError(t, err)
		j, _ = reopen(t, o, j)
	}
	require.NoError(t, j.Close())
	return mem, o, tail, mem.Names("j/" + namePrefix)
}

func flipBit(t *testing.T, mem vfs.FS, name string, off int64) {
	t.Helper()
	f, err := mem.Open(name)
	require.NoError(t, err)
	b := make([]byte, 1)
	_, err = f.ReadAt(b, off)
	require.NoError(t, err)
	b[0] ^= 4
	require.NoError(t, f.WriteAt([][]byte{b}, off))
	require.NoError(t, f.Sync())
	require.NoError(t, f.Close())
}

// TestFactsOfHeadsOutliveOneOfThem: any one head of a journal that has nothing else
// may go, and nothing is forgotten; if all go, that is told (I5, I9).
func TestFactsOfHeadsOutliveOneOfThem(t *testing.T) {
	_, _, _, segments := idleJournal(t)
	require.GreaterOrEqual(t, len(segments), 2)
	for lost := range len(segments) + 1 {
		for _, off := range []int64{0, 9, 14, 20, 50, 60, 70, 75, 130, 200} {
			what := fmt.Sprintf("head %d of %d, byte %d", lost, len(segments), off)
			mem, o, tail, segments := idleJournal(t)
			all := lost == len(segments)
			for i, name := range segments {
				if all || i == lost {
					flipBit(t, mem, name, off)
				}
			}
			for opening := range 2 {
				j, rec, err := Open(o)
				require.NoError(t, err, what)
				require.False(t, rec.Created, what)
				require.NotEmpty(t, rec.Damage, what)
				got, _ := j.Tail(wire.LogID{Site: 5})
				if all {
					require.Equal(t, opening == 0, rec.LogsUnknown, what)
				} else {
					require.Equal(t, tail, got, what)
					require.Len(t, j.Control().Peers, 1, what)
					require.False(t, rec.ControlSuspect, what)
					require.Empty(t, rec.Suspect, what)
					require.Empty(t, j.Holes(), what)
				}
				require.NoError(t, j.Close())
			}
		}
	}
}

// TestEmptiedSegmentIsDamage: the newest segment, or the only one, is there with
// length 0, or cut in its head or behind it (I9).
func TestEmptiedSegmentIsDamage(t *testing.T) {
	for _, segments := range []int{1, 2} {
		for _, size := range []int64{0, 100, BlockBytes, 2 * BlockBytes} {
			what := fmt.Sprintf("%d segments, the newest cut to %d bytes", segments, size)
			mem := vfs.NewMem(vfs.MemOptions{})
			o := testOptions(mem)
			j, _ := reopen(t, o, nil)
			w := newWriter(5)
			for n := 0; n < 4; n++ {
				_, err := j.Stage([]wire.BatchRef{w.batch(0, 3000)}, nil)
				require.NoError(t, err)
				require.NoError(t, flush(j))
				for n == 2 && j.Stats().Segments < segments {
					rollIdle(t, j)
				}
			}
			acked, _ := j.Tail(wire.LogID{Site: 5})
			require.NoError(t, j.Close())
			names := mem.Names("j/" + namePrefix)
			require.Len(t, names, segments)
			f, err := mem.Open(names[segments-1])
			require.NoError(t, err)
			require.NoError(t, f.Truncate(size))
			require.NoError(t, f.Sync())
			require.NoError(t, f.Close())
			for range 2 {
				j, rec, err := Open(o)
				require.NoError(t, err, what)
				require.False(t, rec.Created, what)
				require.NotEmpty(t, rec.Damage, what)
				tail, known := j.Tail(wire.LogID{Site: 5})
				require.NotEqual(t, acked, tail, what)
				require.True(t, !known || slices.Contains(rec.Suspect, wire.LogID{Site: 5}), "%s: %v", what, rec)
				require.True(t, known || rec.LogsUnknown || size >= BlockBytes || segments == 1, what)
				require.NoError(t, j.Close())
			}
		}
	}
}

// TestJournalThatIsGoneIsNotCreated: its segments were removed; a spare, a repair or
// the caller knows that there was one, and the term does not fall (I9).
func TestJournalThatIsGoneIsNotCreated(t *testing.T) {
	for _, witness := range []string{"spare", "repair", "caller", "nobody"} {
		mem := vfs.NewMem(vfs.MemOptions{})
		o := testOptions(mem)
		j, _ := reopen(t, o, nil)
		j, rec := reopen(t, o, j)
		w := newWriter(5)
		for range 30 {
			_, err := j.Stage([]wire.BatchRef{w.batch(0, 9000)}, nil)
			require.NoError(t, err)
			require.NoError(t, flush(j))
		}
		_, err := j.Reclaim(func(log wire.LogID) wire.Position { return w.tails[log].Position })
		require.NoError(t, err)
		require.NotZero(t, j.Stats().Spare)
		require.NoError(t, j.Close())
		for _, name := range mem.Names("j/") {
			if strings.Contains(name, namePrefix) || witness != "spare" {
				require.NoError(t, mem.Remove(name))
			}
		}
		if o.Existed = witness == "caller"; witness == "repair" {
			f, err := mem.Create(o.path(fileName(repairPrefix, 3)))
			require.NoError(t, err)
			require.NoError(t, f.Close())
		}
		j, again, err := Open(o)
		require.NoError(t, err)
		require.Equal(t, witness == "nobody", again.Created, witness)
		require.Equal(t, witness != "nobody", again.LogsUnknown, witness)
		require.Equal(t, witness != "nobody", again.ControlSuspect, witness)
		require.Equal(t, witness != "nobody", len(again.Damage) > 0, witness)
		if witness == "spare" {
			require.Greater(t, again.Term, rec.Term)
		}
		require.NoError(t, j.Close())
	}
}

// TestCreationThatWasCutShortIsNoDamage, wherever the power went (I9).
func TestCreationThatWasCutShortIsNoDamage(t *testing.T) {
	mem := vfs.NewMem(vfs.MemOptions{})
	cuts := 0
	o := testOptions(&tap{mem, func() {
		for _, fate := range []vfs.Fate{vfs.Drop, vfs.Keep} {
			o := testOptions(mem.Crash(func(vfs.Unsynced) vfs.Fate { return fate }))
			_, rec, err := Open(o)
			require.NoError(t, err)
			require.Empty(t, rec.Damage)
			require.Empty(t, rec.Suspect)
			require.False(t, rec.LogsUnknown)
			cuts++
		}
	}})
	j, _ := reopen(t, o, nil)
	require.NoError(t, j.Close())
	require.Greater(t, cuts, 10)
}

// TestCopyWithoutFlushIsFlushedAtOpen: cp flushes nothing; what an opening counts
// outlives a power cut all the same, also what lies in older segments (I1).
func TestCopyWithoutFlushIsFlushedAtOpen(t *testing.T) {
	mem, to := vfs.NewMem(vfs.MemOptions{}), vfs.NewMem(vfs.MemOptions{})
	o := testOptions(mem)
	j, _ := reopen(t, o, nil)
	w := newWriter(5)
	for j.Stats().Segments < 4 {
		_, err := j.Stage([]wire.BatchRef{w.batch(0, 3000)}, nil)
		require.NoError(t, err)
		require.NoError(t, flush(j))
	}
	require.NoError(t, j.Close())
	for c := newCopying(t, mem, to, "j"); c.step(t, o.SegmentBytes); {
	}
	o.FS = to
	j, rec := reopen(t, o, nil)
	require.Empty(t, rec.Damage)
	got, errs := readAll(j, 1)
	require.Empty(t, errs)
	o.FS = to.Crash(func(vfs.Unsynced) vfs.Fate { return vfs.Drop })
	j, rec = reopen(t, o, nil)
	require.Empty(t, rec.Damage)
	again, errs := readAll(j, 1)
	require.Empty(t, errs)
	require.Len(t, again, len(got))
}

// TestUnitOfAnotherOpeningNeverCounts, although it was written for this segment,
// generation and place: another copy of the directory went on there (I1, I4, I9).
func TestUnitOfAnotherOpeningNeverCounts(t *testing.T) {
	m, o := twoSegments(t)
	_, units := m.spots(t, newName)
	last := units[len(units)-1]
	b := m.files[newName]
	whole, err := m.recover(o)
	require.NoError(t, err)
	var h unitHeader
	h.decode(b[last.off:])
	h.term++
	h.encode(b[last.off : last.off+UnitHeaderBytes])
	digest, err := newVerifier().digest(b[last.off:last.end], &h)
	require.NoError(t, err)
	copy(b[last.off+8:], digest[:])
	r, err := m.recover(o)
	require.NoError(t, err)
	require.Equal(t, whole.unit-1, r.unit)
}
