package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/claudefs/repl/engine/internal/plant"
	"github.com/claudefs/repl/wire"
)

// replaySegment walks the units of one segment in order.
func (r *recovery) replaySegment(f *segmentFile, limit, mark UnitNumber) error {
	s, w := f.seg, &r.w
	if err := r.look(s.name); err != nil {
		return err
	}
	if s.generation == 0 { // neither head nor unit: whoever comes next says what is missing
		s.first, s.last, s.end = r.unit+1, r.unit, s.headBytes
		return nil
	}
	if s.end > 0 { // of a running journal: behind it, units are being written
		w.size = min(w.size, s.end)
	}
	p := r.o.place(s.number, s.generation, s.term)
	off, last, looked := s.headBytes, s.first-1, limit != math.MaxUint64
	if looked {
		mark = limit // no unit's mark says more
	}
	for last < limit && off+BlockBytes <= w.size {
		if err := r.v.check(w, off, p, &r.found); err != nil {
			return err
		}
		v := &r.found
		follows := v.holds && (v.unit.number == last+1 || plant.PlaceUnchecked)
		if follows && (v.fault == nil || last < mark) {
			if err := r.replayUnit(s, v); err != nil {
				return err
			}
			last, off = last+1, off+int64(v.unit.bytes)
			continue
		}
		fault, after := v.fault, off
		if follows {
			after = off + int64(v.unit.bytes)
		}
		if !looked {
			looked = true
			seen, err := r.lastMark(after, p, limit)
			if err != nil {
				return err
			}
			mark = max(mark, seen)
			continue // the unit may be damage now, and no tail
		}
		if last >= mark || plant.TornMiddle {
			break
		}
		next, err := r.v.next(w, after, p, last, limit, &r.found)
		if err != nil {
			return err
		}
		if next < 0 {
			break
		}
		r.lose(s, off, next, last+1, r.found.unit.number-1, fault)
		last, off = r.found.unit.number-1, next
	}
	return r.endSegment(f, p, off, last, limit, mark)
}

// endSegment decides about what lies behind the last unit that counts.
func (r *recovery) endSegment(f *segmentFile, p place, off int64, last, limit, mark UnitNumber) error {
	s := f.seg
	known := min(limit, mark)
	switch {
	case last < known && !plant.TornMiddle:
		end := max(r.w.size, s.end) // the file may have been cut since
		r.lose(s, off, end, last+1, known, errors.New("end of the segment"))
		last, off = known, end
	case limit == math.MaxUint64 && !f.cut:
		torn, err := r.tornBytes(off, p, last)
		if err != nil {
			return err
		}
		r.report.TornBytes += torn
	}
	if f.cut { // behind everything that the file still holds: no tail of it is proven
		reason := fmt.Sprintf("file of %d bytes, its head says %d", f.size, f.head.segmentBytes)
		r.hide(&damage{seg: s, Damage: Damage{File: r.o.path(s.name), Offset: f.size, Reason: reason}})
	}
	s.last, s.end = last, off
	r.unit = max(r.unit, last)
	return nil
}

// lastMark is the highest durable-through mark of any unit of the segment from off
// on. A unit that lies where it was not written for does not count, but what its
// mark says was true when it was written, so it speaks too.
func (r *recovery) lastMark(off int64, p place, limit UnitNumber) (mark UnitNumber, err error) {
	p.anyOffset = true
	for {
		off, err = r.v.next(&r.w, off, p, 0, limit, &r.found)
		if err != nil || off < 0 {
			return mark, err
		}
		mark = max(mark, r.found.unit.mark)
		if r.found.unit.offset != off {
			off += BlockBytes // how far it reaches here is not known
			continue
		}
		off += int64(r.found.unit.bytes)
	}
}

