package journal

// Recovery, as FORMAT.md numbers it:
//
//  1. list: files of the directory, flushed.
//  2. judgeHeads, judgeAbsence: damaged heads; a directory that has lost its segments.
//  3. limits: up to which unit a segment may count, and up to which all units must be intact.
//  4. replaySegment (replay.go): unit by unit; damage, or the torn tail where the journal ends.
//  5. enter, suspects, settle: tails compared with each later head's table; holes (hole.go).
//  6. loadRepairs: repairs that fill holes.
//  7. clean: removes leftovers and spares.
//
// Step 8, the new term and segment, is Open's.

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"slices"

	"github.com/claudefs/repl/engine/internal/plant"
	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/claudefs/repl/wire"
)

// recovery reads a journal's directory and decides what counts. It writes nothing
// before clean.
type recovery struct {
	o       *Options
	v       *verifier
	w       window
	found   verdict
	report  Recovery
	files   []*segmentFile // by rising segment number
	segs    []*segment
	logs    map[wire.LogID]*logState
	control Control
	starts  starts
	damages []*damage
	hiding  []*damage // those that may hide batches that nobody knows of
	// entered is how many of hiding lie before the last intact head. A log that its
	// table does not list began after it.
	entered int
	unit    UnitNumber

	remembered  *damage // stands for damages in segments that were reclaimed
	headHiding  int     // hiding damages before the last intact head
	controlLost bool    // control records after that head are lost for certain
	// trusting: no table yet says where logs begin, and no unit is missing, so the first
	// batch or row of each is taken as it is, while no more than blind damages hide anything.
	trusting bool
	blind    int
	unsorted int // how many of segs have tables that stood changed

	running bool // one segment of a running journal is replayed

	holes          []*hole
	repairs        []*repairFile
	spares         []string // written before: they only prove that there was a journal
	junk           []string // repairs that fill nothing, files that never became a segment
	lastSegment    uint64
	lastGeneration uint64
	lastSpare      uint64
	lastNew        uint64
	lastRepair     uint64

	readBytes, totalBytes int64 // of segments; for Options.Reading
}

// segmentFile is one segment as it was found.
type segmentFile struct {
	seg   *segment
	head  *head // nil: it does not hold
	fault error // why
	bare  bool  // it does not hold, but what it says of its file is true: no unit before the first is missing
	size  int64
	cut   bool // shorter than its head says
}

func newRecovery(o *Options) *recovery {
	return &recovery{o: o, v: newVerifier(), logs: map[wire.LogID]*logState{}}
}

// look points the window at a file. Only one file is open at a time.
func (r *recovery) look(name string) error {
	r.close()
	full := r.o.path(name)
	f, err := r.o.FS.Open(full)
	if r.running && errors.Is(err, fs.ErrNotExist) {
		f, err = goneFile{}, nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", full, err)
	}
	return r.w.reset(f, full)
}

// goneFile stands for a segment that was removed under a running journal: it is empty.
type goneFile struct{ vfs.File }

func (goneFile) Size() (int64, error)              { return 0, nil }
func (goneFile) ReadAt([]byte, int64) (int, error) { return 0, io.EOF }
func (goneFile) Close() error                      { return nil }

func (r *recovery) reading(bytes int) error {
	r.readBytes += int64(bytes)
	if err := r.o.Reading(min(r.readBytes, r.totalBytes), r.totalBytes); err != nil {
		return fmt.Errorf("%s: %w", r.o.Dir, err)
	}
	return nil
}

func (r *recovery) close() {
	if r.w.f != nil {
		_ = r.w.f.Close() // only read from
		r.w.f = nil
	}
}

// run does steps 1 to 5.
func (r *recovery) run() error {
	if err := r.list(); err != nil {
		return err
	}
	if err := r.judgeHeads(); err != nil {
		return err
	}
	if err := r.judgeAbsence(); err != nil {
		return err
	}
	for i, f := range r.files {
		limit, mark := r.limits(i)
		if err := r.enter(f, i == 0); err != nil {
			return err
		}
		r.segs = append(r.segs, f.seg)
		if err := r.replaySegment(f, limit, mark); err != nil {
			return err
		}
	}
	for _, s := range r.segs[:r.unsorted] {
		slices.SortFunc(s.tails, func(a, b headLog) int { return a.log.Compare(b.log) })
	}
	r.suspects()
	for _, h := range r.holes {
		r.settle(h)
	}
	if err := r.loadRepairs(); err != nil {
		return err
	}
	r.finish()
	return nil
}

