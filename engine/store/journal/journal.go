package journal

import (
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/claudefs/repl/engine/internal/plant"
	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/claudefs/repl/wire"
)

// Errors of a journal, wrapped with file, offset and log.
var (
	// ErrDamaged: bytes at or below a durable-through mark are damaged. Holes lists the
	// batches that are missing from then on. Also a wire.ErrCorrupt.
	ErrDamaged error = damagedError{}
	// ErrPoisoned: a write or flush failed. Nothing is acknowledged from then on, and the
	// outcome of pending writes is unknown. Close, remove the cause, open again.
	ErrPoisoned = errors.New("a write or flush failed")
	// ErrNotRetained: the requested batches were reclaimed.
	ErrNotRetained = errors.New("no longer retained")
	// ErrOrder: a batch does not continue its log.
	ErrOrder = errors.New("batch does not continue its log")
	// ErrExhausted: the next segment could not be created because the system had no
	// descriptor or memory left. Nothing was written. Flush again after a pause.
	ErrExhausted = errors.New("next segment not begun, no descriptors or memory left")
	// ErrClosed: the journal is closed.
	ErrClosed = errors.New("journal closed")
	// ErrWrongJournal: the directory belongs to another cluster, site or kind.
	ErrWrongJournal = errors.New("not this journal")
)

// damagedError is a wire.ErrCorrupt for bytes that were durable.
type damagedError struct{}

func (damagedError) Error() string { return "journal damaged" }

func (damagedError) Unwrap() error { return wire.ErrCorrupt }

// Kind tells the two journals of a node apart. Part of the format.
type Kind uint8

const (
	Own    Kind = 1 // the node's logs and its control batches
	Mirror Kind = 2 // other sites' logs
)

// UnitNumber counts flush units over the whole life of a journal, from 1.
type UnitNumber uint64

// Options of a journal.
type Options struct {
	FS      vfs.FS
	Dir     string // its own directory; created if absent
	Kind    Kind
	Cluster wire.ClusterID
	Site    wire.SiteID
	Node    wire.NodeID
	// SegmentBytes is the size of a segment file; default 64 MiB, at least 4 MiB,
	// a multiple of 4 KiB.
	SegmentBytes int64
	// UnitBytesMax is the most one flush unit may hold; default 2 MiB.
	UnitBytesMax int
	// SpareMax is how many recycled segments are kept for reuse at rest; default 2.
	// Open removes those of an earlier opening.
	SpareMax int
	// SpareBusyMax is how many at most while segments come and go: as many as were
	// begun between two calls of Reclaim that gave some back. Default 1 GiB's worth.
	SpareBusyMax int
	// RecentBytesMax bounds the memory of recent durable units, from which readers that
	// keep up are served without a file read: the owners' memory (see Measured) and the
	// units' own. 0: none.
	RecentBytesMax int64
	// Memory holds copies of recent batches whose owners need their memory back (see
	// Scarce). nil = the Go heap.
	Memory Memory

	// Existed: this journal was opened before. A directory without segments is then damage,
	// not a creation. Spares and repairs are the same evidence.
	Existed bool

	// Damaged is called once for each damaged place that a reader finds after Open, and
	// again if the damage grows. Holes lists the missing batches by then. It is called by
	// the reader's goroutine, within Next, without the journal's locks, and must not
	// wait. nil = only the reader gets the error.
	Damaged func([]Damage)

	// Left is called, under the journal's lock, when a reader leaves a segment that stayed for
	// it alone: Reclaim gives that back now. nil = nobody is told.
	Left func()

	// Reading is called by Open with each read: bytes of the segments read so far, and in
	// total. Its error ends Open. nil = no progress.
	Reading func(readBytes, totalBytes int64) error

	// Sometimes lets a simulator choose a rare but always allowed step at the named
	// point. nil = never.
	Sometimes func(point string) bool

	tiny bool // tests: allows sizes below the minimums
}

// Points of Options.Sometimes.
const (
	PointSegmentBegun = "segment-begun" // the next segment, although the unit fits this one
	PointUnitRead     = "unit-read"     // a reader takes one unit, whatever it was asked for
	PointStageFailed  = "stage-failed"  // batches for a mirror are not staged, and none of them counts
)

func (o *Options) sometimes(point string) bool { return o.Sometimes != nil && o.Sometimes(point) }

// Tail is where a log ends in this journal.
type Tail struct {
	Position  wire.Position
	LastStamp wire.Stamp
	LastIndex uint64
}

