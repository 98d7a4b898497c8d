package journal

import (
	"errors"

	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/claudefs/repl/wire"
)

// Errors of a journal, wrapped with file, offset and log.
var (
	// ErrCorrupt: bytes at or below a durable-through mark do not hold.
	ErrCorrupt = errors.New("journal damaged")
	// ErrPoisoned: a write or flush failed. Nothing is acknowledged any more;
	// what was under way has an unknown outcome. Close, find the cause, open again.
	ErrPoisoned = errors.New("journal stopped after a failed write")
	// ErrNotRetained: the batches asked for are no longer kept.
	ErrNotRetained = errors.New("no longer retained")
	// ErrOrder: a batch does not continue its log.
	ErrOrder = errors.New("batch does not continue its log")
	// ErrClosed: the journal is closed.
	ErrClosed = errors.New("journal closed")
	// ErrWrongJournal: the directory belongs to another cluster, site or kind.
	ErrWrongJournal = errors.New("not this journal")
)

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
	// SpareMax is how many recycled segments are kept for reuse; default 2.
	SpareMax int
}

// Tail is where a log ends in this journal.
type Tail struct {
	Position  wire.Position
	LastStamp wire.Stamp
	LastIndex uint64
}

// Damage is one place whose bytes do not hold although they were durable.
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
}

// Journal is one stream of segments with one flush. Its methods may be called
// by any goroutine; at most one flush is under way.
type Journal struct{ unwritten int }

// Open recovers the journal in o.Dir, or creates it: raises the term, flushes
// what it recovered, starts a new segment that names the last valid unit
// before it. Damage does not fail Open; it is reported in Recovery.
func Open(o Options) (*Journal, *Recovery, error) { panic("unwritten") }

// Releaser gets its buffers back when the journal no longer needs them.
type Releaser interface{ Release() }

// Stage puts whole closed batches into the open unit. Each must continue its
// log: same incarnation, first seq = tail + 1, prev = tail's chain; or be the
// START of a new incarnation. The bytes are borrowed until owner.Release,
// called once, after the flush that holds them ended (with or without error),
// or before an error return; owner may be nil. Staged batches are neither durable nor readable
// until EndFlush. It returns the number of the unit they will be in, which
// rises with every unit.
func (j *Journal) Stage(batches []wire.BatchRef, owner Releaser) (UnitNumber, error) {
	panic("unwritten")
}

// StagedBytes is how much waits in the open unit; the caller's backpressure.
func (j *Journal) StagedBytes() int { panic("unwritten") }

// Flush is one unit on its way to the medium:
//
//	f := j.BeginFlush()          // closes the open unit
//	err := f.Write()             // may run beside Stage, Reader, …
//	if err == nil { err = f.Sync() }
//	done, err := j.EndFlush(f, err)
type Flush struct{ unwritten int }

// BeginFlush closes the open unit. It returns nil if nothing is staged or a
// flush is under way.
func (j *Journal) BeginFlush() *Flush { panic("unwritten") }

// Write writes the unit (opening the next segment first if it does not fit).
func (f *Flush) Write() error { panic("unwritten") }

// Sync makes it durable.
func (f *Flush) Sync() error { panic("unwritten") }

// Flushed is what one flush made durable. Batches' bytes are gone; the slice
// is reused by the next EndFlush.
type Flushed struct {
	Unit    UnitNumber
	Headers []wire.BatchHeader
	Bytes   int64 // of the batches
}

// EndFlush accounts for a finished flush: with err == nil the unit is durable
// and readable; else the journal is poisoned and every later Stage returns
// ErrPoisoned.
func (j *Journal) EndFlush(f *Flush, err error) (Flushed, error) { panic("unwritten") }

// Durable is the last durable unit.
func (j *Journal) Durable() UnitNumber { panic("unwritten") }

// Err is nil, or why the journal stopped.
func (j *Journal) Err() error { panic("unwritten") }

// Tail returns the durable tail of a log.
func (j *Journal) Tail(log wire.LogID) (Tail, bool) { panic("unwritten") }

// Logs returns all logs of the journal, sorted, control log excluded.
func (j *Journal) Logs() []wire.LogID { panic("unwritten") }

// Term is the term of this opening.
func (j *Journal) Term() wire.Term { panic("unwritten") }

// SegmentStart finds where a reader must begin so that it meets every retained
// batch that ends beyond have(log), for every log of the journal (have returns
// the zero Position for "nothing"): the first unit of the newest such segment.
// tails is called with the tail of every log at that point, as the segment's head
// has it (a chain to compare with for logs that have nothing beyond it).
// ErrNotRetained names the first log whose next batch is gone.
func (j *Journal) SegmentStart(have func(wire.LogID) wire.Position, tails func(wire.LogID, Tail)) (UnitNumber, error) {
	panic("unwritten")
}

// NewReader reads durable batches in physical order, from the first unit
// numbered from or higher. Close it.
func (j *Journal) NewReader(from UnitNumber) *Reader { panic("unwritten") }

// Reader walks a journal in physical order. One goroutine at a time. It pins
// the segment that it stands in.
type Reader struct{ unwritten int }

// Next returns the batches of one or more whole following units, at least one
// unit and further ones while their batches fit bytesMax; verified, control
// batches left out. No batches and no error: the reader stands at the durable
// end. The result is borrowed until the next call. Units replaced by a repair
// are read from the repair. ErrCorrupt names file, offset and unit; the reader
// then stands behind the damage.
func (r *Reader) Next(bytesMax int) ([]wire.BatchRef, error) { panic("unwritten") }

// Unit is the number of the last unit that Next returned.
func (r *Reader) Unit() UnitNumber { panic("unwritten") }

// Backlog is how many bytes of segments lie between the reader and the durable end.
func (r *Reader) Backlog() int64 { panic("unwritten") }

// Close gives up the pin.
func (r *Reader) Close() { panic("unwritten") }

// Repair writes batches that another holder proved by chain into a repair
// segment and flushes it; readers prefer it from then on. batches continue
// (log, from) and reach a batch that this journal still holds intact, or its
// tail. A suspect log whose tail is proven leaves Suspect.
func (j *Journal) Repair(log wire.LogID, batches []wire.BatchRef) error { panic("unwritten") }

// Clear takes a log off the suspect list: someone else proved that its tail is
// the true one.
func (j *Journal) Clear(log wire.LogID) { panic("unwritten") }

// Control returns a copy of the control state (own journal only).
func (j *Journal) Control() Control { panic("unwritten") }

// StageControl puts a control batch with these records into the open unit.
// Records become part of Control when flushed.
func (j *Journal) StageControl(records []ControlRecord, stamp wire.Stamp) (UnitNumber, error) {
	panic("unwritten")
}

// Retain gives segments back that nobody needs: a segment goes when floor
// covers every log's tail at its end and no reader stands in or before it.
// floor returns the position up to which everybody is served; a log that it
// has nothing for keeps everything. It returns how many segments went.
func (j *Journal) Retain(floor func(wire.LogID) wire.Position) (int, error) { panic("unwritten") }

// Stats are the journal's sizes, for status and metrics.
type Stats struct {
	Segments  int
	Spare     int
	Bytes     int64 // from the oldest retained unit to the end
	Units     uint64
	Flushes   uint64 // of this opening
	LastFlush UnitNumber
}

func (j *Journal) Stats() Stats { panic("unwritten") }

// Close ends the journal: an open flush must have ended; staged batches are
// dropped; an idle journal gets its closing empty unit, so that its last
// batches lie below a durable-through mark.
func (j *Journal) Close() error { panic("unwritten") }