// list finds the files of the directory and reads the heads of the segments.
func (r *recovery) list() error {
	names, err := r.o.FS.List(r.o.Dir)
	if err != nil {
		return fmt.Errorf("%s: %w", r.o.Dir, err)
	}
	for _, name := range names { // sorted, and so are the numbers in them
		if n, ok := fileNumber(sparePrefix, name); ok {
			r.spares = append(r.spares, name)
			r.lastSpare = max(r.lastSpare, n)
		}
		if n, ok := fileNumber(newPrefix, name); ok {
			r.junk = append(r.junk, name)
			r.lastNew = max(r.lastNew, n)
		}
		if n, ok := fileNumber(repairPrefix, name); ok {
			r.lastRepair = max(r.lastRepair, n)
			r.repairs = append(r.repairs, &repairFile{name: name, number: n})
		}
		if n, ok := fileNumber(namePrefix, name); ok {
			r.files = append(r.files, &segmentFile{seg: &segment{name: name, number: n}})
		}
	}
	// Every file is flushed before it counts: the process that wrote it, or who copied
	// the directory, may have left it in the system's cache. From the newest down to the
	// first whose head holds, it is also read from the medium: after a flush that failed
	// bytes may lie in the cache as clean, so that no flush would ever write them (fsync
	// study, ATC 2020). The flushes of older ones ended well before that head was written.
	refreshed := false
	for _, f := range slices.Backward(r.files) {
		if err := r.look(f.seg.name); err != nil {
			return err
		}
		flush := r.refresh
		if refreshed {
			flush = r.flush
		}
		if err := flush(); err != nil {
			return err
		}
		r.totalBytes += r.w.size
		if err := r.readHead(f); err != nil {
			return err
		}
		refreshed = refreshed || f.head != nil
	}
	return nil
}

// flush makes the window's file durable.
func (r *recovery) flush() error {
	if plant.OldNotFlushed {
		return nil
	}
	if err := r.w.f.Sync(); err != nil {
		return fmt.Errorf("%s: %w", r.w.name, err)
	}
	return nil
}

// refresh has the window's file read from the medium, and flushed before it counts.
func (r *recovery) refresh() error {
	if plant.RecoveredNotFlushed {
		return nil
	}
	if err := r.w.f.Refresh(); err != nil {
		return fmt.Errorf("%s: %w", r.w.name, err)
	}
	return nil
}

// limits says which units of file i may count at all, and up to which one every
// unit must: both are what the heads behind it say.
func (r *recovery) limits(i int) (limit, mark UnitNumber) {
	limit = math.MaxUint64
	for k := len(r.files) - 1; k > i; k-- {
		f := r.files[k]
		switch {
		case f.head != nil:
			limit = min(limit, f.head.prev)
			mark = max(mark, f.head.mark, f.head.prev)
		case f.seg.generation != 0:
			limit = min(limit, f.seg.first-1)
			mark = max(mark, f.seg.first-1)
		}
	}
	if plant.StaleUnit {
		limit = math.MaxUint64
	}
	return limit, min(mark, limit)
}

// enter compares what was replayed so far with the table of the next head. An error
// is a newer release's control state.
func (r *recovery) enter(f *segmentFile, oldest bool) error {
	name := r.o.path(f.seg.name)
	if f.head == nil {
		d := &damage{seg: f.seg, Damage: Damage{File: name, Reason: f.fault.Error()}}
		f.seg.bare = f.bare
		if !f.bare && (oldest || f.seg.generation == 0) {
			r.hide(d) // else units that are missing leave a gap
		} else {
			r.add(d)
		}
		if oldest {
			r.trust(f.bare)
			return nil
		}
		f.seg.tails, f.seg.tailsKnown = tableOf(r.logs), true // as far as anybody knows
		return nil
	}
	found := &Damage{File: name, Unit: f.seg.first}
	if oldest {
		r.unit, found = f.head.prev, nil
	}
	r.enterTable(f.seg, f.head.logs, found)
	r.trusting = false
	r.entered = len(r.hiding)
	kept, err := decodeStarts(f.head.starts)
	if err != nil {
		r.add(&damage{seg: f.seg, Damage: Damage{File: name, Reason: err.Error()}})
	}
	for _, s := range kept.arrived {
		r.starts.add(s)
	}
	if r.o.Kind != Own {
		return nil
	}
	control, err := decodeControl(f.head.control)
	switch {
	case errors.Is(err, wire.ErrVersion):
		return fmt.Errorf("%s: %w", name, err)
	case err != nil:
		r.add(&damage{seg: f.seg, Damage: Damage{File: name, Reason: err.Error()}})
		r.controlLost = true
	default:
		r.control, r.controlLost, r.headHiding = control, false, len(r.hiding)
	}
	return nil
}

// trust has the first word about each log be taken as it is, if the head alone is lost.
func (r *recovery) trust(bare bool) { r.trusting, r.blind = bare, len(r.hiding) }

// trusts says whether this is the first word about a log: only lost heads spoke of it
// before. Where units are missing, too, the log may have had batches in them.
func (r *recovery) trusts(st *logState) bool {
	return r.trusting && len(r.hiding) == r.blind && st.durable.Position == (wire.Position{})
}

