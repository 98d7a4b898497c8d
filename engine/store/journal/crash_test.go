package journal

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/claudefs/repl/wire"
)

// tap calls hook after every call that changes the disk, which is where a power
// cut can fall.
type tap struct {
	vfs.FS
	hook func()
}

type tapFile struct {
	vfs.File
	hook func()
}

func (d *tap) file(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &tapFile{f, d.hook}, nil
}

func (d *tap) Create(name string) (vfs.File, error) {
	defer d.hook()
	return d.file(d.FS.Create(name))
}
func (d *tap) Open(name string) (vfs.File, error) { return d.file(d.FS.Open(name)) }
func (d *tap) Rename(a, b string) error           { defer d.hook(); return d.FS.Rename(a, b) }
func (d *tap) Remove(name string) error           { defer d.hook(); return d.FS.Remove(name) }
func (d *tap) SyncDir(dir string) error           { defer d.hook(); return d.FS.SyncDir(dir) }

// OpenQueue taps a queue: a power cut can fall when a write begins and when it ends.
func (d *tap) OpenQueue(o vfs.QueueOptions) (vfs.Queue, error) {
	q, err := d.FS.(vfs.Queuer).OpenQueue(o)
	return &tapQueue{q, d.hook}, err
}

type tapQueue struct {
	vfs.Queue
	hook func()
}

func (q *tapQueue) Write(f vfs.File, parts [][]byte, off int64, user uint64) {
	q.Queue.Write(f.(*tapFile).File, parts, off, user)
	q.hook()
}

func (q *tapQueue) Wait(done []vfs.Written, sleep bool) []vfs.Written {
	defer q.hook()
	return q.Queue.Wait(done, sleep)
}

func (f *tapFile) WriteAt(p [][]byte, off int64) error { defer f.hook(); return f.File.WriteAt(p, off) }
func (f *tapFile) Refresh() error                      { defer f.hook(); return f.File.Refresh() }
func (f *tapFile) Sync() error                         { defer f.hook(); return f.File.Sync() }
func (f *tapFile) Truncate(n int64) error              { defer f.hook(); return f.File.Truncate(n) }

// story is what a caller did with a journal and was told by it.
type story struct {
	o      Options
	j      *Journal
	w      *writer
	staged [][]byte // batches in their order
	acked  int      // of staged: a flush that ended well covers them
	served int      // of staged: Retain was told that nobody needs them
	floor  map[wire.LogID]wire.Position
	bound  wire.Stamp // acknowledged in a control record

	recycled uint64 // segments that went round

	depth int // above 1: units under way at once
	p     *Pipeline
	units []UnitNumber // of staged
}

// newDeepStory has units under way that end in an order drawn from a seed.
func newDeepStory(o Options, depth int) *story {
	s := newStory(o)
	s.depth = depth
	return s
}

// disorder ends the writes of a queue in an order of its own, the same each time.
func disorder(seed uint64) func(int) int {
	r := rand.New(rand.NewPCG(seed, 3))
	return func(underWay int) int { return r.IntN(underWay) }
}

// newStory is a source's own journal or another site's mirror of it, as o says.
func newStory(o Options) *story {
	site := o.Site
	if o.Kind == Mirror {
		site++
	}
	return &story{o: o, w: newWriter(site), floor: map[wire.LogID]wire.Position{}}
}

func (s *story) stage(shard wire.Shard, size int) error {
	before, stamp := s.w.tails[wire.LogID{Site: s.w.site, Shard: shard}], s.w.stamp
	b := s.w.batch(shard, size)
	unit, err := s.j.Stage([]wire.BatchRef{b}, nil)
	if err != nil {
		s.w.stamp = stamp
		if before == (Tail{}) {
			delete(s.w.tails, b.Header.Log())
		} else {
			s.w.tails[b.Header.Log()] = before
		}
		return err
	}
	s.staged, s.units = append(s.staged, b.Bytes), append(s.units, unit)
	if s.p != nil {
		s.p.Begin() // each batch is a unit of its own, while there is room
	}
	return nil
}

// flush makes all that is staged durable and believes what it is told.
func (s *story) flush() error {
	n := len(s.staged)
	if s.p != nil {
		return s.land(0)
	}
	if err := flush(s.j); err != nil {
		return err
	}
	s.acked = n
	return nil
}

