package journal

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/zeebo/xxh3"

	"github.com/claudefs/repl/engine/internal/plant"
	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/claudefs/repl/wire"
)

// Flush is one unit on its way to the medium:
//
//	f := j.BeginFlush()          // closes the open unit
//	err := f.Write()             // may run beside Stage, Reader, …
//	if err == nil { err = f.Sync() }
//	done, err := j.EndFlush(f, err)
//
// A Pipeline has several of them under way.
type Flush struct {
	j        *Journal
	unit     *openUnit
	mark     UnitNumber
	header   [UnitHeaderBytes]byte
	parts    [][]byte
	hash     *xxh3.Hasher128
	off, end int64 // where the unit lies, once it is laid out
	zeroes   bool  // what lies behind end too: nothing else may be written there meanwhile
	renews   bool  // it begins the next segment, although it fits this one
	synced   bool
	ended    bool
	failed   error
}

// BeginFlush closes the open unit. It returns nil if nothing is staged or a
// flush is under way (in a Pipeline: as many as it has, or one that the next
// segment must wait for), or the journal stopped. The result is valid until its
// EndFlush.
func (j *Journal) BeginFlush() *Flush {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.flights) >= max(1, j.depth) || len(j.pending) == 0 || j.err != nil || j.closed {
		return nil
	}
	u := j.pending[0]
	if n := len(j.flights); n > 0 && (j.renew || !j.active.fits(u) || j.flights[n-1].zeroes) {
		return nil // the next segment's head says that all before it is durable
	}
	j.pending = append(j.pending[:0], j.pending[1:]...)
	j.staged -= u.used - UnitHeaderBytes
	f := pop(&j.flushesSpare)
	if f == nil {
		f = &Flush{j: j, hash: xxh3.New128()}
	}
	*f = Flush{j: j, unit: u, mark: j.durable, header: f.header, parts: f.parts[:0], hash: f.hash, renews: j.renew}
	j.renew = false
	if plant.MarkAhead {
		f.mark = u.number
	}
	j.flights = append(j.flights, f)
	return f
}

// Unit is the number of the unit that is on its way.
func (f *Flush) Unit() UnitNumber { return f.unit.number }

// Write writes the unit (opening the next segment first if it does not fit).
func (f *Flush) Write() error {
	if err := f.layOut(); err != nil {
		return err
	}
	a := f.j.active
	write := a.file.WriteAt
	if plant.AckBeforeWrite {
		write = f.j.writeBehind
	}
	if err := write(f.parts, f.off); err != nil {
		f.end = 0
		return f.wrap(err)
	}
	if plant.ApplyBeforeFlush && f.j.o.Kind == Mirror || plant.ShipBeforeFlush && f.j.o.Kind == Own {
		show(f)
	}
	return nil
}

// show lets readers see what is written: a mistake, see package plant.
func show(f *Flush) {
	f.j.mu.Lock()
	defer f.j.mu.Unlock()
	f.j.active.seg.end = f.end
}

// writeBehind keeps what is to be written, and writes what it kept last: a mistake,
// see package plant.
func (j *Journal) writeBehind(parts [][]byte, off int64) error {
	last := j.behind
	j.behind = behind{j.active.file, slices.Concat(parts...), off}
	if last.file == nil {
		return nil
	}
	return last.file.WriteAt([][]byte{last.bytes}, last.off)
}

// behind is what writeBehind keeps.
type behind struct {
	file  vfs.File
	bytes []byte
	off   int64
}

// Sync makes it durable.
func (f *Flush) Sync() error {
	a := f.j.active
	if f.end == 0 {
		return errors.New("unit synced before it was written")
	}
	if plant.AckBeforeFlush || plant.FlushRetried && a.file.Sync() == nil {
		f.synced = true
		return nil
	}
	if err := a.file.Sync(); err != nil {
		return fmt.Errorf("%s: %w", f.j.o.path(a.seg.name), err)
	}
	f.synced = true
	return nil
}

// submit is Write and Sync by a queue, which says when they ended.
func (f *Flush) submit(q vfs.Queue) error {
	if err := f.layOut(); err != nil {
		return err
	}
	f.synced = true
	q.Write(f.j.active.file, f.parts, f.off, uint64(f.unit.number))
	return nil
}

