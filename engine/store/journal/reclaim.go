package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/claudefs/repl/engine/internal/plant"
	"github.com/claudefs/repl/wire"
)

// tableOf is the sorted table of durable tails.
func tableOf(logs map[wire.LogID]*logState) []headLog {
	rows := make([]headLog, 0, len(logs))
	for log, st := range logs {
		if st.durable.Position != (wire.Position{}) {
			rows = append(rows, headLog{
				log: log, tail: st.durable, suspect: st.suspect, begins: st.adopted == st.durable.Position,
			})
		}
	}
	slices.SortFunc(rows, func(a, b headLog) int { return a.log.Compare(b.log) })
	return rows
}

// rowOf returns a log's row in a sorted table.
func rowOf(rows []headLog, log wire.LogID) (*headLog, bool) {
	i, found := slices.BinarySearchFunc(rows, log, headLog.compare)
	if !found {
		return nil, false
	}
	return &rows[i], true
}

// covers says whether a position that somebody has lies at or behind a tail that
// segment i begins with. Between incarnations the younger one covers, and
// younger is what STARTs, later segments and the current tails know. The lock is held.
func (j *Journal) covers(have wire.Position, i int, row *headLog) bool {
	if order := have.Order(row.tail.Position); order != wire.OrderUnknown {
		return order != wire.OrderBefore
	}
	if j.starts.cameBefore(row.log, row.tail.Position.Incarnation, have.Incarnation) {
		return true
	}
	for _, s := range j.segs[i+1:] {
		if later, ok := rowOf(s.tails, row.log); ok && later.tail.Position.Incarnation == have.Incarnation {
			return true
		}
	}
	st := j.logs[row.log]
	return st != nil && st.durable.Position.Incarnation == have.Incarnation
}

// ask calls have for each log of the tables, without the lock, so that have may
// call the journal.
func ask(have func(wire.LogID) wire.Position, tables ...[]headLog) map[wire.LogID]wire.Position {
	said := map[wire.LogID]wire.Position{}
	for _, rows := range tables {
		for i := range rows {
			log := rows[i].log
			if _, known := said[log]; !known && log.Shard != wire.ShardControl {
				said[log] = have(log)
			}
		}
	}
	return said
}

// ask is ask for every log that the journal knows.
func (j *Journal) ask(have func(wire.LogID) wire.Position) (map[wire.LogID]wire.Position, error) {
	j.mu.Lock()
	if j.closed {
		j.mu.Unlock()
		return nil, ErrClosed
	}
	newest := j.segs[len(j.segs)-1]
	known := [][]headLog{newest.tails, tableOf(j.logs)} // a table never loses a log that an older one has
	j.mu.Unlock()
	return ask(have, known...), nil
}

// SegmentStart finds where a reader must begin so that it meets every retained
// batch that ends beyond have(log), for every log of the journal (have returns
// the zero Position for "nothing"): the first unit of the newest such segment.
// tails is called with the tail of every log at that point, as the segment's head
// has it (a chain to compare with for logs that have nothing beyond it).
// ErrNotRetained names the first log whose next batch is gone. A position in an
// incarnation that no head's table and no tail knows counts as nothing.
func (j *Journal) SegmentStart(have func(wire.LogID) wire.Position, tails func(wire.LogID, Tail)) (UnitNumber, error) {
	said, err := j.ask(have)
	if err != nil {
		return 0, err
	}
	j.mu.Lock()
	first, rows, err := j.startFor(said)
	j.mu.Unlock()
	if err != nil || tails == nil {
		return first, err
	}
	for i := range rows {
		if rows[i].log.Shard != wire.ShardControl {
			tails(rows[i].log, rows[i].tail)
		}
	}
	return first, nil
}

// NotRetained returns every log, sorted, of which whoever has have(log) needs a batch
// that is gone: those that keep [Journal.SegmentStart] from serving him. One walk over
// the tables, whatever their number; have may call the journal.
func (j *Journal) NotRetained(have func(wire.LogID) wire.Position) []wire.LogID {
	j.mu.Lock()
	if j.closed {
		j.mu.Unlock()
		return nil
	}
	oldest, begins := j.segs[0].tails, slices.Clone(j.begins)
	j.mu.Unlock()
	said := ask(have, oldest, begins)
	j.mu.Lock()
	defer j.mu.Unlock()
	var gone []wire.LogID
	for i := range j.segs[0].tails {
		row := &j.segs[0].tails[i]
		if row.log.Shard != wire.ShardControl && !j.covers(said[row.log], 0, row) {
			gone = append(gone, row.log)
		}
	}
	for i := range begins {
		if row := &begins[i]; !j.covers(said[row.log], len(j.segs)-1, row) {
			gone = append(gone, row.log)
		}
	}
	slices.SortFunc(gone, wire.LogID.Compare)
	return slices.Compact(gone)
}