// run opens a journal and lives through n rounds; it ends with the first error.
func (s *story) run(n int) (err error) {
	if s.j, _, err = Open(s.o); err != nil {
		return err
	}
	if s.p = nil; s.depth > 1 {
		s.p = s.j.OpenPipeline(PipelineOptions{Depth: s.depth})
	}
	closed := false
	defer func() {
		s.recycled += s.j.Stats().Recycled
		if !closed {
			_ = s.land(0)
			_ = s.p.end()
			_ = s.j.Close() // the error that counts is the one before
		}
	}()
	for i := range n {
		for k := range 1 + i%2 {
			if err := s.stage(wire.Shard((i+k)%3), 200+i*613%2700); err != nil {
				return err
			}
		}
		if i%4 == 1 && s.o.Kind == Own {
			if _, err := s.j.StageControl([]ControlRecord{{ClockBound: s.w.stamp}}, s.w.stamp); err != nil {
				return err
			}
		}
		bound := s.w.stamp
		if s.p != nil && i%4 != 1 { // some stay under way
			err = s.land(2)
		} else {
			err = s.flush()
		}
		if err != nil {
			return err
		}
		if i%4 == 1 && s.o.Kind == Own {
			s.bound = bound
		}
		if i%5 == 4 {
			if _, err := s.j.Prepare(); err != nil {
				return err
			}
		}
		if i%6 == 5 {
			for log, tail := range s.w.tails {
				s.floor[log] = tail.Position
			}
			s.served = s.acked
			if _, err := s.j.Retain(func(log wire.LogID) wire.Position { return s.floor[log] }); err != nil {
				return err
			}
		}
		if i%7 == 6 {
			if _, errs := readAll(s.j, 1); errs != nil {
				return errs[0]
			}
		}
	}
	closed = true
	err = s.land(0)
	return errors.Join(err, s.p.end(), s.j.Close())
}

// land has units end until so many are under way and nothing waits. It goes on
// after an error until everything that was lent is back.
func (s *story) land(flying int) (failed error) {
	for s.p != nil {
		for s.p.Begin() {
		}
		if n := s.p.Flying(); n == 0 || failed == nil && n <= flying && s.j.StagedBytes() == 0 {
			return errors.Join(failed, s.j.Err())
		}
		done, err := s.p.End()
		failed = errors.Join(failed, err)
		for err == nil && s.acked < len(s.units) && s.units[s.acked] <= done.Unit {
			s.acked++
		}
	}
	return nil
}

func (p *Pipeline) end() error {
	if p == nil {
		return nil
	}
	return p.Close()
}

// check opens what is left of the journal and says what promise is broken. It
// appends, reopens and checks once more.
func (s *story) check(fsys vfs.FS) error {
	o := s.o
	o.FS = fsys
	j, rec, err := Open(o)
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	if len(rec.Damage) > 0 || len(rec.Suspect) > 0 {
		return fmt.Errorf("a power cut counts as damage: %+v", rec)
	}
	got, errs := readAll(j, 1)
	if errs != nil {
		return errs[0]
	}
	first, err := s.compare(got)
	if err != nil {
		return err
	}
	if c := j.Control(); c.ClockBound < s.bound {
		return fmt.Errorf("clock bound %d, %d was acknowledged (I1)", c.ClockBound, s.bound)
	}
	w := &writer{cluster: testCluster, site: s.w.site, tails: map[wire.LogID]Tail{}, stamp: s.w.stamp + 10}
	for _, log := range j.Logs() {
		w.tails[log], _ = j.Tail(log)
	}
	var more [][]byte
	for shard := range wire.Shard(4) {
		b := w.batch(shard, 700)
		if _, err := j.Stage([]wire.BatchRef{b}, nil); err != nil {
			return err
		}
		more = append(more, b.Bytes)
	}
	if err := flush(j); err != nil {
		return err
	}
	if err := j.Close(); err != nil {
		return err
	}
	j, rec, err = Open(o)
	if err != nil || len(rec.Damage) > 0 || rec.TornBytes > 0 {
		return fmt.Errorf("second open: %+v: %w", rec, err)
	}
	again, errs := readAll(j, 1)
	if errs != nil {
		return errs[0]
	}
	want := append(append([][]byte{}, s.staged[first:first+len(got)]...), more...)
	if !equalAll(again, want) {
		return fmt.Errorf("after appending again %d batches, want %d", len(again), len(want))
	}
	return j.Close()
}

func equalAll(a, b [][]byte) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !bytes.Equal(a[i], b[i]) {
			return false
		}
	}
	return true
}

