package sim

import (
	"errors"
	"time"

	"github.com/claudefs/repl/engine/node"
	"github.com/claudefs/repl/engine/store/journal"
	"github.com/claudefs/repl/wire"
)

// feed reads one journal behind its flushes and applies what it finds.
type feed struct {
	p       *process
	which   node.Journal
	of      *flusher
	j       *journal.Journal
	r       *journal.Reader
	asked   bool
	repairs int                 // of the journal, when the reader was opened
	held    map[wire.LogID]bool // logs that wait for a repair
}

// kick asks for a turn.
func (f *feed) kick() {
	if f.asked || f.which == node.Own && f.p.hosted() {
		return
	}
	f.asked = true
	f.p.later(phaseApply, cpuTime, f.turn)
}

// reopen starts again behind what is applied.
func (f *feed) reopen() {
	if f.r != nil {
		f.r.Close()
	}
	f.r = nil
	clear(f.held)
	f.kick()
}

func (f *feed) open() bool {
	f.repairs = f.of.repairs
	unit, err := f.j.SegmentStart(f.cursor, nil)
	if err != nil && f.p.site.disk.unreadable > 0 {
		f.unreadable(err)
		return false
	}
	if err != nil {
		f.p.site.w.fail("I3", "%s: what the Store lacks is not in the journal any more: %v",
			siteNames[f.p.site.index], err)
	}
	f.r = f.j.NewReader(unit)
	return true
}

func (f *feed) cursor(log wire.LogID) wire.Position {
	if int(log.Shard) >= len(f.p.appliers) {
		return wire.Position{}
	}
	return f.p.appliers[log.Shard].Cursor(log)
}

func (f *feed) turn() {
	f.asked = false
	if f.r == nil && !f.open() {
		return
	}
	refs, err := f.r.Next(f.p.site.plan().feedBytes)
	switch {
	case errors.Is(err, journal.ErrDamaged):
		f.p.site.w.mark("feed met damage")
		f.p.site.w.note(f.p.site.index, err.Error())
		f.kick()
		return
	case err != nil:
		f.unreadable(err)
		return
	case len(refs) == 0:
		return
	}
	f.apply(refs)
	f.kick()
}

// readPause is how long after a failed read a journal is tried again.
const readPause = 50 * time.Millisecond

// unreadable: a journal that cannot be read just now is tried again after a pause.
func (f *feed) unreadable(err error) {
	s := f.p.site
	switch {
	case f.j.Err() != nil:
	case s.disk.unreadable == 0 && s.disk.noFiles == 0:
		s.w.fail("world", "%s: reading %v: %v", siteNames[s.index], f.which, err)
	default:
		s.w.mark("journal unreadable")
		f.p.later(phaseApply, readPause, f.kick)
	}
}

// apply gives batches to their appliers. A log with a hole before the next batch
// waits for its repair, the others go on.
func (f *feed) apply(refs []wire.BatchRef) {
	var moved []wire.Cursor
	for i := range refs {
		h := &refs[i].Header
		log := h.Log()
		a := f.p.appliers[log.Shard]
		at := a.Cursor(log)
		if f.held[log] {
			continue
		}
		if gap := h.FirstSeq > at.Seq+1; gap && (f.of.lacksNext(log, at) || f.of.repairs != f.repairs) {
			f.held[log] = true // until the repair, after which the feed begins again
			continue
		}
		done, err := a.Apply(background, &refs[i])
		if err != nil {
			f.p.site.w.fail("I3", "%s: the applier of log %s stopped: %v", siteNames[f.p.site.index], log, err)
		}
		if done {
			moved = append(moved, wire.Cursor{Log: log, Position: a.Cursor(log)})
		}
	}
	if len(moved) > 0 {
		f.p.later(phaseApplied, cpuTime, func() {
			f.p.step(&node.Applied{Cursors: merged(moved)}, "applied", uint64(len(moved)), uint64(f.which))
		})
	}
}

// merged keeps the last cursor of each log, sorted.
func merged(moved []wire.Cursor) []wire.Cursor {
	last := map[wire.LogID]wire.Position{}
	for _, c := range moved {
		last[c.Log] = c.Position
	}
	var out []wire.Cursor
	for _, log := range sortedLogs(last) {
		out = append(out, wire.Cursor{Log: log, Position: last[log]})
	}
	return out
}
