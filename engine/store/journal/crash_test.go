package journal

import (
	"bytes"
	"cmp"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/claudefs/repl/wire"
)

func TestEveryPowerCutKeepsWhatWasAcknowledged(t *testing.T) { // I1, I3, I9, I12, G3
	everyPowerCut(t, vfs.MemOptions{}, Own, 1, 3)
}

func TestEveryPowerCutKeepsMirrorAcks(t *testing.T) { // I1, I3, I9, I12, G3
	everyPowerCut(t, vfs.MemOptions{}, Mirror, 1, 2)
	everyPowerCut(t, vfs.MemOptions{QueueOrder: disorder(5)}, Mirror, 4, 1)
}

func TestEveryPowerCutKeepsInflightAcks(t *testing.T) { // I1, I3, I9, I12, G3
	everyPowerCut(t, vfs.MemOptions{}, Own, 4, 2)
	for seed := range uint64(3) {
		everyPowerCut(t, vfs.MemOptions{QueueOrder: disorder(seed)}, Own, 2+3*int(seed), 1)
	}
}

// imagesPerCut is how many random images a power cut leaves beside the subsets of
// few unsynced sectors; CLAUDEFS_IMAGES, which "make nightly" sets, raises it.
func imagesPerCut(t *testing.T) int {
	t.Helper()
	n, err := strconv.Atoi(cmp.Or(os.Getenv("CLAUDEFS_IMAGES"), "12"))
	require.NoError(t, err, "CLAUDEFS_IMAGES is a number")
	return n
}

// everyPowerCut lives through openings of a journal with so many units under way.
func everyPowerCut(t *testing.T, mo vfs.MemOptions, kind Kind, depth, openings int) {
	t.Helper()
	mem, random := vfs.NewMem(mo), imagesPerCut(t)
	var s *story
	cuts, images := uint64(0), 0
	hook := func() {
		cuts++
		if cuts%raceStride != 0 && raceStride > 1 {
			return
		}
		crashes(mem, cuts, random, func(disk *vfs.Mem, what string) {
			images++
			if err := s.check(disk); err != nil {
				t.Fatalf("kind %d, depth %d, cut %d, %s: %v", kind, depth, cuts, what, err)
			}
		})
	}
	o := storyOptions(&tap{mem, hook})
	o.Kind = kind
	s = newDeepStory(o, depth)
	for range openings { // those behind the first recover
		require.NoError(t, s.run(26))
	}
	require.NotZero(t, s.recycled, "no cut fell behind a segment that goes round")
	if raceStride == 1 {
		require.Greater(t, images, 5000, "too few to mean anything")
	}
	t.Logf("kind %d, depth %d: %d cuts, %d images", kind, depth, cuts, images)
}

func TestCutsDuringRecoveryKeepAcks(t *testing.T) { // I1, I9
	mem := vfs.NewMem(vfs.MemOptions{})
	var s *story
	cuts, images := uint64(0), 0
	s = newStory(storyOptions(&tap{mem, func() {
		cuts++
		if cuts%9 != 0 || cuts%(9*raceStride) != 0 {
			return
		}
		disk := mem.Crash(vfs.RandomFates(rand.New(rand.NewPCG(cuts, 2))))
		inner := uint64(0)
		o := s.o
		o.FS = &tap{disk, func() {
			inner++
			crashes(disk, cuts<<8+inner, 4, func(d *vfs.Mem, what string) {
				images++
				if err := s.check(d); err != nil {
					t.Fatalf("cut %d, in recovery %d, %s: %v", cuts, inner, what, err)
				}
			})
		}}
		_, _, err := Open(o)
		require.NoError(t, err)
	}}))
	require.NoError(t, s.run(40))
	t.Logf("%d cuts, %d images", cuts, images)
}

