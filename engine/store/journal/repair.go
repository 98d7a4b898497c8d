package journal

import (
	"errors"
	"fmt"
	"slices"

	"github.com/zeebo/xxh3"

	"github.com/claudefs/repl/engine/internal/plant"
	"github.com/claudefs/repl/wire"
)

// repairFile is a repair segment: the batches of one log between two positions,
// fetched from another holder. It has the format of a segment; its head's table
// holds two rows, where the hole begins and where it ends.
type repairFile struct {
	name       string
	number     uint64
	generation uint64
	term       wire.Term // of the opening that wrote it
	log        wire.LogID
	from, to   Tail
	headBytes  int64
	end        int64
}

// Repair writes batches that another holder proved by chain into repair segments
// and flushes them; readers prefer those from then on, at the place of the damage.
// batches follow each other; each hole of the log is filled whose From one of them
// continues and whose To another one reaches (see Holes), and what lies beside is
// left out. Where To is unknown the last batch becomes the log's tail, and the log
// leaves Suspect. ErrOrder: there is no such hole. The bytes are the caller's again
// on return. One call at a time.
func (j *Journal) Repair(log wire.LogID, batches []wire.BatchRef) error {
	j.mend.Lock()
	defer j.mend.Unlock()
	for filled := false; ; filled = true {
		h, part, rf, err := j.beginRepair(log, batches)
		if err != nil {
			if filled && errors.Is(err, ErrOrder) {
				return nil
			}
			return err
		}
		for i := range part {
			rf.to = rf.to.after(&part[i].Header)
		}
		if err := rf.write(&j.o, j.term, part); err != nil {
			_ = j.o.FS.Remove(j.o.path(rf.name)) // else the next Open does
			return err
		}
		j.mu.Lock()
		h.accept(rf, j.logs[log], j.segs)
		for at, i := h.From, 0; i < len(part); i++ {
			j.starts.fold(&part[i], at)
			at = part[i].Header.End()
		}
		h.damage.show()
		j.mu.Unlock()
	}
}

// beginRepair finds a hole that some of batches fill, and names its repair.
func (j *Journal) beginRepair(log wire.LogID, batches []wire.BatchRef) (
	h *hole, part []wire.BatchRef, rf *repairFile, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err = j.err; j.closed {
		err = ErrClosed
	}
	if err == nil {
		h, part, err = j.findHole(log, batches)
	}
	if err != nil {
		return nil, nil, nil, err
	}
	j.lastRepair++
	rf = &repairFile{
		name: fileName(repairPrefix, j.lastRepair), number: j.lastRepair, generation: uint64(j.term), term: j.term,
		log: log, from: Tail{Position: h.From},
	}
	if h.Open() {
		rf.from = j.logs[log].durable
	}
	rf.to = rf.from
	return h, part, rf, nil
}

// accept makes a repair count. Readers meet it at the damage, so the tables of
// segments behind that, which end in the hole, move with the log's tail.
func (h *hole) accept(rf *repairFile, st *logState, segs []*segment) {
	h.repair = rf
	if !h.Open() {
		return
	}
	h.To = rf.to.Position
	st.durable, st.staged, st.suspect = rf.to, rf.to, false
	for _, s := range segs[slices.Index(segs, h.damage.seg)+1:] {
		if row, ok := rowOf(s.tails, h.Log); ok && h.TakesNext(row.tail.Position) {
			row.tail, row.suspect = rf.to, false
		}
	}
}

// findHole finds a hole that some of batches fill, and those. The lock is held.
func (j *Journal) findHole(log wire.LogID, batches []wire.BatchRef) (*hole, []wire.BatchRef, error) {
	if len(batches) == 0 {
		return nil, nil, fmt.Errorf("log %s: no batches to repair with: %w", log, ErrOrder)
	}
	err := fmt.Errorf("log %s: no hole at seq %d: %w", log, batches[0].Header.FirstSeq, ErrOrder)
	for _, h := range j.holes {
		if h.Log != log || h.repair != nil || h.Open() && !j.logs[log].suspect {
			continue
		}
		tail := Tail{Position: h.From}
		i := slices.IndexFunc(batches, func(b wire.BatchRef) bool { return tail.continues(&b.Header) == nil })
		if i < 0 {
			continue
		}
		var n int
		if n, err = h.takes(batches[i:]); err == nil {
			return h, batches[i : i+n], nil
		}
		if !errors.Is(err, ErrOrder) {
			break
		}
	}
	return nil, nil, err
}

// takes says how many of batches fill the hole, the first of which continues it.
func (h *hole) takes(batches []wire.BatchRef) (int, error) {
	tail := Tail{Position: h.From}
	for i := range batches {
		b := &batches[i]
		if b.Header.Log() != h.Log {
			return 0, fmt.Errorf("log %s: batch of log %s: %w", h.Log, b.Header.Log(), ErrOrder)
		}
		if err := tail.continues(&b.Header); err != nil {
			return 0, err
		}
		if err := wire.VerifyBody(&b.Header, b.Body()); err != nil {
			return 0, err
		}
		if tail = tail.after(&b.Header); tail.Position == h.To {
			return i + 1, nil
		}
	}
	if h.Open() {
		return len(batches), nil
	}
	return 0, fmt.Errorf("log %s: repair from %s ends at %s before %s: %w",
		h.Log, h.From, tail.Position, h.To, ErrOrder)
}

