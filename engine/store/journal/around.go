package journal

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/claudefs/repl/engine/internal/plant"
	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/claudefs/repl/wire"
)

// doubtsMax is how often in a row bytes may be bad for a reader and whole for who
// looks after it, before that is an error of the disk.
const doubtsMax = 3

// piece is a repair that a reader is to read in its place.
type piece struct {
	hole   *hole
	repair *repairFile
}

// meet has the journal find out what took the bytes that the reader stands before.
// The error tells it; nil: read again.
func (r *Reader) meet(fault error) error {
	changed, err := r.j.examine(r.seg, r.version)
	if err != nil {
		return err
	}
	if changed {
		r.doubts = 0
		return r.tell()
	}
	if r.doubts++; r.doubts < doubtsMax {
		return nil
	}
	r.doubts = 0
	return fmt.Errorf("%s: offset %d: %d readings did not hold, and others did: check the disk and its cable: %w",
		r.j.o.path(r.seg.name), r.off, doubtsMax, fault)
}

// tell is the error for the damage that the reader stands before. Nil: it is
// elsewhere, and somebody else's to meet.
func (r *Reader) tell() error {
	j := r.j
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, d := range r.seg.damages {
		if d.takes(r.off) || r.off == r.seg.headBytes && d.end == 0 {
			r.told = d
			return d.err()
		}
	}
	return nil
}

// Lost lists the batches that the damage of the last ErrDamaged took, whether it was
// repaired meanwhile or not.
func (r *Reader) Lost() []Hole {
	r.j.mu.Lock()
	defer r.j.mu.Unlock()
	var lost []Hole
	if r.told != nil {
		for _, h := range r.told.holes {
			lost = append(lost, h.Hole)
		}
	}
	return lost
}

func (d *damage) err() error {
	return fmt.Errorf("%s: offset %d: unit %d: %s: %w", d.File, d.Offset, d.Unit, d.Reason, ErrDamaged)
}

// checkHead reads the segment's head, which nothing but recovery needs.
func (r *Reader) checkHead() error {
	r.j.mu.Lock()
	known := slices.ContainsFunc(r.seg.damages, func(d *damage) bool { return d.end == 0 })
	r.j.mu.Unlock()
	if known || r.seg.headBytes == 0 {
		return nil
	}
	b, err := r.fill(r.file, r.seg.name, 0, int(r.seg.headBytes))
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		return err
	case err == nil:
		if _, err = decodeHead(b); err == nil {
			return nil
		}
	}
	return r.meet(err)
}

// readDamage passes a damage that is known: an error for what no repair covers,
// then what is intact in it, then the repairs of its holes.
func (r *Reader) readDamage(d *damage) error {
	r.j.mu.Lock()
	var repaired []piece
	open := d.hides && len(d.holes) == 0
	for _, h := range d.holes {
		if h.repair != nil && !plant.RepairUnread {
			repaired = append(repaired, piece{h, h.repair})
		} else if slices.Contains(r.j.holes, h) { // else it was cleared
			open = true
		}
	}
	r.j.mu.Unlock()
	passed := d.last != 0 && d.last < r.from
	if open && !passed && r.told != d {
		r.told = d // before what is intact in it, so that nobody meets a gap unwarned
		return d.err()
	}
	intact := d.readable && d.end > d.Offset
	if intact && !passed {
		again, err := false, error(nil)
		if repaired, again, err = r.readAround(d, repaired); err != nil || again {
			return err
		}
	}
	r.damages++
	r.off = max(r.off, d.end)
	if passed {
		return nil
	}
	if d.end > d.Offset {
		r.unit = max(r.unit, d.last)
	}
	r.queue = append(r.queue, repaired...)
	return nil
}

// readAround takes the intact batches of a unit whose headers hold. A repaired
// stretch goes where its first batch was; what is left of repaired is returned.
// again: more is known of the damage now.
func (r *Reader) readAround(d *damage, repaired []piece) (left []piece, again bool, err error) {
	if err := r.open(); err != nil {
		return nil, false, err
	}
	n := int(d.end - d.Offset)
	total := n
	for _, p := range repaired {
		total += int(p.repair.end - p.repair.headBytes)
	}
	if cap(r.buf) < total {
		r.buf = make([]byte, total)
	}
	b, err := r.fill(r.file, r.seg.name, d.Offset, n)
	if err != nil {
		return nil, false, err
	}
	if err := r.v.unit(b, d.Offset, r.place(), &r.u); err != nil {
		return nil, false, err
	}
	if r.wentOnRotting(d) {
		return nil, true, r.meet(r.u.fault)
	}
	refs, bad := slices.Clone(r.v.refs), slices.Clone(r.v.bad)
	room := r.buf[n:total]
	for i := range refs {
		h := &refs[i].Header
		switch {
		case h.Kind == wire.BatchControl:
		case !bad[i]:
			r.refs = append(r.refs, refs[i])
		default:
			k := slices.IndexFunc(repaired, func(p piece) bool { return p.hole.contains(h) })
			if k < 0 {
				continue // it lies in a stretch already taken, or nothing repairs it
			}
			if room, err = r.takeRepair(repaired[k], room); err != nil {
				r.refs = r.refs[:0]
				return nil, true, err
			}
			repaired = slices.Delete(repaired, k, k+1)
		}
	}
	return repaired, false, nil
}