func TestWhatRecoveryCountsIsFlushedFirst(t *testing.T) { // I1, I9
	mem := vfs.NewMem(vfs.MemOptions{})
	s := newStory(storyOptions(mem))
	var err error
	s.j, _, err = Open(s.o)
	require.NoError(t, err)
	require.NoError(t, s.stage(0, 100))
	require.NoError(t, s.flush())
	require.NoError(t, s.stage(0, 100))
	f := s.j.BeginFlush()
	require.NoError(t, f.Write()) // and the process ends before Sync: the unit is in the page cache only
	mem.Kill()
	s.j, _, err = Open(s.o)
	require.NoError(t, err)
	require.EqualValues(t, 2, s.j.Durable())
	s.acked = 2 // what is counted after recovery may be shipped
	crashes(mem, 1, 20, func(disk *vfs.Mem, what string) {
		require.NoError(t, s.check(disk), what)
	})
}

func TestLostWriteIsDamageOnceAnotherFollowed(t *testing.T) { // I9, G5
	tried := 0
	for call := 1; ; call++ {
		mem := vfs.NewMem(vfs.MemOptions{})
		faulty := vfs.WithFaults(mem, vfs.Fault{Op: vfs.OpWrite, Match: "*.seg", Call: call, Effect: vfs.LoseWrite})
		s := newStory(storyOptions(faulty))
		var err error
		if s.j, _, err = Open(s.o); err != nil {
			require.ErrorContains(t, err, "segment-")
			continue
		}
		for i := 0; i < 20 && err == nil; i++ {
			if err = s.stage(0, 900); err == nil {
				err = s.flush()
			}
		}
		require.NoError(t, err)
		require.NoError(t, s.j.Close())
		m := imageOf(t, mem, "j")
		r, err := m.recover(s.o)
		require.NoError(t, err)
		if faulty.Hits() == 0 {
			require.Empty(t, r.report.Damage)
			break
		}
		if last := faulty.Calls(vfs.OpWrite) == call; last {
			continue // the closing unit, which holds nothing
		}
		tried++
		require.NotEmpty(t, r.report.Damage, "write %d", call)
		require.Zero(t, r.report.TornBytes, "write %d", call)
	}
	require.Greater(t, tried, 15)
}

func TestBitThatFlipsOnTheWayInIsNeverPassedOn(t *testing.T) { // I9
	mem := vfs.NewMem(vfs.MemOptions{})
	s := newStory(storyOptions(mem))
	require.NoError(t, s.run(5))
	for call := 1; call < 12; call++ {
		for bit := 0; bit < 60000; bit += 997 {
			o := s.o
			faulty := vfs.WithFaults(mem, vfs.Fault{Op: vfs.OpRead, Call: call, Effect: vfs.FlipBit, Bit: bit})
			o.FS = faulty
			r := newRecovery(&o)
			require.NoError(t, r.run())
			j := &Journal{o: o, segs: r.segs, logs: r.logs, holes: r.holes}
			got, _ := readAll(j, 1)
			r.close()
			i := 0
			for _, b := range got {
				for i < len(s.staged) && !bytes.Equal(b, s.staged[i]) {
					i++
				}
				require.Less(t, i, len(s.staged), "call %d bit %d: bytes that nobody wrote", call, bit)
			}
		}
	}
}

func TestEveryFailingCallIsToldAndLosesNothing(t *testing.T) { // I1, I10, G5
	everyFailingCall(t, vfs.MemOptions{}, 1)
}

func TestEachFailingCallWithInflightUnits(t *testing.T) { // I1, I10, G5
	everyFailingCall(t, vfs.MemOptions{QueueOrder: disorder(7)}, 4)
}

