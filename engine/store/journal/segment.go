package journal

import (
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"

	"github.com/claudefs/repl/engine/internal/plant"
	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/claudefs/repl/wire"
)

// File names in a journal's directory. The number is hexadecimal.
const (
	lockName     = "LOCK"
	namePrefix   = "segment-"
	sparePrefix  = "spare-"
	newPrefix    = "new-" // until its head is durable
	repairPrefix = "repair-"
	nameSuffix   = ".seg"
)

func fileName(prefix string, number uint64) string {
	return fmt.Sprintf("%s%016x%s", prefix, number, nameSuffix)
}

// fileNumber reads the number out of a name made by fileName.
func fileNumber(prefix, name string) (uint64, bool) {
	digits, ok := strings.CutPrefix(name, prefix)
	if !ok {
		return 0, false
	}
	digits, ok = strings.CutSuffix(digits, nameSuffix)
	if !ok || len(digits) != 16 {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 16, 64)
	return n, err == nil
}

// segment is one file of the journal. After Open only end and last of the
// newest one change, and the list of damages is replaced, under the journal's lock.
type segment struct {
	name       string // base name
	number     uint64
	generation uint64
	term       wire.Term // of the opening that wrote it
	headBytes  int64
	first      UnitNumber
	last       UnitNumber // first-1 = no unit yet
	end        int64      // behind the last valid unit
	tails      []headLog  // of all logs where the segment begins, sorted by log
	tailsKnown bool       // the head holds
	bare       bool       // it does not, and it alone is lost
	pins       int        // readers that stand in it
	damages    []*damage  // by rising offset; never changed in place after Open
	version    int        // of damages
}

func (o *Options) path(name string) string { return path.Join(o.Dir, name) }

// zeroAhead is how much of a new file is zeroed at once, in front of the unit
// that needs it, so that a flush changes no extent but once in that many bytes.
// A 64th of the segment costs at most one such change per 64 of its parts, and
// keeps a fresh journal's first write small.
func (o *Options) zeroAhead() int64 { return min(align(o.SegmentBytes/64), int64(len(zeros))) }

// headShareMax is how much of a head its table of logs may take, and as much its
// control state: no Open reads a larger head.
func (o *Options) headShareMax() int64 { return min(o.SegmentBytes/4, HeadBytesMax/2) }

func (o *Options) place(number, generation uint64, term wire.Term) place {
	return place{segment: number, generation: generation, term: term, cluster: o.Cluster, site: o.Site, node: o.Node}
}

// newHead fills in what every head of this journal says alike.
func (o *Options) newHead(role uint8, term wire.Term) *head {
	return &head{kind: o.Kind, role: role, term: term, cluster: o.Cluster, site: o.Site, node: o.Node}
}

// active is the segment that is being written. Only who flushes touches it.
type active struct {
	seg    *segment
	file   vfs.File
	size   int64
	zeroed int64 // bytes below it are written, so a flush changes no extents
	off    int64 // of the next unit
}

// fits says whether the unit has room behind what is laid out.
func (a *active) fits(u *openUnit) bool { return a.off+align(int64(u.used)) <= a.size }

// createSegment makes the next segment. Its file, a spare if there is one, gets the
// name of a segment when its size and head are durable: a file with such a name
// whose head does not hold is damaged. Nothing refers to it before that, so what
// fails here can be tried again.
func (j *Journal) createSegment(h *head) (*active, error) {
	o := &j.o
	h.segmentBytes = o.SegmentBytes
	b := h.encode()
	if h.bytes+int64(o.UnitBytesMax) > o.SegmentBytes {
		return nil, fmt.Errorf("segment %d: head of %d bytes for %d logs and a unit of %d do not fit in %d bytes: %w",
			h.segment, h.bytes, len(h.logs), o.UnitBytesMax, o.SegmentBytes, wire.ErrLimit)
	}
	made, zeroed, err := j.makeSegmentFile(b)
	if err != nil {
		return nil, err
	}
	name := fileName(namePrefix, h.segment)
	f, err := o.nameSegment(made, name)
	if err != nil {
		_ = o.FS.Remove(o.path(made)) // else the next Open does
		return nil, err
	}
	seg := &segment{
		name: name, number: h.segment, generation: h.generation, term: h.term, headBytes: h.bytes,
		first: h.first, last: h.first - 1, end: h.bytes, tails: h.logs, tailsKnown: true,
	}
	j.mu.Lock()
	j.begun++
	j.mu.Unlock()
	return &active{seg: seg, file: f, size: o.SegmentBytes, zeroed: max(zeroed, h.bytes), off: h.bytes}, nil
}

