package journal

import (
	"errors"
	"fmt"
	"slices"

	"github.com/zeebo/xxh3"

	"github.com/claudefs/repl/wire"
)

// Releaser gets its buffers back when the journal no longer needs them.
type Releaser interface{ Release() }

func release(owners []Releaser) {
	for _, o := range owners {
		o.Release()
	}
}

// undo is a log's staged tail before a Stage that may yet fail.
type undo struct {
	log  wire.LogID
	tail Tail
	made bool // the state was made by this Stage
}

// Stage puts whole closed batches into the open unit. Each must continue its
// log: same incarnation, first seq = tail + 1, prev = tail's chain, stamps that
// rise; or be the START of a new incarnation. A suspect log takes none
// (ErrCorrupt). All are staged or none. The bytes are borrowed until
// owner.Release, called once: before an error return, or after the flush that
// holds them ended with an error, or, when it ended well, once they are not
// recent any more (Options.RecentBytesMax) and no reader lends them out. owner
// may be nil: then they are never written to again. It may be Measured and
// Settled. Staged batches are neither durable nor readable until EndFlush. It returns the number of the
// unit that holds the last of them, which rises with every unit: once it is
// durable, all of them are. Stage does not look at the bodies.
func (j *Journal) Stage(batches []wire.BatchRef, owner Releaser) (UnitNumber, error) {
	n, err := j.stage(batches, owner, false)
	if err != nil && owner != nil {
		owner.Release()
	}
	return n, err
}

