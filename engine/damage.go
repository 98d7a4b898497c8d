package engine

import (
	"errors"
	"fmt"

	"github.com/claudefs/repl/engine/node"
	"github.com/claudefs/repl/engine/store/journal"
	"github.com/claudefs/repl/wire"
)

// Damage goes one way, whichever journal it is in and whoever meets it: Open, the
// applier, a link that ships or answers, Verify.
//
//	reader ─▶ journal: what is lost ─▶ damaged ─▶ housework: mend ─▶ heart: fetch it
//	                                                                     │
//	applier goes on at its cursors ◀── repair ◀── housework ◀── gather ◀─┘

// damaged is what a journal tells of new damage. It is called within a read, so it
// only leaves word.
func (e *Engine) damaged(name string, places []journal.Damage) {
	e.tellDamage(name, places)
	e.housework.ask(func() { e.housework.damaged = true })
}

func (e *Engine) tellDamage(name string, places []journal.Damage) {
	for i := range places {
		p := &places[i]
		e.events.tell(Event{Kind: node.EventCorruption, Shard: -1, Alarm: true, Text: fmt.Sprintf(
			"%s journal: %s: offset %d: unit %d: %s", name, p.File, p.Offset, p.Unit, p.Reason)})
	}
}

// mend reports to the heart what the journals lack, so that it is fetched from who
// has it: one hole of a log at a time, because a stretch over several asks for more
// than is missing, and two sites that each lack some of it could not help each other.
// It also reports logs that lack nothing any more, because it came or its segment was
// given back. A log whose end is not known is another matter: a session with its
// site, or its peers, proves it.
func (e *Engine) mend() {
	var holes []journal.Hole
	for _, f := range e.journals() {
		holes = append(holes, f.j.Holes()...)
	}
	lacking := make(map[wire.LogID]journal.Hole)
	for _, h := range holes {
		if e.housework.lacking[h.Log] == h {
			lacking[h.Log] = h
		}
	}
	before := e.housework.lacking
	e.housework.lacking = lacking
	for _, h := range holes {
		if _, told := lacking[h.Log]; !told && h.To != (wire.Position{}) {
			lacking[h.Log] = h
			e.step(&node.MirrorDamaged{Log: h.Log, From: h.From, To: h.To.Seq})
		}
	}
	for log := range before {
		if _, lacks := lacking[log]; !lacks {
			e.step(&node.MirrorDamaged{Log: log, Gone: true})
		}
	}
}

// closeUnits has journals that found damage write what proves it (StageIdle).
func (e *Engine) closeUnits() {
	for _, f := range e.journals() {
		if f.j.StageIdle() {
			f.wakeUp()
		}
	}
}

// repair writes a fetched piece of a journal; then the applier goes on with it.
func (e *Engine) repair(r *repair) {
	f := e.journalOf(r.log)
	f.repairs.Add(1)
	err := f.j.Repair(r.log, r.refs)
	if errors.Is(err, journal.ErrOrder) && !f.lacksAny(r.refs) {
		err = nil // it was asked for twice, or the segment was given back
	}
	e.step(&node.Repaired{Ticket: r.ticket, Err: err})
	e.mend()
	e.appliers.repaired(f)
}

// lacksAny says whether one of these batches, of one log, lies in a hole.
func (f *flusher) lacksAny(refs []wire.BatchRef) bool {
	for _, h := range f.j.Holes() {
		for i := range refs {
			if b := &refs[i].Header; h.Log == b.Log() && behind(&h, b.End()) {
				return true
			}
		}
	}
	return false
}

// behind says whether a position of its log lies in a hole: behind its begin, and
// not behind its end.
func behind(h *journal.Hole, at wire.Position) bool {
	begun := at.Incarnation != h.From.Incarnation || at.Seq > h.From.Seq
	return begun && (at.Incarnation != h.To.Incarnation || at.Seq <= h.To.Seq)
}

// lacksNext says whether what follows a position of a log was lost: the position is
// where a hole begins, or lies in it.
func (f *flusher) lacksNext(log wire.LogID, at wire.Position) bool {
	for _, h := range f.j.Holes() {
		if h.Log == log && (at == h.From || behind(&h, at) && at != h.To) {
			return true
		}
	}
	return false
}