// makeSegmentFile makes size and head of a file durable that is to become a segment.
// It returns its name, and how much of it was written before.
func (j *Journal) makeSegmentFile(head []byte) (name string, zeroed int64, err error) {
	o := &j.o
	var f vfs.File
	spare := j.takeSpare()
	if name = spare; spare != "" {
		f, err = o.FS.Open(o.path(name))
	} else {
		j.lastNew++
		name = fileName(newPrefix, j.lastNew)
		f, err = o.FS.Create(o.path(name))
	}
	if err != nil {
		if spare != "" {
			j.mu.Lock()
			j.spares = append(j.spares, spare)
			j.mu.Unlock()
		}
		return "", 0, fmt.Errorf("%s: %w", o.path(name), err)
	}
	size, err := f.Size()
	if err == nil && size != o.SegmentBytes {
		err = f.Truncate(o.SegmentBytes)
	}
	if err == nil {
		err = f.WriteAt([][]byte{head}, 0)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		_ = o.FS.Remove(o.path(name)) // else the next Open does
		return "", 0, fmt.Errorf("%s: head of %d bytes for the next segment: %w", o.path(name), len(head), err)
	}
	return name, min(size, o.SegmentBytes), nil
}

// nameSegment makes a file whose head is durable a segment, and opens it.
func (o *Options) nameSegment(made, name string) (vfs.File, error) {
	full := o.path(name)
	if err := o.FS.Rename(o.path(made), full); err != nil {
		return nil, fmt.Errorf("%s: %w", full, err)
	}
	f, err := o.FS.Open(full)
	if err != nil {
		_ = o.FS.Remove(full) // else it stays, as a segment without a unit
		return nil, fmt.Errorf("%s: %w", full, err)
	}
	if plant.DirNotSynced {
		return f, nil
	}
	if err := o.FS.SyncDir(o.Dir); err != nil {
		_ = o.FS.Remove(full)
		return nil, errors.Join(fmt.Errorf("%s: %w", o.Dir, err), f.Close())
	}
	return f, nil
}

// takeSpare takes a prepared or recycled file out of the list; "" = none.
func (j *Journal) takeSpare() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.spares) == 0 {
		return ""
	}
	name := j.spares[0]
	j.spares = append(j.spares[:0], j.spares[1:]...)
	if name == j.zeroed {
		j.zeroed = ""
	} else {
		j.stats.Recycled++
	}
	return name
}

// preparing is a spare whose zeros are being written.
type preparing struct {
	name string
	file vfs.File
	off  int64
}

// Prepare does one step of the work that keeps flushes short: when the newest
// segment is half full and no spare waits (NeedsSpare), it writes the next chunk of zeros of
// a new spare. It returns whether there is more to do. The journal has no
// goroutine of its own: call it from one of yours, beside flushes but not beside
// Close, one call at a time; without it the flush that needs a new file zeroes it piece by piece. An
// error costs nothing but the spare.
func (j *Journal) Prepare() (more bool, err error) {
	if !j.wantsSpare() {
		return false, nil
	}
	if err := j.prepareStep(); err != nil {
		if p := j.preparing.Load(); p != nil {
			p.file.Close()
			_ = j.o.FS.Remove(j.o.path(p.name)) // a leftover is found and reused by the next Open
			j.preparing.Store(nil)
		}
		return false, err
	}
	return j.preparing.Load() != nil, nil
}

func (j *Journal) wantsSpare() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.needsSpare() || !j.closed && j.err == nil && j.preparing.Load() != nil
}

func (j *Journal) prepareStep() error {
	o := &j.o
	if j.preparing.Load() == nil {
		name := fileName(sparePrefix, j.nextSpare())
		f, err := o.FS.Create(o.path(name))
		if err != nil {
			return fmt.Errorf("%s: %w", o.path(name), err)
		}
		j.preparing.Store(&preparing{name: name, file: f})
		return nil
	}
	p := j.preparing.Load()
	if p.off < o.SegmentBytes {
		n := min(int64(len(zeros)), o.SegmentBytes-p.off)
		if err := p.file.WriteAt([][]byte{zeros[:n]}, p.off); err != nil {
			return fmt.Errorf("%s: %w", o.path(p.name), err)
		}
		p.off += n
		j.zeroedBytes.Add(uint64(n))
		return nil
	}
	err := p.file.Sync()
	if err == nil {
		err = o.FS.SyncDir(o.Dir)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", o.path(p.name), err)
	}
	_ = p.file.Close() // its bytes are durable
	j.preparing.Store(nil)
	j.mu.Lock()
	defer j.mu.Unlock()
	j.spares = append(j.spares, p.name)
	j.zeroed = p.name
	j.stats.Zeroed++
	return nil
}

func (j *Journal) nextSpare() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lastSpare++
	return j.lastSpare
}

// zeros is what gaps and new files are filled with; nobody writes to it.
var zeros = make([]byte, 1<<20)
