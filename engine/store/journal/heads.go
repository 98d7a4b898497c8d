package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"

	"github.com/claudefs/repl/engine/internal/plant"
	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/claudefs/repl/wire"
)

// A segment's head says what nothing else does: where logs without batches in the
// segment stand, and what the control state is.

// dropEmpty removes segments without units that the new one's head makes
// superfluous, so that openings without appends leave few files behind. One older
// head stays (see headsMin), and the flush of the directory makes the going of all
// that opening removed durable.
func (j *Journal) dropEmpty(newest *segment) error {
	for len(j.segs) > 0 {
		last := len(j.segs) - 1
		s := j.segs[last]
		stays := func(d *damage) bool { return !d.remembered || d.filled() }
		if s.last >= s.first || slices.ContainsFunc(s.damages, stays) {
			break // its head says where a repair belongs, or it shows damage
		}
		if heads(j.segs[:last]) < headsMin-1 {
			break
		}
		for _, d := range s.damages {
			d.seg, d.Offset, d.end = newest, newest.headBytes, newest.headBytes
			newest.damages = append(newest.damages, d)
		}
		if err := j.o.FS.Remove(j.o.path(s.name)); err != nil {
			return fmt.Errorf("%s: %w", j.o.path(s.name), err)
		}
		j.segs = j.segs[:last]
	}
	return j.o.FS.SyncDir(j.o.Dir)
}

// headsMin is how many heads that hold a journal keeps: what only heads say, where
// logs stand that are idle and what the control state is, is then there twice, or
// can be read from the older segment.
const headsMin = 2

// heads counts those that hold, from the newest, up to headsMin.
func heads(segs []*segment) (n int) {
	for _, s := range slices.Backward(segs) {
		if s.tailsKnown && !slices.ContainsFunc(s.damages, func(d *damage) bool { return d.end == 0 }) {
			n++
		}
		if n == headsMin {
			break
		}
	}
	return n
}

// readHead fills in head or fault; an error is one that ends the opening. The
// window stands in the file.
func (r *recovery) readHead(f *segmentFile) error {
	h, err := readHead(&r.w)
	if err == nil {
		err = r.checkHead(h, f.seg.number)
	}
	switch {
	case errors.Is(err, wire.ErrCorrupt), errors.Is(err, wire.ErrProtocol):
		f.fault = err
		return nil
	case err != nil:
		return fmt.Errorf("%s: %w", r.o.path(f.seg.name), err)
	}
	f.head = h
	r.report.Term = max(r.report.Term, h.term)
	r.lastGeneration = max(r.lastGeneration, h.generation)
	f.size = r.w.size
	f.cut = f.size < h.segmentBytes
	s := f.seg
	s.generation, s.term, s.headBytes, s.first = h.generation, h.term, h.bytes, h.first
	s.tails, s.tailsKnown = h.logs, true
	return nil
}

// readHead reads the head at the start of the window's file.
func readHead(w *window) (*head, error) {
	b, err := w.at(0, BlockBytes)
	if err != nil {
		return nil, err
	}
	if len(b) < BlockBytes {
		return nil, fmt.Errorf("head: file of %d bytes: %w", w.size, wire.ErrCorrupt)
	}
	n, err := headSize(b)
	if err != nil {
		return nil, err
	}
	if n > w.size {
		return nil, fmt.Errorf("head: %d bytes in a file of %d: %w", n, w.size, wire.ErrCorrupt)
	}
	if b, err = w.at(0, int(n)); err != nil {
		return nil, err
	}
	return decodeHead(slices.Clone(b))
}

// checkHead compares an intact head with the options and the file's name.
func (r *recovery) checkHead(h *head, number uint64) error {
	o := r.o
	switch {
	case h.cluster != o.Cluster:
		return fmt.Errorf("cluster %016x, this node's is %016x: %w",
			uint64(h.cluster), uint64(o.Cluster), ErrWrongJournal)
	case h.site != o.Site || h.node != o.Node:
		return fmt.Errorf("site %08x node %d, this is site %08x node %d: %w",
			uint32(h.site), h.node, uint32(o.Site), o.Node, ErrWrongJournal)
	case h.kind != o.Kind:
		return fmt.Errorf("journal kind %d, want %d: %w", h.kind, o.Kind, ErrWrongJournal)
	case h.role != roleSegment || h.segment != number:
		return fmt.Errorf("head: of segment %d, role %d: %w", h.segment, h.role, wire.ErrCorrupt)
	}
	return nil
}

