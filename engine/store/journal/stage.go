package journal

import (
	"errors"
	"fmt"
	"slices"

	"github.com/claudefs/repl/engine/internal/plant"
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
// (ErrDamaged). All are staged or none. The bytes are borrowed until
// owner.Release, called once: before an error return, or after the flush that
// holds them ended with an error, or, when it ended well, once they are not
// recent any more (Options.RecentBytesMax) and no reader lends them out. owner
// may be nil: then they are never written to again. It may be Measured and
// Settled. Staged batches are neither durable nor readable until EndFlush. It returns the number of the
// unit that holds the last of them, which rises with every unit: once it is
// durable, all of them are. Of bodies Stage looks at a START's only: what it says of its own log
// is here, or nothing of that log is.
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
	grows := j.control.growth(records)
	if err := j.roomForControl(grows, batches); err != nil {
		return 0, err
	}
	unit, err := j.stageLocked(batches, nil, true)
	if err == nil {
		j.pending[len(j.pending)-1].grows += grows
	}
	return unit, err
}

// roomForControl says whether the control state fits in a head behind what is staged
// and these batches, by which it grows so much at most: what records replace adds
// nothing. The lock is held.
func (j *Journal) roomForControl(grows int, batches []wire.BatchRef) error {
	limit := j.o.headShareMax() - int64(j.starts.bytes+j.startsStaged)
	size := j.control.bytes() + grows + j.controlStaged()
	if int64(size) <= limit {
		return nil
	}
	units := slices.Clone(j.pending)
	for _, f := range j.flights {
		units = append(units, f.unit)
	}
	after := j.control.clone() // some may be new in two of them
	for _, u := range units {
		batches = append(batches, u.refs...)
	}
	for i := range batches {
		if batches[i].Header.Kind != wire.BatchControl {
			continue
		}
		if err := foldControl(&after, batches[i].Body()); err != nil {
			return err
		}
	}
	if size = after.bytes(); int64(size) > limit {
		return fmt.Errorf("control state of %d bytes, the head of a segment of %d has room for %d: %w",
			size, j.o.SegmentBytes, limit, wire.ErrLimit)
	}
	return nil
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
	total, err := j.advanceAll(batches, control)
	if err != nil {
		j.takeBack()
		return 0, err
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

// advanceAll moves the staged tails of all batches' logs; what an error leaves, takeBack
// undoes.
func (j *Journal) advanceAll(batches []wire.BatchRef, control bool) (total int, err error) {
	j.undo = j.undo[:0]
	staged := j.startsStaged
	defer func() {
		if err != nil {
			j.startsStaged = staged
		}
	}()
	for i := range batches {
		if err := j.advance(&batches[i], control); err != nil {
			return 0, err
		}
		total += len(batches[i].Bytes)
	}
	if j.o.Kind == Mirror && j.o.sometimes(PointStageFailed) {
		return 0, errors.New("stage of a mirror failed on purpose")
	}
	return total, nil
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
		if headBytes(len(j.logs)+1, 0) > o.headShareMax() {
			return fmt.Errorf("log %s: the head of a segment of %d bytes has room for %d logs: %w",
				log, o.SegmentBytes, len(j.logs), wire.ErrLimit)
		}
		st = &logState{hiding: j.hiding}
	}
	if st.suspect {
		return fmt.Errorf("log %s is suspect after damage, nothing proves its tail %s: %w",
			log, st.durable.Position, ErrDamaged)
	}
	if err := st.staged.continues(h); err != nil {
		return err
	}
	if h.OpensEpoch() {
		if err := j.follows(b, st.staged.Position); err != nil {
			return err
		}
		if err := j.roomForStart(h); err != nil {
			return err
		}
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
	if plant.StageTailKept {
		return
	}
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

// pop takes the last one off a free list; nil = there is none.
func pop[T any](list *[]*T) *T {
	n := len(*list)
	if n == 0 {
		return nil
	}
	last := (*list)[n-1]
	*list = (*list)[:n-1]
	return last
}

func (j *Journal) addUnit() *openUnit {
	u := pop(&j.free)
	if u == nil {
		u = &openUnit{}
	} else {
		j.freeBytes -= u.ownBytes()
	}
	u.number, u.used, u.holds, u.grows = j.next, UnitHeaderBytes, 1, 0
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
// holds batches that lie below no durable-through mark yet, or damage was found
// since. Call it within 1 s of the last flush, and of ErrDamaged from a reader, and
// flush as usual if it returns true; damage to the last batches can then be told
// from a torn tail, and what damage took from what was never there.
func (j *Journal) StageIdle() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.unmarked && !j.renew || j.closed || j.err != nil || len(j.flights) > 0 || len(j.pending) > 0 {
		return false
	}
	j.addUnit()
	return true
}