// compare finds what was read in what was staged: one stretch that holds all
// that was acknowledged and is still needed. It returns where that begins.
func (s *story) compare(got [][]byte) (first int, err error) {
	if len(got) == 0 {
		if s.acked > s.served {
			return 0, fmt.Errorf("nothing was read, %d batches were acknowledged (I1)", s.acked-s.served)
		}
		return 0, nil
	}
	for first < len(s.staged) && !bytes.Equal(s.staged[first], got[0]) {
		first++
	}
	if first > s.served {
		return first, fmt.Errorf("reading begins at batch %d, only %d are given up (I12)", first, s.served)
	}
	if first+len(got) > len(s.staged) || !equalAll(got, s.staged[first:first+len(got)]) {
		return first, fmt.Errorf("what was read is not what was staged from %d on (I3)", first)
	}
	if first+len(got) < s.acked {
		return first, fmt.Errorf("%d batches read, %d were acknowledged (I1)", first+len(got), s.acked)
	}
	return first, nil
}

// crashes calls try with power-cut images of the disk: all subsets of at most 8
// unsynced things, of which the last kept one may also be torn or rubbish; beyond
// that random ones.
func crashes(mem *vfs.Mem, seed uint64, random int, try func(*vfs.Mem, string)) {
	unsynced := mem.Unsynced()
	if n := len(unsynced); n <= 8 {
		for subset := range 1 << n {
			i := -1
			try(mem.Crash(func(vfs.Unsynced) vfs.Fate {
				i++
				return vfs.Fate(subset >> i & 1) // Drop or Keep
			}), fmt.Sprintf("subset %b of %v", subset, unsynced))
		}
	}
	r := rand.New(rand.NewPCG(seed, 1))
	for k := range random {
		try(mem.Crash(vfs.RandomFates(r)), fmt.Sprintf("random image %d of seed %d", k, seed))
	}
}

func storyOptions(fsys vfs.FS) Options {
	o := testOptions(fsys)
	o.SegmentBytes, o.UnitBytesMax = 32<<10, 8<<10
	o.RecentBytesMax = 20_000 // some of what a story reads comes from memory, some from files
	return o
}

func TestEveryPowerCutKeepsWhatWasAcknowledged(t *testing.T) { // I1, I3, I9, I12, G3
	everyPowerCut(t, vfs.MemOptions{}, Own, 1, 3)
}

func TestEveryPowerCutKeepsWhatWasAcknowledgedInAMirror(t *testing.T) { // I1, I3, I9, I12, G3
	everyPowerCut(t, vfs.MemOptions{}, Mirror, 1, 2)
	everyPowerCut(t, vfs.MemOptions{QueueOrder: disorder(5)}, Mirror, 4, 1)
}

func TestEveryPowerCutWithUnitsUnderWayKeepsWhatWasAcknowledged(t *testing.T) { // I1, I3, I9, I12, G3
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

func TestPowerCutsDuringRecoveryKeepWhatWasAcknowledged(t *testing.T) { // I1, I9
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

func TestALostWriteIsDamageOnceAnotherFollowed(t *testing.T) { // I9, G5
	tried := 0
	for call := 1; ; call++ {
		mem := vfs.NewMem(vfs.MemOptions{})
		faulty := vfs.WithFaults(mem, vfs.Fault{Op: vfs.OpWrite, Match: "segment-*", Call: call, Effect: vfs.LoseWrite})
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

func TestABitThatFlipsOnTheWayInIsNeverPassedOn(t *testing.T) { // I9
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

func TestEveryFailingCallWithUnitsUnderWayIsToldAndLosesNothing(t *testing.T) { // I1, I10, G5
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

// TestWhatAFailedFlushLeftInTheCacheIsFlushedAnew: a process whose flush failed
// dies, and the system's cache still shows its bytes, as clean. Who opens next
// counts them, so a power cut must not take them back (I1).
func TestWhatAFailedFlushLeftInTheCacheIsFlushedAnew(t *testing.T) {
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

// TestANewSegmentThatNeverCountedHidesNoUnflushedUnit: the next segment's file is
// there without a head, so the one before it is the newest that counts, and what
// lies in its cache is flushed before it is counted (I1).
func TestANewSegmentThatNeverCountedHidesNoUnflushedUnit(t *testing.T) {
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
	f, err := mem.Create(o.path(fileName(namePrefix, 2)))
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