func (f *Flush) wrap(err error) error {
	path := f.j.o.path(f.j.active.seg.name)
	if e, ok := errors.AsType[*fs.PathError](err); ok && e == err && e.Path == path { // which names it again
		err = fmt.Errorf("%s: %w", e.Op, e.Err)
	}
	return fmt.Errorf("%s: unit %d at offset %d: %w", path, f.unit.number, f.off, err)
}

// layOut gives the unit its place and puts what will be written there together.
func (f *Flush) layOut() error {
	j, u := f.j, f.unit
	if f.renews || !j.active.fits(u) ||
		len(j.flights) == 1 && u.number > j.active.seg.first && j.o.sometimes(PointSegmentBegun) {
		if err := j.roll(); err != nil {
			return err
		}
	}
	a, size := j.active, align(int64(u.used))
	h := unitHeader{
		term: j.term, count: uint32(len(u.refs)), segment: a.seg.number, generation: a.seg.generation,
		number: u.number, offset: a.off, mark: f.mark, bytes: uint32(size), used: uint32(u.used),
		cluster: j.o.Cluster, site: j.o.Site, node: j.o.Node,
	}
	h.encode(f.header[:])
	f.hash.Reset()
	f.hash.Write(f.header[:])
	f.parts = append(f.parts[:0], f.header[:])
	for i := range u.refs {
		f.hash.Write(u.refs[i].Bytes[:wire.BatchHeaderBytes])
		f.parts = append(f.parts, u.refs[i].Bytes)
	}
	digest := f.hash.Sum128().Bytes()
	copy(f.header[8:], digest[:])
	f.off, f.end = a.off, a.off+size
	if pad := size - int64(u.used); pad > 0 {
		f.parts = append(f.parts, zeros[:pad])
	}
	if f.end > a.zeroed { // the same write zeroes what the next units will need
		a.zeroed = min(f.end+j.o.zeroAhead(), a.size)
		if a.zeroed > f.end {
			f.zeroes = true
			f.parts = append(f.parts, zeros[:a.zeroed-f.end])
			j.zeroedBytes.Add(uint64(a.zeroed - f.end))
		}
	}
	a.off = f.end
	return nil
}

// roll makes the next segment the active one.
func (j *Journal) roll() error {
	next, err := j.startSegment()
	if vfs.Exhausted(err) && !plant.FileLackFatal {
		return fmt.Errorf("%w: %w", ErrExhausted, err)
	}
	if err != nil {
		return err
	}
	err = j.active.file.Close()
	j.mu.Lock()
	j.segs = append(j.segs, next.seg)
	j.mu.Unlock()
	name := j.active.seg.name
	j.active = next
	if err != nil {
		return fmt.Errorf("%s: %w", j.o.path(name), err)
	}
	return nil
}

// Flushed is what became durable. The batches' bytes may be gone; the slice is
// reused by the next EndFlush. Control batches are left out.
type Flushed struct {
	Unit    UnitNumber // the last one; in a Pipeline 0 while one before those that ended is under way
	Headers []wire.BatchHeader
	Bytes   int64 // of the batches
}

// EndFlush accounts for a finished flush: with err == nil the unit is durable
// and readable, and recent; else the journal is poisoned and every later Stage returns
// ErrPoisoned; what waits is given back. After ErrExhausted the unit waits as before.
func (j *Journal) EndFlush(f *Flush, err error) (Flushed, error) {
	number := f.unit.number
	j.mu.Lock()
	f.over(err)
	j.mu.Unlock()
	done, err := j.conclude()
	if err != nil {
		done.Unit = number
	}
	return done, err
}

// over notes how it ended. The lock is held.
func (f *Flush) over(err error) {
	if plant.ErrorSwallowed {
		err, f.synced = nil, true
	}
	if err == nil && !f.synced {
		err = errors.New("flush ended without a sync")
	}
	f.ended, f.failed = true, err
}

