package engine

import (
	"time"

	"github.com/claudefs/repl/engine/event"
	"github.com/claudefs/repl/engine/node"
	"github.com/claudefs/repl/engine/store/journal"
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
		e.tell(&event.JournalDamaged{
			Journal: name, File: p.File, Offset: p.Offset, Unit: uint64(p.Unit), Reason: p.Reason,
		})
	}
}

// mend reports to the heart what the journals miss, so that it is fetched from a site
// that has it, and what they miss no more (journal.Missing).
func (e *Engine) mend() {
	var holes []journal.Hole
	for _, f := range e.journals() {
		holes = append(holes, f.j.Holes()...)
	}
	gone, ask := e.housework.missing.Update(holes)
	for _, h := range gone {
		e.step(&node.LogDamaged{Log: h.Log, From: h.From, To: h.To, Gone: true})
	}
	for _, h := range ask {
		e.step(&node.LogDamaged{Log: h.Log, From: h.From, To: h.To})
	}
	if len(holes) > 0 && !e.housework.giving {
		e.housework.giving = true
		time.AfterFunc(giveUpEvery, func() {
			e.housework.ask(func() { e.housework.giveUp = true })
		})
	}
}

// giveUpEvery is how often, while something is missing, segments that nobody needs are
// given back, and what is missing in them with them: no floor has to rise for that.
const giveUpEvery = time.Second

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
	_, err := f.j.Fill(r.log, r.refs)
	e.step(&node.Repaired{Ticket: r.ticket, Err: err})
	e.mend()
	e.appliers.repaired(f)
}