// replayUnit accounts for the unit that the verifier holds. An error is a newer
// release's control records.
func (r *recovery) replayUnit(s *segment, v *verdict) error {
	u := &v.unit
	r.report.Units++
	r.report.Term = max(r.report.Term, u.term)
	damaged := func(why error) *damage {
		d := &damage{seg: s, end: u.offset + int64(u.bytes), last: u.number, readable: true,
			Damage: Damage{File: r.o.path(s.name), Offset: u.offset, Unit: u.number, Reason: why.Error()}}
		r.add(d)
		return d
	}
	var d *damage
	if v.fault != nil {
		d = damaged(v.fault)
	}
	for i := range r.v.refs {
		ref := &r.v.refs[i]
		h := &ref.Header
		log := h.Log()
		st := r.logs[log]
		if st == nil {
			st = &logState{hiding: r.entered}
			r.logs[log] = st
		}
		before := st.durable.Position
		err := st.durable.continues(h)
		switch {
		case err == nil:
		case r.trusts(st):
			r.controlLost = r.controlLost || h.Kind == wire.BatchControl // the records before it, too
			before = wire.Position{Incarnation: h.Incarnation, Seq: h.FirstSeq - 1, Chain: h.Prev}
			r.stood(log, Tail{Position: before})
		default:
			gap := r.gap(s, st, Damage{File: r.o.path(s.name), Offset: u.offset, Unit: u.number, Reason: err.Error()})
			before = wire.Position{Incarnation: h.Incarnation, Seq: h.FirstSeq - 1, Chain: h.Prev}
			gap.addHole(log, st.durable.Position, before)
			r.controlLost = r.controlLost || h.Kind == wire.BatchControl
		}
		if !r.v.bad[i] {
			r.starts.fold(ref, before)
		}
		st.durable, st.suspect, st.hiding = st.durable.after(h), false, len(r.hiding)
		switch {
		case r.v.bad[i]:
			d.addHole(log, before, h.End())
			r.controlLost = r.controlLost || h.Kind == wire.BatchControl
		case h.Kind == wire.BatchControl && r.o.Kind == Own:
			err := foldControl(&r.control, ref.Body())
			if errors.Is(err, wire.ErrVersion) {
				return fmt.Errorf("%s: offset %d: unit %d: %w", r.o.path(s.name), u.offset, u.number, err)
			}
			if err != nil {
				damaged(err)
				r.controlLost = true
			}
		}
	}
	return nil
}

// lose records units [lo, hi] whose bytes from off to end do not hold.
func (r *recovery) lose(s *segment, off, end int64, lo, hi UnitNumber, why error) {
	if why == nil {
		why = fmt.Errorf("a later unit follows: %w", wire.ErrCorrupt)
	}
	r.hide(&damage{seg: s, end: end, last: hi, Damage: Damage{
		File: r.o.path(s.name), Offset: off, Unit: lo, Reason: fmt.Sprintf("units %d to %d: %v", lo, hi, why)}})
}

// gap returns the damage that explains why a log does not continue, or makes
// one.
func (r *recovery) gap(s *segment, st *logState, found Damage) *damage {
	if st.hiding < len(r.hiding) {
		return r.hiding[st.hiding]
	}
	d := &damage{seg: s, Damage: found, end: found.Offset, last: found.Unit, readable: true}
	r.add(d)
	return d
}

func (r *recovery) add(d *damage) {
	r.damages = append(r.damages, d)
	d.seg.damages = append(d.seg.damages, d)
}

func (r *recovery) hide(d *damage) {
	d.hides = true
	r.add(d)
	r.hiding = append(r.hiding, d)
}

// begun says whether the bytes at off were to be this unit: most of what names it
// is there. An older generation's unit at the same place agrees in the magic and
// the offset only; zeros agree in nothing.
func begun(b []byte, off int64, p place, number UnitNumber) bool {
	var u unitHeader
	u.decode(b)
	alike := 0
	for _, same := range []bool{
		binary.LittleEndian.Uint32(b) == unitMagic, u.segment == p.segment, u.generation == p.generation,
		u.offset == off, u.number == number,
	} {
		if same {
			alike++
		}
	}
	return alike >= 3
}

// tornBytes tells a torn tail, the size of which it returns, from a clean end.
// Units behind it, below no mark, are cut too.
func (r *recovery) tornBytes(off int64, p place, last UnitNumber) (int64, error) {
	b, err := r.w.at(off, UnitHeaderBytes)
	if err != nil || len(b) < UnitHeaderBytes {
		return 0, err
	}
	var torn int64
	if begun(b, off, p, last+1) {
		torn = BlockBytes
		var u unitHeader
		u.decode(b)
		if u.sizesHold() {
			torn = int64(u.bytes)
		}
	}
	for at := off; ; {
		at, err = r.v.next(&r.w, at, p, last, math.MaxUint64, &r.found)
		if err != nil || at < 0 {
			return torn, err
		}
		at += int64(r.found.unit.bytes)
		torn = at - off
	}
}