// conclude accounts for the flights that ended, as far as no other one before them
// is under way: what is acknowledged is durable without a gap. One that failed
// poisons the journal at once, whatever its place: a flush that failed may speak
// for bytes of another (I1). Those that are still under way then give their memory
// back when they end.
func (j *Journal) conclude() (Flushed, error) {
	j.unburden()
	j.mu.Lock()
	j.owners, j.over, j.flushed = append(j.owners[:0], j.copiedOwners...), j.over[:0], j.flushed[:0]
	clear(j.copiedOwners)
	j.copiedOwners = j.copiedOwners[:0]
	var done Flushed
	var waits error
	for _, f := range j.flights {
		switch {
		case !f.ended || f.failed == nil:
		case errors.Is(f.failed, ErrExhausted):
			waits = f.failed
			j.putBack(f)
		default:
			j.poison(f.failed)
		}
	}
	kept := j.flights[:0]
	for _, f := range j.flights {
		if !f.ended || j.err == nil && len(kept) > 0 && !plant.GapAcked {
			kept = append(kept, f)
			continue
		}
		if j.err == nil {
			if err := j.account(f, &done); err != nil {
				j.poison(err)
			} else {
				j.owners = j.remember(f.unit, j.owners)
			}
		}
		j.over = append(j.over, f)
	}
	clear(j.flights[len(kept):])
	j.flights = kept
	err := j.err
	if err != nil {
		j.owners = j.dropPending(j.owners)
		done = Flushed{}
	}
	j.mu.Unlock()
	j.land()
	return done, cmp.Or(err, waits)
}

// putBack has the unit of a flight that is alone and wrote nothing wait again. The lock
// is held.
func (j *Journal) putBack(f *Flush) {
	j.pending = slices.Insert(j.pending, 0, f.unit)
	j.staged += f.unit.used - UnitHeaderBytes
	j.renew = j.renew || f.renews
	j.flights = j.flights[:0]
	clear(f.parts) // they belong to others
	f.unit = nil
	j.flushesSpare = append(j.flushesSpare, f)
}

// poison stops the journal; the first error counts. The lock is held.
func (j *Journal) poison(err error) {
	if j.err == nil {
		j.err = fmt.Errorf("%w: %w", ErrPoisoned, err)
	}
}

// land gives back what the flights that are over had lent.
func (j *Journal) land() {
	for _, f := range j.over { // outside the lock: an owner may call the journal
		for _, o := range f.unit.owners {
			if s, ok := o.(Settled); ok {
				s.FlushEnded()
			}
		}
	}
	j.mu.Lock()
	for _, f := range j.over {
		j.owners = j.drop(f.unit, j.owners)
		clear(f.parts) // they belong to others
		f.unit = nil
	}
	j.flushesSpare = append(j.flushesSpare, j.over...)
	j.mu.Unlock()
	release(j.owners)
	clear(j.owners)
}

// account makes the unit part of what is durable. The lock is held.
func (j *Journal) account(f *Flush, done *Flushed) error {
	u := f.unit
	for i := range u.refs {
		ref := &u.refs[i]
		st := j.logs[ref.Header.Log()]
		if ref.Header.OpensEpoch() {
			j.starts.fold(ref, st.durable.Position)
			j.startsStaged -= StartFixedBytes + int(ref.Header.BodyBytes)
		}
		st.durable = st.durable.after(&ref.Header)
		if ref.Header.Kind == wire.BatchControl {
			if err := foldControl(&j.control, ref.Body()); err != nil {
				return err
			}
			continue
		}
		j.flushed = append(j.flushed, ref.Header)
		done.Bytes += int64(len(ref.Bytes))
	}
	done.Unit, done.Headers = u.number, j.flushed
	seg := j.active.seg
	u.seg, u.off, u.end = seg, f.off, f.end
	seg.last, seg.end = u.number, f.end
	j.durable = u.number
	j.unmarked = len(u.refs) > 0
	j.stats.Units++
	j.stats.Flushes++
	return nil
}

// dropPending empties the queue and appends whom to tell to owners. The lock is
// held.
func (j *Journal) dropPending(owners []Releaser) []Releaser {
	for i, u := range j.pending {
		owners = j.drop(u, owners)
		j.pending[i] = nil
	}
	j.next -= UnitNumber(len(j.pending)) // units are numbered without a gap
	j.pending = j.pending[:0]
	j.staged = 0
	return owners
}