// StageControl puts a control batch with these records into the open unit.
// Records become part of Control when flushed. stamp is raised to follow the
// control log's last one.
func (j *Journal) StageControl(records []ControlRecord, stamp wire.Stamp) (UnitNumber, error) {
	if j.o.Kind != Own {
		return 0, errors.New("control records belong to the own journal")
	}
	if len(records) == 0 {
		return 0, errors.New("no control records to stage")
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	var tail Tail
	if st := j.logs[j.o.controlLog()]; st != nil {
		tail = st.staged
	}
	batches, err := j.o.controlBatches(records, stamp, tail)
	if err != nil {
		return 0, err
	}
	grown := j.control.bytes()
	for i := range batches {
		grown += len(batches[i].Bytes)
	}
	if limit := j.o.SegmentBytes / 4; int64(grown) > limit {
		return 0, fmt.Errorf("control state of %d bytes, a segment of %d has room for %d: %w",
			grown, j.o.SegmentBytes, limit, wire.ErrLimit)
	}
	return j.stageLocked(batches, nil, true)
}

func (j *Journal) stage(batches []wire.BatchRef, owner Releaser, control bool) (UnitNumber, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.stageLocked(batches, owner, control)
}

func (j *Journal) stageLocked(batches []wire.BatchRef, owner Releaser, control bool) (UnitNumber, error) {
	switch {
	case j.closed:
		return 0, ErrClosed
	case j.err != nil:
		return 0, j.err
	case len(batches) == 0:
		return 0, errors.New("no batches to stage")
	}
	j.undo = j.undo[:0]
	total := 0
	for i := range batches {
		if err := j.advance(&batches[i], control); err != nil {
			j.takeBack()
			return 0, err
		}
		total += len(batches[i].Bytes)
	}
	u := j.openUnit()
	if len(u.refs) > 0 && u.used+total > j.o.UnitBytesMax {
		u = j.addUnit() // what was staged together stays together, where it fits
	}
	for i := range batches {
		if len(u.refs) > 0 && u.used+len(batches[i].Bytes) > j.o.UnitBytesMax {
			before := u
			u = j.addUnit()
			if owner != nil { // it goes with the last unit, and before reads its memory
				before.next = u
				u.holds++
			}
		}
		u.refs = append(u.refs, batches[i])
		u.used += len(batches[i].Bytes)
	}
	if owner != nil {
		u.owners = append(u.owners, owner)
	}
	j.staged += total
	return u.number, nil
}

// advance checks a batch and moves its log's staged tail.
func (j *Journal) advance(b *wire.BatchRef, control bool) error {
	h, o := &b.Header, &j.o
	log := h.Log()
	switch {
	case len(b.Bytes) != h.Bytes():
		return fmt.Errorf("log %s seq %d: %d bytes, the header says %d: %w",
			log, h.FirstSeq, len(b.Bytes), h.Bytes(), wire.ErrCorrupt)
	case h.Cluster != o.Cluster || (o.Kind == Own) != (h.Site == o.Site):
		return fmt.Errorf("log %s of cluster %016x: %w", log, uint64(h.Cluster), ErrWrongJournal)
	case control != (h.Kind == wire.BatchControl):
		return fmt.Errorf("log %s: control batches are staged by StageControl: %w", log, ErrOrder)
	case UnitHeaderBytes+len(b.Bytes) > o.UnitBytesMax:
		return fmt.Errorf("log %s seq %d: batch of %d bytes, a unit holds %d: %w",
			log, h.FirstSeq, len(b.Bytes), o.UnitBytesMax-UnitHeaderBytes, wire.ErrLimit)
	}
	st := j.logs[log]
	made := st == nil
	if made {
		if headBytes(len(j.logs)+1, 0) > o.SegmentBytes/4 {
			return fmt.Errorf("log %s: a segment of %d bytes has room for %d logs: %w",
				log, o.SegmentBytes, len(j.logs), wire.ErrLimit)
		}
		st = &logState{hiding: j.hiding}
	}
	if st.suspect {
		return fmt.Errorf("log %s is suspect after damage, nothing proves its tail %s: %w",
			log, st.durable.Position, ErrCorrupt)
	}
	if err := st.staged.continues(h); err != nil {
		return err
	}
	if made {
		j.logs[log] = st
	}
	j.undo = append(j.undo, undo{log, st.staged, made})
	st.staged = st.staged.after(h)
	return nil
}

// takeBack undoes what the failed Stage did to staged tails.
func (j *Journal) takeBack() {
	for _, u := range slices.Backward(j.undo) {
		if u.made {
			delete(j.logs, u.log)
			continue
		}
		j.logs[u.log].staged = u.tail
	}
}

// openUnit returns the unit that takes batches now.
func (j *Journal) openUnit() *openUnit {
	if n := len(j.pending); n > 0 {
		return j.pending[n-1]
	}
	return j.addUnit()
}

func (j *Journal) addUnit() *openUnit {
	var u *openUnit
	if n := len(j.free); n > 0 {
		u, j.free = j.free[n-1], j.free[:n-1]
		j.freeBytes -= u.ownBytes()
	} else {
		u = &openUnit{}
	}
	u.number, u.used, u.holds = j.next, UnitHeaderBytes, 1
	j.next++
	j.pending = append(j.pending, u)
	return u
}

// StagedBytes is how much waits in the open unit; the caller's backpressure.
func (j *Journal) StagedBytes() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.staged
}

// StageIdle stages an empty unit if nothing waits and the last durable unit
// holds batches that lie below no durable-through mark yet. Call it within 1 s
// of the last flush and flush as usual if it returns true; damage to the last
// batches can then be told from a torn tail.
func (j *Journal) StageIdle() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.unmarked || j.closed || j.err != nil || j.flying || len(j.pending) > 0 {
		return false
	}
	j.addUnit()
	return true
}

// Flush is one unit on its way to the medium:
//
//	f := j.BeginFlush()          // closes the open unit
//	err := f.Write()             // may run beside Stage, Reader, …
//	if err == nil { err = f.Sync() }
//	done, err := j.EndFlush(f, err)
type Flush struct {
	j      *Journal
	unit   *openUnit
	mark   UnitNumber
	header [UnitHeaderBytes]byte
	parts  [][]byte
	hash   *xxh3.Hasher128
	end    int64 // behind the unit, once it is written
	synced bool
}

// BeginFlush closes the open unit. It returns nil if nothing is staged or a
// flush is under way, or the journal stopped. The result is valid until its
// EndFlush.
func (j *Journal) BeginFlush() *Flush {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.flying || len(j.pending) == 0 || j.err != nil || j.closed {
		return nil
	}
	u := j.pending[0]
	j.pending = append(j.pending[:0], j.pending[1:]...)
	j.staged -= u.used - UnitHeaderBytes
	j.flying = true
	f := &j.flush
	if f.hash == nil {
		f.hash = xxh3.New128()
	}
	f.j, f.unit, f.mark, f.end, f.synced = j, u, j.durable, 0, false
	return f
}

