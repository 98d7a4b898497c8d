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
}

// Feed decides which of the batches that a journal's reader meets go to their appliers:
//
//  1. Set tells the Store's cursors, once; their epochs tell older incarnations from newer.
//  2. The reader is placed beyond End of each log; Begin, before that.
//  3. Takes, for each batch in the order of the journal. A log whose next batch was lost
//     waits, and the others go on (I10).
//  4. Moved, for each batch that was applied; TakeMoved is what to report.
//  5. After a repair: 2 again. Then nothing waits that has its batches.
//
// Not for concurrent use; no goroutine, no clock: engine and simulator drive it alike. It
// holds about 100 bytes for each log.
type Feed struct {
	j       Journal
	shards  int
	repairs uint64 // of j, when the reader was placed
	logs    map[wire.LogID]*feedLog
	moved   []wire.Cursor
}

// feedLog is one log as its reader knows it.
type feedLog struct {
	end     wire.Position // of the batches handed out so far
	epoch   wire.Epoch    // of end's incarnation; 0 = not known
	applied wire.Cursor   // what the Store shows
	stopped bool
	waiting bool // for a repair, or for another log
	moved   int  // 1 + its place in Feed.moved; 0 = not there
}

// NewFeed begins with nothing applied. Batches of shards beyond so many are nobody's.
func NewFeed(j Journal, shards int) *Feed {
	return &Feed{j: j, shards: shards, logs: make(map[wire.LogID]*feedLog)}
}

// Set tells where a log's cursor stands in the Store.
func (f *Feed) Set(c wire.Cursor) {
	l := f.log(c.Log)
	l.applied, l.end, l.epoch = c, c.Position, c.Epoch
}

// Wait notes that a batch of a log was refused with a WaitError: the log's batches are
// handed out again, from what is applied on, after the next Begin.
func (f *Feed) Wait(log wire.LogID) {
	l := f.log(log)
	l.waiting, l.end, l.epoch = true, l.applied.Position, l.applied.Epoch
}

// End is where a log's batches have been handed out to: what the reader begins behind.
func (f *Feed) End(log wire.LogID) wire.Position {
	if l := f.logs[log]; l != nil {
		return l.end
	}
	return wire.Position{}
}

// Begin notes that the reader is about to be placed beyond End: a log that waited meets
// what was repaired.
func (f *Feed) Begin() {
	f.repairs = f.j.Repairs()
	for _, l := range f.logs {
		l.waiting = l.waiting && plant.WaitKept
	}
}

// Takes says whether a batch goes to its applier: not if its log stopped, or waits for a
// repair of what lies before the batch. A gap where the journal is whole is the applier's
// to refuse (I3), unless the reader may have passed a place before it was repaired.
func (f *Feed) Takes(h *wire.BatchHeader) bool {
	l := f.log(h.Log())
	if l.stopped || l.waiting || int64(h.Shard) >= int64(f.shards) {
		return false
	}
	fit := l.end.Fit(h)
	if (fit == wire.FitOpens || fit == wire.FitStrange) && h.Epoch < l.epoch {
		return false // of an older incarnation: what survived of it is applied
	}
	gap := fit == wire.FitGap || fit == wire.FitStrange
	if gap && (f.j.NextLost(h.Log(), l.end) || f.j.Repairs() != f.repairs) {
		l.waiting = true
		return false
	}
	if !fit.Holds() && fit != wire.FitFork {
		l.end, l.epoch = h.End(), h.Epoch
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
