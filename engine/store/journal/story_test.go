package journal

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"

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
	served int      // of staged: Reclaim was told that nobody needs them
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
			if _, err := s.j.Reclaim(func(log wire.LogID) wire.Position { return s.floor[log] }); err != nil {
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
func (s *story) land(inflight int) (failed error) {
	for s.p != nil {
		for s.p.Begin() {
		}
		if n := s.p.Inflight(); n == 0 || failed == nil && n <= inflight && s.j.StagedBytes() == 0 {
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