// Damage is a place whose bytes were durable and are not intact.
type Damage struct {
	File   string
	Offset int64
	Unit   UnitNumber // 0 = not readable
	Reason string
}

// Recovery is what Open found.
type Recovery struct {
	Term      wire.Term // of this opening
	Created   bool      // there was no journal
	Units     uint64    // valid flush units read
	TornBytes int64     // never-acknowledged bytes cut off
	Damage    []Damage
	// Suspect lists, sorted, the logs whose tail nothing proves after damage: no
	// appends, no source, not promotable until repaired.
	Suspect []wire.LogID
	// ControlSuspect: damage may hide control records (own journal).
	ControlSuspect bool
	// LogsUnknown: no head holds, or no segment is left, although there was a journal:
	// logs that are not listed may have had batches, too.
	LogsUnknown bool
}

// Journal is one stream of segments with one flush. Its methods may be called
// by any goroutine; at most one flush is under way, with a Pipeline as many as
// that has.
type Journal struct {
	o    Options
	lock io.Closer
	term wire.Term

	mend    sync.Mutex    // of who reads or writes files to learn of damage or repair it; before mu
	repairs atomic.Uint64 // begun

	mu       sync.Mutex
	closed   bool
	err      error // why it stopped; wraps ErrPoisoned
	segs     []*segment
	spares   []string
	logs     map[wire.LogID]*logState
	control  Control
	starts   starts
	durable  UnitNumber
	unmarked bool // the last durable unit holds batches and lies below no mark
	hiding   int  // hiding damages found by Open
	renew    bool // the next unit begins a segment: its head proves what damage hides
	holes    []*hole
	begins   []headLog // where logs go on behind a tail that was adopted, see Adopt

	pending      []*openUnit // waiting, oldest first; at most the last is open
	free         []*openUnit
	freeBytes    int // of free
	recent       recent
	readers      []*Reader    // that are open
	extensions   []*extension // for reuse
	next         UnitNumber   // of the next unit to open
	staged       int          // bytes of batches that wait
	undo         []undo
	startsStaged int      // bytes of STARTs that are staged, as heads will have them
	flights      []*Flush // under way, by rising unit number without a gap
	flushesSpare []*Flush // for reuse
	depth        int      // flights at most; 0 = 1
	behind       behind   // only ever used by a mistake, see package plant
	stats        Stats

	// Only who flushes, and Close, touch these.
	active         *active
	lastSegment    uint64
	lastGeneration uint64
	flushed        []wire.BatchHeader
	owners         []Releaser // whom EndFlush tells
	over           []*Flush   // those that it ended
	unlent         []*openUnit
	copiedOwners   []Releaser // whose scarce memory was copied

	preparing  atomic.Pointer[preparing] // only Prepare and Close change it
	zeroed     string                    // the spare that Prepare made, under mu
	held       heldRow                   // where Holder stands
	retiring   *retiring                 // what Reclaim could not give back; only Reclaim touches it
	awaited    bool                      // Left is to be called; under mu
	begun      int                       // segments, since Reclaim last gave one back; under mu
	pace       int                       // the most of them lately, falling slowly; under mu
	lastSpare  uint64
	lastNew    uint64
	lastRepair uint64

	fileReadBytes atomic.Uint64 // by readers
	zeroedBytes   atomic.Uint64
	copiedBytes   atomic.Uint64 // out of scarce memory
}

// Open recovers the journal in o.Dir, or creates it: raises the term, flushes
// what it recovered, starts a new segment that names the last valid unit
// before it. Damage does not fail Open; it is reported in Recovery. A file that
// cannot be read or written does. vfs.ErrLocked: another process has it.
func Open(o Options) (*Journal, *Recovery, error) {
	if err := o.complete(); err != nil {
		return nil, nil, err
	}
	if err := o.FS.MkdirAll(o.Dir); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", o.Dir, err)
	}
	lock, err := o.FS.Lock(o.path(lockName))
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", o.path(lockName), err)
	}
	j, report, err := open(o)
	if err != nil {
		return nil, nil, errors.Join(err, lock.Close())
	}
	j.lock = lock
	return j, report, nil
}