// stood puts where a log stood, before the first word about it, into the tables of the
// lost heads, which said so. run sorts them.
func (r *recovery) stood(log wire.LogID, tail Tail) {
	if tail.Position.Seq == 0 {
		return // it begins there
	}
	for _, s := range r.segs {
		s.tails = append(s.tails, headLog{log: log, tail: tail})
	}
	r.unsorted = len(r.segs)
}

// enterTable takes over a table of tails. found is where it stands, if something
// was replayed before it that must agree; else nil.
func (r *recovery) enterTable(s *segment, rows []headLog, found *Damage) {
	for i := range rows {
		row := &rows[i]
		st := r.logs[row.log]
		if st == nil {
			st = &logState{hiding: r.entered}
			r.logs[row.log] = st
		}
		trusted := r.trusts(st)
		if trusted && !row.begins {
			r.stood(row.log, row.tail)
		}
		if found != nil && !trusted && !row.begins && st.durable.Position != row.tail.Position {
			at := *found
			at.Reason = fmt.Sprintf("log %s ends at %s, the table of tails says %s",
				row.log, st.durable.Position, row.tail.Position)
			r.gap(s, st, at).addHole(row.log, st.durable.Position, row.tail.Position)
		}
		st.durable, st.suspect = row.tail, row.suspect
		if !row.suspect {
			st.hiding = len(r.hiding)
		}
	}
}

// suspects marks the logs that a hiding damage may have shortened: nothing
// proves where they end.
func (r *recovery) suspects() {
	control := r.logs[r.o.controlLog()]
	unread := r.headHiding < len(r.hiding) && (control == nil || control.hiding < len(r.hiding))
	unheard := control == nil && r.report.LogsUnknown
	r.report.ControlSuspect = r.o.Kind == Own && (r.controlLost || unread || unheard)
	hiding := len(r.hiding)
	for log, st := range r.logs {
		lost := st.hiding < hiding
		if log.Shard == wire.ShardControl {
			st.suspect = false // no peer can prove it; the report says so instead
			continue
		}
		st.suspect = st.suspect || lost
		if st.suspect {
			r.holes = append(r.holes, &hole{Hole: Hole{Log: log, From: st.durable.Position}, damage: r.hidden(st)})
		}
	}
	slices.SortFunc(r.holes, func(a, b *hole) int { return a.Log.Compare(b.Log) })
	for _, h := range r.holes {
		h.damage.holes = append(h.damage.holes, h)
	}
	for _, d := range r.damages {
		for _, h := range d.holes {
			if !h.Open() {
				r.holes = append(r.holes, h)
			}
		}
	}
}

// settle corrects, in memory, the tables of segments between a hole and the place
// that proved it: where a head is lost or its row suspect, they end in the hole, and
// whoever is sent there would miss its repair.
func (r *recovery) settle(h *hole) {
	if h.Open() {
		return
	}
	for _, s := range r.segs[slices.Index(r.segs, h.damage.seg)+1:] {
		if row, ok := rowOf(s.tails, h.Log); ok {
			if h.TakesNext(row.tail.Position) {
				row.tail.Position = h.To
			}
			continue
		}
		i, _ := slices.BinarySearchFunc(s.tails, h.Log, headLog.compare)
		s.tails = slices.Insert(s.tails, i, headLog{log: h.Log, tail: Tail{Position: h.To}})
	}
}

// hidden is the damage behind which a suspect log may go on.
func (r *recovery) hidden(st *logState) *damage {
	if n := len(r.hiding); n > 0 {
		return r.hiding[min(st.hiding, n-1)]
	}
	// The damaged segment is gone, a head's table remembers.
	s := r.segs[len(r.segs)-1]
	if r.remembered == nil {
		r.remembered = r.o.remembered(s, s.end, s.last)
		s.damages = append(s.damages, r.remembered)
	}
	return r.remembered
}

// finish fills in the report.
func (r *recovery) finish() {
	for log, st := range r.logs {
		st.staged = st.durable
		if st.suspect {
			r.report.Suspect = append(r.report.Suspect, log)
		}
	}
	slices.SortFunc(r.report.Suspect, wire.LogID.Compare)
	for _, d := range r.damages {
		if d.shows() {
			r.report.Damage = append(r.report.Damage, d.Damage)
		}
	}
	for _, s := range r.segs {
		slices.SortStableFunc(s.damages, (*damage).compare)
	}
}

// clean removes what is left over.
func (r *recovery) clean() error {
	for _, name := range slices.Concat(r.junk, r.spares) {
		if err := r.o.FS.Remove(r.o.path(name)); err != nil {
			return fmt.Errorf("%s: %w", r.o.path(name), err)
		}
	}
	return nil
}