func everyFailingCall(t *testing.T, mo vfs.MemOptions, depth int) {
	t.Helper()
	tried := 0
	for _, f := range []vfs.Fault{
		{Op: vfs.OpAny}, {Op: vfs.OpAny, Forever: true},
		{Op: vfs.OpWrite, Effect: vfs.ShortWrite}, {Op: vfs.OpSync, Effect: vfs.SyncThenLie},
	} {
		for f.Call = 1; ; f.Call += 1 + (raceStride-1)/6 {
			mem := vfs.NewMem(mo)
			faulty := vfs.WithFaults(mem, f)
			s := newDeepStory(storyOptions(faulty), depth)
			err := s.run(40)
			if faulty.Hits() == 0 {
				require.NoError(t, err)
				break
			}
			tried++
			require.Error(t, err, "%+v passed in silence", f)
			if s.j != nil && s.j.Err() != nil {
				require.ErrorIs(t, s.j.Err(), ErrPoisoned)
			}
			mem.Kill()
			require.NoError(t, s.check(mem.Crash(func(vfs.Unsynced) vfs.Fate { return vfs.Keep })), "%+v", f)
			for seed := range uint64(3) {
				disk := mem.Crash(vfs.RandomFates(rand.New(rand.NewPCG(seed, uint64(f.Call)))))
				require.NoError(t, s.check(disk), "%+v seed %d", f, seed)
			}
		}
	}
	t.Logf("%d failing calls", tried)
}

// TestCacheOfFailedFlushIsFlushedAgain: a process whose flush failed
// dies, and the system's cache still shows its bytes, as clean. Who opens next
// counts them, so a power cut must not take them back (I1).
func TestCacheOfFailedFlushIsFlushedAgain(t *testing.T) {
	counted := 0
	for call := 1; ; call++ {
		mem := vfs.NewMem(vfs.MemOptions{})
		faulty := vfs.WithFaults(mem, vfs.Fault{Op: vfs.OpSync, Call: call, Effect: vfs.SyncThenClean})
		s := newStory(storyOptions(faulty))
		err := s.run(40)
		if faulty.Hits() == 0 {
			break
		}
		require.Error(t, err)
		mem.Kill()
		o := s.o
		o.FS = mem
		j, _, err := Open(o)
		require.NoError(t, err)
		tails := map[wire.LogID]Tail{}
		for _, log := range j.Logs() {
			tails[log], _ = j.Tail(log)
			counted++
		}
		o.FS = mem.Crash(func(vfs.Unsynced) vfs.Fate { return vfs.Drop })
		j, rec, err := Open(o)
		require.NoError(t, err)
		require.Empty(t, rec.Damage)
		for log, tail := range tails {
			now, _ := j.Tail(log)
			require.Equal(t, tail, now, "sync %d failed: log %s was counted up to %s", call, log, tail.Position)
		}
	}
	require.Greater(t, counted, 100)
}

// TestUncountedSegmentHidesNoUnit: the next segment's file is
// there without a name of its own, so the one before it is the newest that counts, and what
// lies in its cache is flushed before it is counted (I1).
func TestUncountedSegmentHidesNoUnit(t *testing.T) {
	mem := vfs.NewMem(vfs.MemOptions{})
	o := testOptions(mem)
	j, _ := reopen(t, o, nil)
	w := newWriter(o.Site)
	for _, end := range []func() error{func() error { return flush(j) },
		func() error { return j.BeginFlush().Write() }} {
		_, err := j.Stage([]wire.BatchRef{w.batch(0, 10)}, nil)
		require.NoError(t, err)
		require.NoError(t, end())
	}
	mem.Kill()
	f, err := mem.Create(o.path(fileName(newPrefix, 2)))
	require.NoError(t, err)
	require.NoError(t, f.Truncate(o.SegmentBytes))
	mem.Kill()

	j, _, err = Open(o)
	require.NoError(t, err)
	next := w.batch(0, 10)
	log := next.Header.Log()
	counted, known := j.Tail(log)
	require.True(t, known)
	o.FS = mem.Crash(func(vfs.Unsynced) vfs.Fate { return vfs.Drop })
	j, rec, err := Open(o)
	require.NoError(t, err)
	require.Empty(t, rec.Damage)
	now, _ := j.Tail(log)
	require.Equal(t, counted, now)
}