func (r *Reader) wentOnRotting(d *damage) bool {
	r.j.mu.Lock()
	defer r.j.mu.Unlock()
	return d.worse(&r.u, r.v)
}

// takeRepair reads a whole repair into room and returns what is left of it.
func (r *Reader) takeRepair(p piece, room []byte) (left []byte, err error) {
	rf := p.repair
	n := int(rf.end - rf.headBytes)
	f, err := r.openRepair(rf)
	if err == nil {
		r.j.fileReadBytes.Add(uint64(n))
		_, err = f.ReadAt(room[:n], rf.headBytes)
		_ = f.Close() // only read from
	}
	for at := 0; at < n && err == nil; at += int(r.u.unit.bytes) {
		err = r.repairUnit(rf, room[at:n], rf.headBytes+int64(at))
	}
	if err != nil {
		return nil, r.spoilt(p, err)
	}
	return room[n:], nil
}

// openRepair opens a repair whose head holds: without it the next Open would not
// know what it is.
func (r *Reader) openRepair(rf *repairFile) (vfs.File, error) {
	f, err := r.j.o.FS.Open(r.j.o.path(rf.name))
	if err != nil {
		return nil, err
	}
	b := make([]byte, rf.headBytes)
	if _, err = f.ReadAt(b, 0); err == nil {
		if _, err = decodeHead(b); err == nil {
			return f, nil
		}
		err = fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	_ = f.Close() // only read from
	return nil, err
}

// spoilt gives a repair up whose bytes do not hold, or that somebody else gave up.
func (r *Reader) spoilt(p piece, err error) error {
	name := r.j.o.path(p.repair.name)
	if errors.Is(err, ErrDamaged) || errors.Is(err, io.EOF) {
		r.j.distrust(p.hole, p.repair, err)
	}
	r.j.mu.Lock()
	gone := p.hole.repair != p.repair
	r.j.mu.Unlock()
	if gone && !errors.Is(err, ErrDamaged) {
		return fmt.Errorf("%s: given up: %w: %w", name, ErrDamaged, err)
	}
	return fmt.Errorf("%s: %w", name, err)
}

// repairUnit takes the unit of a repair at the start of b.
func (r *Reader) repairUnit(rf *repairFile, b []byte, off int64) error {
	err := r.v.unit(b, off, r.j.o.place(rf.number, rf.generation, rf.term), &r.u)
	if err == nil {
		err = r.u.fault
	}
	if err != nil {
		return fmt.Errorf("offset %d: %w: %w", off, ErrDamaged, err)
	}
	r.refs = append(r.refs, r.v.refs...)
	return nil
}

// readRepair takes units of the first queued repair, up to bytesMax at once. A
// repair that went bad is passed over with the error.
func (r *Reader) readRepair(bytesMax int) error {
	p := r.queue[0]
	err := r.readPiece(p.repair, bytesMax)
	if err != nil {
		err = r.spoilt(p, err)
	}
	if err != nil && !errors.Is(err, ErrDamaged) || err == nil && r.at < p.repair.end {
		return err
	}
	if r.repair != nil {
		_ = r.repair.Close() // only read from
	}
	r.repair, r.queue = nil, r.queue[1:]
	return err
}

func (r *Reader) readPiece(rf *repairFile, bytesMax int) error {
	if r.repair == nil {
		f, err := r.openRepair(rf)
		if err != nil {
			return err
		}
		r.repair, r.at = f, rf.headBytes
	}
	n := int(min(max(int64(bytesMax), align(UnitHeaderBytes+wire.BatchBytesMax)), rf.end-r.at))
	b, err := r.fill(r.repair, rf.name, r.at, n)
	if err != nil {
		return err
	}
	for len(b) > 0 {
		r.u.unit.decode(b)
		if len(r.refs) > 0 && int(r.u.unit.bytes) > len(b) {
			return nil
		}
		if err := r.repairUnit(rf, b, r.at); err != nil {
			return err
		}
		b, r.at = b[r.u.unit.bytes:], r.at+int64(r.u.unit.bytes)
	}
	return nil
}