// Unit is the number of the unit that is on its way.
func (f *Flush) Unit() UnitNumber { return f.unit.number }

// Write writes the unit (opening the next segment first if it does not fit).
func (f *Flush) Write() error {
	j, u := f.j, f.unit
	size := align(int64(u.used))
	if j.active.off+size > j.active.size {
		if err := j.roll(); err != nil {
			return err
		}
	}
	a := j.active
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
	end := a.off + size
	if pad := size - int64(u.used); pad > 0 {
		f.parts = append(f.parts, zeros[:pad])
	}
	if end > a.zeroed { // the same write zeroes what the next units will need
		a.zeroed = min(end+j.o.zeroAhead(), a.size)
		if a.zeroed > end {
			f.parts = append(f.parts, zeros[:a.zeroed-end])
			j.zeroedBytes.Add(uint64(a.zeroed - end))
		}
	}
	err := a.file.WriteAt(f.parts, a.off)
	clear(f.parts) // they belong to others
	if err != nil {
		return fmt.Errorf("%s: unit %d at offset %d: %w", j.o.path(a.seg.name), u.number, a.off, err)
	}
	f.end = end
	return nil
}

// roll makes the next segment the active one.
func (j *Journal) roll() error {
	next, err := j.startSegment()
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

// Sync makes it durable.
func (f *Flush) Sync() error {
	a := f.j.active
	if f.end == 0 {
		return errors.New("unit synced before it was written")
	}
	if err := a.file.Sync(); err != nil {
		return fmt.Errorf("%s: %w", f.j.o.path(a.seg.name), err)
	}
	f.synced = true
	return nil
}

// Flushed is what one flush made durable. The batches' bytes may be gone; the
// slice is reused by the next EndFlush. Control batches are left out.
type Flushed struct {
	Unit    UnitNumber
	Headers []wire.BatchHeader
	Bytes   int64 // of the batches
}

// EndFlush accounts for a finished flush: with err == nil the unit is durable
// and readable, and recent; else the journal is poisoned and every later Stage returns
// ErrPoisoned; what waits is given back.
func (j *Journal) EndFlush(f *Flush, err error) (Flushed, error) {
	j.mu.Lock()
	u := f.unit
	if err == nil && !f.synced {
		err = errors.New("flush ended without a sync")
	}
	done := Flushed{Unit: u.number}
	j.owners = j.owners[:0]
	if err == nil {
		if err = j.account(f, &done); err == nil {
			j.owners = j.remember(u, j.owners)
		}
	}
	j.flying = false
	f.unit = nil
	if err != nil {
		j.err = fmt.Errorf("%w: %w", ErrPoisoned, err)
		err = j.err
		j.owners = j.dropPending(j.owners)
		done = Flushed{Unit: done.Unit}
	}
	j.mu.Unlock()
	for _, o := range u.owners { // outside the lock: an owner may call the journal
		if s, ok := o.(Settled); ok {
			s.FlushEnded()
		}
	}
	j.mu.Lock()
	j.owners = j.drop(u, j.owners)
	j.mu.Unlock()
	release(j.owners)
	clear(j.owners)
	return done, err
}

// account makes the unit part of what is durable. The lock is held.
func (j *Journal) account(f *Flush, done *Flushed) error {
	j.flushed = j.flushed[:0]
	for i := range f.unit.refs {
		ref := &f.unit.refs[i]
		st := j.logs[ref.Header.Log()]
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
	done.Headers = j.flushed
	a := j.active
	f.unit.seg, f.unit.off, f.unit.end = a.seg, a.off, f.end
	a.off = f.end
	a.seg.last, a.seg.end = f.unit.number, f.end
	j.durable = f.unit.number
	j.unmarked = len(f.unit.refs) > 0
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
	j.pending = j.pending[:0]
	j.staged = 0
	return owners
}