// startFor returns the newest segment's first unit that serves whoever has what
// is said, with a copy of its table. The lock is held.
func (j *Journal) startFor(said map[wire.LogID]wire.Position) (UnitNumber, []headLog, error) {
	first, short := len(j.segs)-1, j.beganBehind(said)
	if short != nil {
		first = -1
	}
	for i := first; i >= 0; i-- {
		s := j.segs[i]
		if short = j.shortOf(i, said); short == nil {
			return s.first, slices.Clone(s.tails), nil
		}
	}
	return 0, nil, fmt.Errorf("log %s: the batch behind %s, the oldest kept one follows %s: %w",
		short.log, said[short.log], short.tail.Position, ErrNotRetained)
}

// shortOf returns the first log whose batches before segment i are still needed.
func (j *Journal) shortOf(i int, said map[wire.LogID]wire.Position) *headLog {
	s := j.segs[i]
	for k := range s.tails {
		row := &s.tails[k]
		if row.log.Shard != wire.ShardControl && !j.covers(said[row.log], i, row) {
			return row
		}
	}
	return nil
}

// Reclaim removes segments that nobody needs: a segment goes when floor
// covers the tail at its end of every log that has batches in it, and no reader
// stands in or before it. floor returns the position up to which everybody is
// served; a log that it has nothing for keeps its batches. It returns how many
// segments went. The newest two with heads that hold never go. What goes becomes a
// spare, if this opening began it, as long as no more wait than were begun between two
// calls that gave something back: a steady stream goes round in the same files (see
// NeedsSpare), however late floor rises.
// After an error nothing else goes: the next call goes on where this one failed. One
// call at a time, Trim's included.
func (j *Journal) Reclaim(floor func(wire.LogID) wire.Position) (int, error) {
	for gone := 0; ; gone++ {
		if j.stopped() {
			return gone, nil
		}
		if j.retiring == nil {
			if j.mustStay() {
				return gone, nil
			}
			if _, held := j.Holder(floor); held {
				return gone, nil
			}
			if j.retiring = j.retire(gone == 0); j.retiring == nil {
				return gone, nil
			}
			j.mu.Lock()
			owners := j.forget(j.retiring.last) // no reader can stand there any more
			j.mu.Unlock()
			release(owners)
		}
		if err := j.discard(j.retiring); err != nil {
			return gone, err
		}
		j.retiring = nil
	}
}

// retiring is a retired segment on its way out of the directory. As long as it is not
// gone, durably, no other one goes: what is left is one stretch.
type retiring struct {
	name    string
	last    UnitNumber
	repairs []string
	spare   string // the name that its file gets; empty: it is removed
	moved   bool   // it has that name, or is removed
}

func (j *Journal) stopped() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.closed || j.err != nil
}

// mustStay says whether the oldest segment is one of the newest two, or a reader stands
// in it.
func (j *Journal) mustStay() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.segs) < 2 || heads(j.segs[1:]) < headsMin && !plant.OneHeadKept {
		return true
	}
	j.awaited = j.segs[0].pins > 0
	return j.awaited
}

// unpin has a reader leave a segment. The lock is held.
func (j *Journal) unpin(s *segment) {
	s.pins--
	if !j.awaited || s != j.segs[0] || s.pins > 0 || plant.LeavingUntold {
		return
	}
	j.awaited = false
	if j.o.Left != nil {
		j.o.Left()
	}
}