// judgeHeads learns what units say where heads do not hold, which is damage always: a
// file gets a segment's name when its head is durable.
func (r *recovery) judgeHeads() error {
	term, at := wire.Term(0), uint64(0)
	for i, f := range r.files {
		s := f.seg
		r.lastSegment = max(r.lastSegment, s.number)
		if f.head == nil {
			if err := r.findGeneration(f); err != nil {
				return err
			}
			if plant.HeadNeverUsed && i == len(r.files)-1 && s.generation == 0 {
				r.junk, r.files = append(r.junk, s.name), r.files[:i]
				break
			}
		}
		if s.generation != 0 {
			term, at = s.term, s.number
			continue
		}
		// Each opening raises the term by one and begins a segment.
		r.report.Term = max(r.report.Term, term+wire.Term(min(s.number-at, termsLostMax)))
	}
	return nil
}

// termsLostMax bounds what the number in a file's name adds to the term.
const termsLostMax = 1 << 20

// judgeAbsence tells a journal that is to be created from one that is gone: spares and
// repairs came with segments.
func (r *recovery) judgeAbsence() error {
	r.report.LogsUnknown = !slices.ContainsFunc(r.files, func(f *segmentFile) bool { return f.head != nil })
	if len(r.files) > 0 {
		return nil
	}
	if len(r.spares)+len(r.repairs) == 0 && !r.o.Existed || plant.HeadNeverUsed {
		r.report.Created, r.report.LogsUnknown = true, false
		return nil
	}
	for _, name := range r.spares { // their heads are of segments that were
		if err := r.look(name); err != nil {
			return err
		}
		if h, err := readHead(&r.w); err == nil && r.checkHead(h, h.segment) == nil {
			r.report.Term = max(r.report.Term, h.term)
		}
	}
	r.report.Damage = append(r.report.Damage, Damage{
		File: r.o.Dir, Reason: "there was a journal here, no segment is left"})
	r.controlLost = true
	return nil
}

// Exists says whether a directory holds segments, whatever is in them.
func Exists(fsys vfs.FS, dir string) (bool, error) {
	names, err := fsys.List(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("%s: %w", dir, err)
	}
	return slices.ContainsFunc(names, func(name string) bool {
		_, ok := fileNumber(namePrefix, name)
		return ok
	}), nil
}

// findGeneration looks for the first unit of a segment whose head is lost.
func (r *recovery) findGeneration(f *segmentFile) error {
	if err := r.look(f.seg.name); err != nil {
		return err
	}
	begin, plain := r.skeleton(f.seg.number)
	p := r.o.place(f.seg.number, 0, 0)
	p.anyGeneration = true
	r.v.traces = 0
	off, err := r.v.next(&r.w, BlockBytes, p, 0, math.MaxUint64, &r.found)
	if err != nil {
		return err
	}
	if off < 0 {
		f.bare = plain && r.v.traces == 0
		return nil
	}
	u := &r.found.unit
	f.bare = plain && r.v.traces == 1 && (begin == 0 || off == begin)
	f.seg.generation, f.seg.term, f.seg.headBytes, f.seg.first = u.generation, u.term, off, u.number
	r.lastGeneration = max(r.lastGeneration, u.generation)
	r.report.Term = max(r.report.Term, u.term)
	return nil
}

// skeleton returns where the units begin by a head whose digest does not hold, 0 if
// it does not say, and whether all but one of the things hold that it says of its file:
// then its own bytes are damaged, and not the file's beginning.
func (r *recovery) skeleton(number uint64) (begin int64, plain bool) {
	b, err := r.w.at(0, BlockBytes)
	if err != nil || len(b) < BlockBytes {
		return 0, false
	}
	le := binary.LittleEndian
	if n := int64(le.Uint32(b[8:])); n >= BlockBytes && n <= min(HeadBytesMax, r.w.size) && n%BlockBytes == 0 {
		begin = n
	}
	agree := 0
	for _, holds := range []bool{
		le.Uint32(b) == headMagic, begin != 0, le.Uint64(b[48:]) == number, int64(le.Uint64(b[64:])) == r.w.size,
	} {
		if holds {
			agree++
		}
	}
	return begin, agree >= 3
}