func open(o Options) (*Journal, *Recovery, error) {
	r := newRecovery(&o)
	defer r.close()
	if o.Reading != nil {
		r.w.read = r.reading
	}
	if err := r.run(); err != nil {
		return nil, nil, err
	}
	gone := len(r.segs) == 0 // then the spares alone say that there was a journal
	if !gone {
		if err := r.clean(); err != nil {
			return nil, nil, err
		}
	}
	r.report.Term++
	j := &Journal{
		o: o, term: r.report.Term, segs: r.segs, logs: r.logs, control: r.control, starts: r.starts,
		durable: r.unit, next: r.unit + 1, hiding: len(r.hiding), holes: r.holes,
		lastSegment: r.lastSegment, lastGeneration: r.lastGeneration,
		lastSpare: r.lastSpare, lastNew: r.lastNew, lastRepair: r.lastRepair,
	}
	for _, s := range j.segs {
		j.noteBegins(s.tails)
	}
	j.stats.Units = r.report.Units
	a, err := j.startSegment()
	if err != nil {
		return nil, nil, err
	}
	j.active = a
	if gone {
		err = r.clean()
	}
	if err = errors.Join(err, j.dropEmpty(a.seg)); err != nil {
		return nil, nil, errors.Join(err, a.file.Close())
	}
	j.segs = append(j.segs, a.seg)
	return j, &r.report, nil
}

// complete fills in defaults and names every option that is out of range.
func (o *Options) complete() error {
	if o.SegmentBytes == 0 {
		o.SegmentBytes = 64 << 20
	}
	if o.UnitBytesMax == 0 {
		o.UnitBytesMax = 2 << 20
	}
	if o.SpareMax == 0 {
		o.SpareMax = 2
	}
	if o.SpareBusyMax == 0 {
		o.SpareBusyMax = max(o.SpareMax, int((1<<30)/max(1, o.SegmentBytes)))
	}
	var errs []error
	refuse := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf("journal options: "+format, args...))
		}
	}
	refuse(o.FS == nil, "FS is nil")
	refuse(o.Dir == "", "Dir is empty")
	refuse(o.Kind != Own && o.Kind != Mirror, "Kind %d", o.Kind)
	refuse(o.Cluster == 0 || o.Site == 0, "Cluster or Site is zero")
	refuse(o.SegmentBytes%BlockBytes != 0 || o.UnitBytesMax%BlockBytes != 0,
		"SegmentBytes %d and UnitBytesMax %d must be multiples of %d", o.SegmentBytes, o.UnitBytesMax, BlockBytes)
	segmentMin, unitMin := int64(4<<20), int(align(UnitHeaderBytes+wire.BatchBytesMax))
	if o.tiny {
		segmentMin, unitMin = 2*BlockBytes, BlockBytes
	}
	refuse(o.SegmentBytes < segmentMin, "SegmentBytes %d, at least %d", o.SegmentBytes, segmentMin)
	refuse(o.UnitBytesMax < unitMin || o.UnitBytesMax > UnitBytesLimit,
		"UnitBytesMax %d, allowed %d to %d", o.UnitBytesMax, unitMin, UnitBytesLimit)
	refuse(int64(o.UnitBytesMax) > o.SegmentBytes/2, "UnitBytesMax %d is more than half of SegmentBytes %d",
		o.UnitBytesMax, o.SegmentBytes)
	refuse(o.SpareMax < 0, "SpareMax %d", o.SpareMax)
	refuse(o.SpareBusyMax < o.SpareMax, "SpareBusyMax %d is less than SpareMax %d", o.SpareBusyMax, o.SpareMax)
	refuse(o.RecentBytesMax < 0, "RecentBytesMax %d", o.RecentBytesMax)
	return errors.Join(errs...)
}

// startSegment makes the next segment: everything durable so far lies before it.
func (j *Journal) startSegment() (*active, error) {
	j.mu.Lock()
	h := j.o.newHead(roleSegment, j.term)
	h.segment, h.generation = j.lastSegment+1, j.lastGeneration+1
	h.first, h.prev, h.mark = j.durable+1, j.durable, j.durable
	h.logs = tableOf(j.logs)
	if plant.TailLost && len(j.segs) > 0 {
		idle := j.segs[len(j.segs)-1].tails
		h.logs = slices.DeleteFunc(h.logs, func(row headLog) bool { return slices.Contains(idle, row) })
	}
	if j.o.Kind == Own {
		h.control = encodeControl(&j.control)
	}
	h.starts = j.starts.encode(nil)
	j.mu.Unlock()
	j.lastSegment, j.lastGeneration = h.segment, h.generation
	return j.createSegment(h)
}

