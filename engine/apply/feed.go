package apply

import (
	"slices"

	"github.com/claudefs/repl/engine/internal/plant"
	"github.com/claudefs/repl/wire"
)

// Journal is what a Feed asks of the journal that its reader walks.
type Journal interface {
	// NextLost says whether what follows a position of a log was lost, and is not
	// repaired yet.
	NextLost(log wire.LogID, at wire.Position) bool
	// Repairs is how many repairs have begun.
	Repairs() uint64
	// End is where a log ends, durably; zero if it is not there.
	End(log wire.LogID) wire.Position
}

// Feed decides which of the batches that a journal's reader meets go to their appliers:
//
//  1. Set tells the Store's cursors, once.
//  2. The reader is placed beyond End of each log; Begin, before that.
//  3. Takes, for each batch in the order of the journal. A log whose next batch was lost
//     waits, and the others go on (I10).
//  4. Moved, for each batch that was applied; TakeMoved is what to report. Wait, for each that
//     was refused.
//  5. After a repair, or when what was refused is due: 2 again. Then nothing waits that has
//     its batches.
//
// Not for concurrent use; no goroutine, no clock: engine and simulator drive it alike. It
// holds about 200 bytes for each log.
type Feed struct {
	j       Journal
	shards  int
	from    func(wire.LogID) (at wire.Cursor, rest bool)
	repairs uint64 // of j, when the reader was placed
	logs    map[wire.LogID]*feedLog
	moved   []wire.Cursor
}

// feedLog is one log as its reader knows it.
type feedLog struct {
	placed  bool          // since Begin: end and begin hold
	begin   wire.Epoch    // where the reader began; what is older is not wanted. 0 = not known
	end     wire.Position // of the batches handed out so far
	applied wire.Cursor   // what the Store shows
	stopped bool
	waiting bool             // for a repair
	refused wire.Incarnation // whose next batch was refused; zero: none
	moved   int              // 1 + its place in Feed.moved; 0 = not there
}

// NewFeed begins with nothing applied. Batches of shards beyond so many are nobody's. from is
// [Applier.From] of the log's shard, for Begin; nil: reading begins behind what was applied.
func NewFeed(j Journal, shards int, from func(wire.LogID) (at wire.Cursor, rest bool)) *Feed {
	return &Feed{j: j, shards: shards, from: from, logs: make(map[wire.LogID]*feedLog)}
}

// Set tells where a log's cursor stands in the Store.
func (f *Feed) Set(c wire.Cursor) { f.log(c.Log).applied = c }

// Reset forgets what is known of a shard's logs, also that they stopped: the Store has a new
// state of it, with these cursors. The reader is to be placed again.
func (f *Feed) Reset(shard wire.Shard, cursors []wire.Cursor) {
	for id, l := range f.logs {
		if id.Shard == shard {
			*l = feedLog{}
		}
	}
	for _, c := range cursors {
		f.Set(c)
	}
}

// Wait notes that a batch was refused with a WaitError or PastError: its incarnation's batches
// are handed out again after the next Begin.
func (f *Feed) Wait(h *wire.BatchHeader) { f.log(h.Log()).refused = h.Incarnation }

// End is where a log's batches have been handed out to: what the reader begins behind.
func (f *Feed) End(log wire.LogID) wire.Position { return f.place(f.log(log), log).end }

// place finds out where the reading of a log begins.
func (f *Feed) place(l *feedLog, log wire.LogID) *feedLog {
	if l.placed {
		return l
	}
	l.placed = true
	at, rest := l.applied, false
	if f.from != nil && int64(log.Shard) < int64(f.shards) {
		at, rest = f.from(log)
	}
	l.end, l.begin = at.Position, at.Epoch
	if rest {
		l.end = f.j.End(log)
	}
	return l
}

// Begin notes that the reader is about to be placed beyond End: what was refused, and what
// waited for a repair, is met again.
func (f *Feed) Begin() {
	f.repairs = f.j.Repairs()
	for _, l := range f.logs {
		l.placed, l.refused = false, wire.Incarnation{}
		l.waiting = l.waiting && plant.WaitKept
	}
}

// Takes says whether a batch goes to its applier: not if its log stopped, if a batch before it
// was refused, or waits for a repair of what lies before the batch. A gap where the journal
// is whole is the applier's to refuse (I3), unless the reader may have passed a place before
// it was repaired.
func (f *Feed) Takes(h *wire.BatchHeader) bool {
	log := h.Log()
	l := f.log(log)
	if l.stopped || l.waiting || int64(h.Shard) >= int64(f.shards) || h.Incarnation == l.refused {
		return false
	}
	f.place(l, log)
	fit := l.end.Fit(h)
	if h.Incarnation != l.end.Incarnation && h.Epoch < max(l.begin, l.applied.Epoch) {
		return false // of an older incarnation: what survived of it is applied
	}
	gap := fit == wire.FitGap || fit == wire.FitStrange
	if gap && (f.j.NextLost(log, l.end) || f.j.Repairs() != f.repairs) {
		l.waiting = true
		return false
	}
	if !fit.Holds() && fit != wire.FitFork {
		l.end = h.End()
	}
	return true
}

// Stop takes a log out for good, and says whether it was in.
func (f *Feed) Stop(log wire.LogID) bool {
	l := f.log(log)
	was := !l.stopped
	l.stopped = true
	return was
}

// Moved notes that a batch was applied.
func (f *Feed) Moved(h *wire.BatchHeader) {
	l := f.log(h.Log())
	if l.moved == 0 {
		f.moved = append(f.moved, wire.Cursor{Log: h.Log()})
		l.moved = len(f.moved)
	}
	c := &f.moved[l.moved-1]
	c.Position, c.Epoch = h.End(), h.Epoch
	l.applied = *c
}

// TakeMoved returns the last position of each log that moved since the last call, sorted
// by log; borrowed until the next Moved.
func (f *Feed) TakeMoved() []wire.Cursor {
	moved := f.moved
	f.moved = f.moved[:0]
	for i := range moved {
		f.log(moved[i].Log).moved = 0
	}
	slices.SortFunc(moved, func(x, y wire.Cursor) int { return x.Log.Compare(y.Log) })
	return moved
}

// LastOfEach keeps the last cursor of each log, in place, and sorts them by log.
func LastOfEach(cursors []wire.Cursor) []wire.Cursor {
	slices.SortStableFunc(cursors, func(x, y wire.Cursor) int { return x.Log.Compare(y.Log) })
	kept := 0
	for i := range cursors {
		if i+1 == len(cursors) || cursors[i+1].Log != cursors[i].Log {
			cursors[kept] = cursors[i]
			kept++
		}
	}
	return cursors[:kept]
}

// log returns what is known of a log.
func (f *Feed) log(id wire.LogID) *feedLog {
	l := f.logs[id]
	if l == nil {
		l = new(feedLog)
		f.logs[id] = l
	}
	return l
}