// write makes the repair segment durable.
func (rf *repairFile) write(o *Options, term wire.Term, batches []wire.BatchRef) (err error) {
	h := o.newHead(roleRepair, term)
	h.segment, h.generation, h.first = rf.number, rf.generation, 1
	h.logs = []headLog{{log: rf.log, tail: rf.from}, {log: rf.log, tail: rf.to}}
	rf.headBytes = headBytes(len(h.logs), 0)
	var parts [][]byte
	rf.end = rf.headBytes
	hash := xxh3.New128()
	for i := range batches { // one batch per unit keeps every unit small
		b := &batches[i]
		used := UnitHeaderBytes + len(b.Bytes)
		u := unitHeader{
			term: term, count: 1, segment: rf.number, generation: rf.generation, number: UnitNumber(i + 1),
			offset: rf.end, bytes: uint32(align(int64(used))), used: uint32(used),
			cluster: o.Cluster, site: o.Site, node: o.Node,
		}
		header := make([]byte, UnitHeaderBytes)
		u.encode(header)
		hash.Reset()
		hash.Write(header)
		hash.Write(b.Bytes[:wire.BatchHeaderBytes])
		digest := hash.Sum128().Bytes()
		copy(header[8:], digest[:])
		parts = append(parts, header, b.Bytes, zeros[:int(u.bytes)-used])
		rf.end += int64(u.bytes)
	}
	h.segmentBytes = rf.end
	full := o.path(rf.name)
	f, err := o.FS.Create(full)
	if err != nil {
		return fmt.Errorf("%s: %w", full, err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := f.WriteAt(append([][]byte{h.encode()}, parts...), 0); err != nil {
		return fmt.Errorf("%s: %w", full, err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("%s: %w", full, err)
	}
	if plant.RepairNameLost {
		return nil
	}
	if err := o.FS.SyncDir(o.Dir); err != nil {
		return fmt.Errorf("%s: %w", o.Dir, err)
	}
	return nil
}

// loadRepairs attaches repair segments to the holes that they fill. One that is
// not whole, or whose hole is gone, is left over.
func (r *recovery) loadRepairs() error {
	for _, rf := range r.repairs {
		whole, err := r.loadRepair(rf)
		if err != nil {
			return err
		}
		if !whole || !r.attach(rf) {
			r.junk = append(r.junk, rf.name)
		}
	}
	return nil
}

func (r *recovery) attach(rf *repairFile) bool {
	for _, h := range r.holes {
		if h.Log == rf.log && h.repair == nil && h.From == rf.from.Position && (h.Open() || h.To == rf.to.Position) {
			h.accept(rf, r.logs[rf.log], r.segs)
			return true
		}
	}
	for _, h := range r.holes { // it went on rotting around what was repaired
		if h.covers(rf) {
			r.holes = append(r.holes, h.fill(rf)...)
			return true
		}
	}
	return false
}

// loadRepair reads a repair segment from end to end. A process may have ended
// before it flushed it, so that is done first: what it fills is lacking no more, and
// who else had it may give it back (I1).
func (r *recovery) loadRepair(rf *repairFile) (whole bool, err error) {
	full := r.o.path(rf.name)
	if err := r.look(rf.name); err != nil {
		return false, err
	}
	if err := r.refresh(); err != nil {
		return false, err
	}
	h, err := readHead(&r.w)
	switch {
	case errors.Is(err, wire.ErrCorrupt), errors.Is(err, wire.ErrProtocol):
		return false, nil // it was never finished, or is damaged: the hole is fetched again
	case err != nil:
		return false, fmt.Errorf("%s: %w", full, err)
	case h.role != roleRepair || len(h.logs) != 2 || h.segment != rf.number:
		return false, nil
	case h.cluster != r.o.Cluster || h.site != r.o.Site || h.node != r.o.Node || h.kind != r.o.Kind:
		return false, fmt.Errorf("%s: %w", full, ErrWrongJournal)
	}
	rf.generation, rf.term, rf.headBytes, rf.end = h.generation, h.term, h.bytes, h.segmentBytes
	rf.log, rf.from, rf.to = h.logs[0].log, h.logs[0].tail, h.logs[1].tail
	tail, p := Tail{Position: rf.from.Position}, r.o.place(rf.number, rf.generation, rf.term)
	for off := rf.headBytes; off < rf.end; off += int64(r.found.unit.bytes) {
		if err := r.v.check(&r.w, off, p, &r.found); err != nil {
			return false, err
		}
		if !r.found.holds || r.found.fault != nil {
			return false, nil
		}
		for i := range r.v.refs {
			h := &r.v.refs[i].Header
			if h.Log() != rf.log || tail.continues(h) != nil {
				return false, nil
			}
			tail = tail.after(h)
		}
	}
	return tail.Position == rf.to.Position, nil
}

// dropRepairs removes the repair segments of a segment that goes, and returns
// their names. A log whose end is not known stays suspect: from now on its hole
// belongs to where the oldest segment begins. The lock is held.
func (j *Journal) dropRepairs(s *segment) []string {
	var names []string
	j.holes = slices.DeleteFunc(j.holes, func(h *hole) bool {
		if h.damage.seg != s {
			return false
		}
		if oldest := j.segs[0]; h.Open() {
			h.damage = j.o.remembered(oldest, oldest.headBytes, s.last)
			h.damage.holes = []*hole{h}
			return false
		}
		if h.repair != nil {
			names = append(names, h.repair.name)
		}
		return true
	})
	return names
}