// Durable is the last durable unit.
func (j *Journal) Durable() UnitNumber {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.durable
}

// Err is nil, or why the journal stopped.
func (j *Journal) Err() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.err
}

// Tail returns the durable tail of a log.
func (j *Journal) Tail(log wire.LogID) (Tail, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	st := j.logs[log]
	if st == nil || st.durable.Position == (wire.Position{}) {
		return Tail{}, false
	}
	return st.durable, true
}

// Logs returns all logs of the journal, sorted, control log excluded.
func (j *Journal) Logs() []wire.LogID {
	j.mu.Lock()
	defer j.mu.Unlock()
	logs := make([]wire.LogID, 0, len(j.logs))
	for log, st := range j.logs {
		if log.Shard != wire.ShardControl && st.durable.Position != (wire.Position{}) {
			logs = append(logs, log)
		}
	}
	slices.SortFunc(logs, wire.LogID.Compare)
	return logs
}

// Term is the term of this opening.
func (j *Journal) Term() wire.Term { return j.term }

// Clear takes a log off the suspect list: someone else proved that its tail is
// the true one, or nobody has more of it. The next unit begins a segment, whose head makes
// it last.
func (j *Journal) Clear(log wire.LogID) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if st := j.logs[log]; st != nil && st.suspect {
		st.suspect, j.renew = false, true
	}
	j.holes = slices.DeleteFunc(j.holes, func(h *hole) bool { return h.Log == log && h.Open() })
}

// Control returns a copy of the control state (own journal only).
func (j *Journal) Control() Control {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.control.clone()
}

// Stats are the journal's sizes, for status and metrics.
type Stats struct {
	Segments  int
	Spare     int
	Bytes     int64  // from the oldest retained unit to the end
	Units     uint64 // read by Open and flushed since
	Flushes   uint64 // of this opening
	LastFlush UnitNumber

	// Of this opening: segments begun in a file that was one before, files made of
	// zeros ahead of their use, files given back to the system, and how many zeros
	// were written, ahead or with a flush.
	Recycled, Zeroed, Removed uint64
	ZeroedBytes               uint64

	RecentBytes   int64  // memory of durable units that stays lent
	CopiedBytes   uint64 // of this opening: out of scarce memory, after the flush
	FileReadBytes uint64 // that readers read from files: they were behind

	// Of what is retained, found by Open or by a reader since: places that do not
	// hold, stretches of logs that they took, and how many of those are repaired.
	Damaged, Holes, Repaired int
}

// Stats returns the sizes as they are now.
func (j *Journal) Stats() Stats {
	j.mu.Lock()
	defer j.mu.Unlock()
	s := j.stats
	s.Segments, s.Spare, s.LastFlush = len(j.segs), len(j.spares), j.durable
	s.RecentBytes, s.FileReadBytes = j.recent.bytes, j.fileReadBytes.Load()
	s.ZeroedBytes, s.CopiedBytes = j.zeroedBytes.Load(), j.copiedBytes.Load()
	for _, seg := range j.segs {
		s.Bytes += seg.end - seg.headBytes
		for _, d := range seg.damages {
			if d.shows() {
				s.Damaged++
			}
		}
	}
	s.Holes = len(j.holes)
	for _, h := range j.holes {
		if h.repair != nil {
			s.Repaired++
		}
	}
	return s
}

// Close ends the journal: an open flush must have ended; staged batches are
// dropped; an idle journal gets its closing empty unit, so that its last
// batches lie below a durable-through mark. What a reader lends out is given
// back when that reader closes.
func (j *Journal) Close() error {
	j.mu.Lock()
	if len(j.flights) > 0 {
		j.mu.Unlock()
		return errors.New("journal closed with a flush under way")
	}
	if j.closed {
		j.mu.Unlock()
		return ErrClosed
	}
	owners := j.dropPending(nil)
	stopped := j.err != nil
	j.mu.Unlock()
	release(owners)
	var err error
	if !stopped && j.StageIdle() {
		f := j.BeginFlush()
		if err = f.Write(); err == nil {
			err = f.Sync()
		}
		_, err = j.EndFlush(f, err)
	}
	j.mu.Lock()
	j.closed = true
	owners = j.forget(math.MaxUint64)
	j.mu.Unlock()
	release(owners)
	if p := j.preparing.Load(); p != nil {
		err = errors.Join(err, p.file.Close())
		j.preparing.Store(nil)
	}
	return errors.Join(err, j.active.file.Close(), j.lock.Close())
}
