package journal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/claudefs/repl/wire"
)

// Reader walks a journal in physical order: from memory where its next unit is
// recent, else from the files. One goroutine at a time. It pins the segment that
// it stands in, and holds one open file and one buffer that grows to the largest
// of bytesMax and a unit, or as much of recent memory.
type Reader struct {
	j        *Journal
	from     UnitNumber // units below it are passed over
	unit     UnitNumber // last returned
	seg      *segment   // pinned; nil once closed
	file     vfs.File   // of seg; nil = not open yet
	off      int64
	damages  int // how many of seg's damages, as of version, lie behind
	version  int
	v        *verifier
	u        verdict
	buf      []byte
	refs     []wire.BatchRef
	told     *damage // the last one that Next reported
	doubts   int     // how often in a row a reading was bad and examine's was not
	queue    []piece
	repair   vfs.File // of queue[0]; nil = not open yet
	at       int64    // in repair
	lent     []*openUnit
	buffered bool       // the last Next read from files
	owners   []Releaser // whom to tell that they are lent no more
	closed   bool
	files    bool       // pass over memory
	passed   UnitNumber // under the journal's lock: what was returned and given back
}

// FromFiles has the reader read the stored bytes also of what is still in memory,
// so that what lies on the medium is checked.
func (r *Reader) FromFiles() { r.files = true }

// NewReader reads durable batches in physical order, from the first unit
// numbered from or higher. Close it.
func (j *Journal) NewReader(from UnitNumber) *Reader {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.newReader(from)
}

// newReader is NewReader. The lock is held.
func (j *Journal) newReader(from UnitNumber) *Reader {
	i := len(j.segs) - 1
	for i > 0 && (j.segs[i].first > from || j.segs[i-1].first == from) {
		i-- // a segment without units begins with the same number as the next one
	}
	r := &Reader{j: j, from: from, seg: j.segs[i], off: j.segs[i].headBytes, v: newVerifier()}
	r.version = r.seg.version
	r.unit = max(from, r.seg.first) - 1
	r.passed = r.unit
	j.readers = append(j.readers, r)
	r.seg.pins++
	if units := j.recent.all(); len(units) > 0 && len(r.seg.damages) == 0 && from >= units[0].number {
		if k := from - units[0].number; k < UnitNumber(len(units)) && units[k].seg == r.seg {
			r.off = units[k].off // what lies before it would be passed over
		}
	}
	return r
}

// Next returns the batches of one or more whole following units, at least one
// unit and further ones while their bytes fit bytesMax; control batches left
// out. What is read from a file is verified; what is recent is what was staged.
// No batches and no error: the reader stands at the durable end. The result is
// borrowed until the next call. Units replaced by a repair are read from the
// repair; where damages overlap, one may come again: who follows a log drops what
// ends at or below its position. ErrDamaged names file, offset and unit, and what it took is among Holes
// when it is returned; the next call goes on with what is intact of it, or behind
// it. Any other error changes nothing: the next call tries again.
func (r *Reader) Next(bytesMax int) ([]wire.BatchRef, error) {
	r.giveBack()
	r.refs, r.buffered = r.refs[:0], false
	if r.j.o.sometimes(PointUnitRead) {
		bytesMax = 1
	}
	for len(r.refs) == 0 {
		if len(r.queue) > 0 {
			if err := r.readRepair(bytesMax); err != nil {
				return nil, err
			}
			continue
		}
		end, d, err := r.stand()
		if err != nil {
			return nil, err
		}
		switch {
		case d != nil && r.off < d.end && !r.files && r.readRecent(d.end, bytesMax):
		case d != nil:
			if err := r.readDamage(d); err != nil {
				return nil, err
			}
		case end <= r.off:
			return nil, nil
		case !r.files && r.readRecent(end, bytesMax):
		default:
			if err := r.readUnits(end, bytesMax); err != nil {
				return nil, err
			}
		}
	}
	if len(r.lent) > 0 {
		r.checkLent()
	}
	return r.refs, nil
}

// stand moves to the next segment when this one is read, and returns how far the
// reader may read, or the damage that it stands before.
func (r *Reader) stand() (end int64, d *damage, err error) {
	j := r.j
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed || r.closed {
		return 0, nil, ErrClosed
	}
	r.passed = r.unit
	for {
		s := r.seg
		if r.version != s.version { // more was found
			r.version, r.damages = s.version, 0
		}
		if r.damages < len(s.damages) {
			d := s.damages[r.damages]
			switch {
			case d.passed(r.off):
				r.damages++
				continue
			case d.Offset <= r.off || r.off >= s.end:
				return s.end, d, nil
			}
			return min(s.end, d.Offset), nil, nil
		}
		i := slices.Index(j.segs, s)
		if r.off < s.end || i == len(j.segs)-1 {
			return s.end, nil, nil
		}
		j.unpin(s)
		r.seg = j.segs[i+1]
		r.seg.pins++
		r.off, r.damages, r.version = r.seg.headBytes, 0, r.seg.version
		if r.file != nil {
			_ = r.file.Close() // only read from
			r.file = nil
		}
	}
}