// Holder returns a log that keeps the oldest segment: one with batches in it that floor
// does not cover. false: no log does, or a reader stands there. It goes on where it stood
// before, and looks at every log once more before it says that none does, because a floor
// may fall: so what rises costs what rose, and not all logs every time. floor may call
// the journal.
func (j *Journal) Holder(floor func(wire.LogID) wire.Position) (wire.LogID, bool) {
	if j.mustStay() {
		return wire.LogID{}, false
	}
	j.mu.Lock()
	segment, from := j.segs[0].number, 0
	if j.held.segment == segment {
		from = j.held.row
	}
	j.mu.Unlock()
	log, row, held := j.holderFrom(from, floor)
	if !held && from > 0 {
		log, row, held = j.holderFrom(0, floor)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.held = heldRow{segment, row}
	return log, held
}

// heldRow is where the look at the oldest segment stands: a row of the table where that
// segment ends.
type heldRow struct {
	segment uint64
	row     int
}

// holderFrom is Holder for the rows from one on; row is where it stopped.
func (j *Journal) holderFrom(from int, floor func(wire.LogID) wire.Position) (log wire.LogID, row int, held bool) {
	for row = from; ; row++ {
		var at headLog
		if row, at, held = j.rowInOldest(row); !held {
			return wire.LogID{}, 0, false
		}
		have := floor(at.log)
		j.mu.Lock()
		covered := len(j.segs) < 2 || j.covers(have, 1, &at)
		j.mu.Unlock()
		if !covered {
			return at.log, row, true
		}
	}
}

// rowInOldest returns the first row, from one on, of a log that has batches in the
// oldest segment; false when there is none, or no segment that may go.
func (j *Journal) rowInOldest(from int) (int, headLog, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.segs) < 2 {
		return 0, headLog{}, false
	}
	begin, end := j.segs[0].tails, j.segs[1].tails
	for i := from; i < len(end); i++ {
		row := &end[i]
		if row.log.Shard == wire.ShardControl {
			continue // the head has its state
		}
		if before, ok := rowOf(begin, row.log); !ok || before.tail.Position != row.tail.Position {
			return i, *row, true
		}
	}
	return 0, headLog{}, false
}

// retire takes the oldest segment, which no log holds, out of the journal; nil if it is
// the newest, or a reader stands there. first: nothing went before it in this call.
func (j *Journal) retire(first bool) *retiring {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed || len(j.segs) < 2 || j.segs[0].pins > 0 {
		return nil
	}
	s := j.segs[0]
	j.segs = j.segs[1:]
	if first { // The pace falls slowly, so that one short pause throws nothing away.
		j.pace, j.begun = max(j.begun, j.pace-1), 0
	}
	l := &retiring{name: s.name, last: s.last, repairs: j.dropRepairs(s)}
	if len(j.spares) < max(j.o.SpareMax, min(j.pace, j.o.SpareBusyMax)) && len(s.damages) == 0 && s.term == j.term {
		j.lastSpare++ // a file of an earlier opening may hold another copy's units
		l.spare = fileName(sparePrefix, j.lastSpare)
	}
	return l
}

// discard makes a retired segment's file a spare, or removes it, and goes on where
// it failed before. Its going is durable before the next one goes, so that what is
// left is always one stretch.
func (j *Journal) discard(l *retiring) error {
	o := &j.o
	if !l.moved {
		full, err := o.path(l.name), error(nil)
		if l.spare != "" {
			err = o.FS.Rename(full, o.path(l.spare))
		} else {
			err = o.FS.Remove(full)
		}
		if errors.Is(err, fs.ErrNotExist) { // somebody else removed it
			l.spare, err = "", nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", full, err)
		}
		l.moved = true
	}
	for ; len(l.repairs) > 0; l.repairs = l.repairs[1:] {
		full := o.path(l.repairs[0])
		if err := o.FS.Remove(full); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s: %w", full, err)
		}
	}
	if err := o.FS.SyncDir(o.Dir); err != nil {
		return fmt.Errorf("%s: %w", o.Dir, err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if l.spare != "" {
		j.spares = append(j.spares, l.spare)
	} else {
		j.stats.Removed++
	}
	return nil
}

// NeedsSpare: the newest segment is half full and no file waits to follow it.
// Whoever can learn now that something is needed no longer should, and call
// Reclaim; what that does not supply, Prepare makes.
func (j *Journal) NeedsSpare() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.needsSpare() && j.preparing.Load() == nil
}

// needsSpare is called with the lock held.
func (j *Journal) needsSpare() bool {
	return !j.closed && j.err == nil && len(j.spares) == 0 && j.segs[len(j.segs)-1].end >= j.o.SegmentBytes/2
}

// Trim removes the spares beyond SpareMax: the journal is at rest, and what its
// last pace needed is given back. One call at a time, Reclaim's included.
func (j *Journal) Trim() error {
	for {
		j.mu.Lock()
		n := len(j.spares)
		j.pace, j.begun = 0, 0
		if j.closed || j.err != nil || n <= j.o.SpareMax {
			j.mu.Unlock()
			return nil
		}
		full := j.o.path(j.spares[n-1])
		j.spares = j.spares[:n-1]
		j.stats.Removed++
		j.mu.Unlock()
		if err := j.o.FS.Remove(full); err != nil {
			return fmt.Errorf("%s: %w", full, err)
		}
	}
}
