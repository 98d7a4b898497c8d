package journal

import (
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
	headBytes  int64
	first      UnitNumber
	last       UnitNumber // first-1 = no unit yet
	end        int64      // behind the last valid unit
	tails      []headLog  // of all logs where the segment begins, sorted by log
	tailsKnown bool       // the head holds
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

func (o *Options) place(number, generation uint64) place {
	return place{segment: number, generation: generation, cluster: o.Cluster, site: o.Site, node: o.Node}
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

// createSegment makes the file of a new segment, from a spare if there is one,
// and makes its head durable. Nothing refers to it before that.
func (j *Journal) createSegment(h *head) (*active, error) {
	o := &j.o
	h.segmentBytes = o.SegmentBytes
	b := h.encode()
	if h.bytes+int64(o.UnitBytesMax) > o.SegmentBytes {
		return nil, fmt.Errorf("segment %d: head of %d bytes for %d logs and a unit of %d do not fit in %d bytes: %w",
			h.segment, h.bytes, len(h.logs), o.UnitBytesMax, o.SegmentBytes, wire.ErrLimit)
	}
	name := fileName(namePrefix, h.segment)
	full := o.path(name)
	f, zeroed, err := j.openSegmentFile(full)
	if err != nil {
		return nil, err
	}
	if err := writeHead(o, f, full, b); err != nil {
		f.Close()
		return nil, err
	}
	seg := &segment{
		name: name, number: h.segment, generation: h.generation, headBytes: h.bytes,
		first: h.first, last: h.first - 1, end: h.bytes, tails: h.logs, tailsKnown: true,
	}
	j.mu.Lock()
	j.begun++
	j.mu.Unlock()
	return &active{seg: seg, file: f, size: o.SegmentBytes, zeroed: max(zeroed, h.bytes), off: h.bytes}, nil
}

// openSegmentFile returns a file of the right size under its new name, and how
// much of it was written before.
func (j *Journal) openSegmentFile(full string) (f vfs.File, zeroed int64, err error) {
	o := &j.o
	if spare := j.takeSpare(); spare != "" {
		if err := o.FS.Rename(o.path(spare), full); err != nil {
			return nil, 0, fmt.Errorf("%s: %w", full, err)
		}
		f, err = o.FS.Open(full)
	} else {
		f, err = o.FS.Create(full)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("%s: %w", full, err)
	}
	size, err := f.Size()
	if err == nil && size != o.SegmentBytes {
		// The size is durable before the head is written, so that a file shorter
		// than an intact head says was cut by somebody else.
		if err = f.Truncate(o.SegmentBytes); err == nil {
			err = f.Sync()
		}
	}
	if err != nil {
		f.Close()
		return nil, 0, fmt.Errorf("%s: %w", full, err)
	}
	return f, min(size, o.SegmentBytes), nil
}

func writeHead(o *Options, f vfs.File, full string, b []byte) error {
	if err := f.WriteAt([][]byte{b}, 0); err != nil {
		return fmt.Errorf("%s: head of %d bytes: %w", full, len(b), err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("%s: head: %w", full, err)
	}
	if plant.DirNotSynced {
		return nil
	}
	if err := o.FS.SyncDir(o.Dir); err != nil {
		return fmt.Errorf("%s: %w", o.Dir, err)
	}
	return nil
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