func (r *Reader) place() place { return r.j.o.place(r.seg.number, r.seg.generation, r.seg.term) }

// fill reads n bytes at off into the buffer.
func (r *Reader) fill(f vfs.File, name string, off int64, n int) ([]byte, error) {
	if cap(r.buf) < n {
		r.buf = make([]byte, n)
	}
	b := r.buf[:n]
	r.buffered = true
	r.j.fileReadBytes.Add(uint64(n))
	if _, err := f.ReadAt(b, off); err != nil {
		return nil, fmt.Errorf("%s: reading %d bytes at offset %d: %w", r.j.o.path(name), n, off, err)
	}
	return b, nil
}

func (r *Reader) open() error {
	if r.file != nil {
		return nil
	}
	f, err := r.j.o.FS.Open(r.j.o.path(r.seg.name))
	if errors.Is(err, fs.ErrNotExist) {
		if err := r.meet(err); err != nil { // somebody removed it
			return err
		}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", r.j.o.path(r.seg.name), err)
	}
	r.file = f
	if !r.files {
		return nil
	}
	return r.checkHead()
}

// readUnits takes the units from off on that one read of bytesMax brings, at
// least one, none at or behind end.
func (r *Reader) readUnits(end int64, bytesMax int) error {
	if err := r.open(); err != nil {
		return err
	}
	n := int(min(max(align(int64(bytesMax)), BlockBytes), end-r.off))
	b, err := r.fill(r.file, r.seg.name, r.off, n)
	if err == nil {
		r.u.unit.decode(b)
		if need := int64(r.u.unit.bytes); r.u.unit.sizesHold() && need > int64(n) && need <= end-r.off {
			b, err = r.fill(r.file, r.seg.name, r.off, int(need))
		}
	}
	if errors.Is(err, io.EOF) {
		return r.meet(err) // the file was cut
	}
	if err != nil {
		return err
	}
	for first := true; len(b) >= BlockBytes; first = false {
		r.u.unit.decode(b)
		if !first && int(r.u.unit.bytes) > len(b) {
			return nil // the next round reads it whole
		}
		if err := r.v.unit(b, r.off, r.place(), &r.u); err != nil {
			return fmt.Errorf("%s: offset %d: %w", r.j.o.path(r.seg.name), r.off, err)
		}
		if r.u.fault != nil {
			if len(r.refs) > 0 {
				return nil // what is whole comes first
			}
			return r.meet(r.u.fault)
		}
		r.take(r.u.unit.number)
		b = b[r.u.unit.bytes:]
		r.off += int64(r.u.unit.bytes)
	}
	return nil
}

// take appends the batches of the unit that the verifier holds.
func (r *Reader) take(number UnitNumber) {
	if number < r.from {
		return
	}
	for i := range r.v.refs {
		if r.v.refs[i].Header.Kind != wire.BatchControl {
			r.refs = append(r.refs, r.v.refs[i])
		}
	}
	r.unit = number
}

// Unit is the number of the last unit that Next returned.
func (r *Reader) Unit() UnitNumber { return r.unit }

// Backlog is how many bytes of segments lie between the reader and the durable end.
func (r *Reader) Backlog() int64 {
	r.j.mu.Lock()
	defer r.j.mu.Unlock()
	if r.closed {
		return 0
	}
	n := max(0, r.seg.end-r.off)
	for _, s := range slices.Backward(r.j.segs) {
		if s == r.seg {
			break
		}
		n += s.end - s.headBytes
	}
	return n
}

// Close gives up the pin, and what the last Next lent out.
func (r *Reader) Close() {
	r.giveBack()
	r.j.mu.Lock()
	defer r.j.mu.Unlock()
	if r.closed {
		return
	}
	r.closed = true
	r.j.readers = slices.DeleteFunc(r.j.readers, func(other *Reader) bool { return other == r })
	r.j.unpin(r.seg)
	if r.file != nil {
		_ = r.file.Close() // only read from
	}
	if r.repair != nil {
		_ = r.repair.Close()
	}
}
