package sim

import (
	"errors"
	"slices"
	"time"

	"github.com/claudefs/repl/engine/apply"
	"github.com/claudefs/repl/engine/node"
	"github.com/claudefs/repl/engine/sim/plan"
	"github.com/claudefs/repl/engine/store/journal"
	"github.com/claudefs/repl/wire"
)

// feed reads one journal behind its flushes and applies what it finds.
type feed struct {
	*apply.Feed
	p     *process
	which node.Journal
	j     *journal.Journal
	r     *journal.Reader
	asked bool
	again bool // the next turn begins at the cursors
}

// kick asks for a turn.
func (f *feed) kick() {
	if f.asked || f.which == node.Own && f.p.hosted() {
		return
	}
	f.asked = true
	f.p.later(plan.PhaseApply, cpuTime, f.turn)
}

// reopen starts again behind what is applied, with the next turn: what is read is borrowed.
func (f *feed) reopen() {
	f.again = true
	f.kick()
}

func (f *feed) open() bool {
	f.Begin()
	f.p.waits.Begin(f.reads)
	r, err := f.j.ReadRetained(f.End, func(log wire.LogID, err error) {
		f.p.site.w.fail("I3", "%s: what the Store lacks is not in the journal any more: %v",
			siteNames[f.p.site.index], err)
	})
	if err != nil {
		f.unreadable(err)
		return false
	}
	f.r = r
	return true
}

func (f *feed) turn() {
	f.asked = false
	if f.again && f.r != nil {
		f.r.Close()
		f.r = nil
	}
	f.again = false
	if f.r == nil && !f.open() {
		return
	}
	refs, err := f.r.Next(f.p.site.plan().FeedBytes)
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
		f.p.later(plan.PhaseApply, readPause, f.kick)
	}
}

// apply gives batches to their appliers.
func (f *feed) apply(refs []wire.BatchRef) {
	f.p.learn()
	var waiting []*apply.WaitError
	for i := range refs {
		h := &refs[i].Header
		if !f.Takes(h) {
			continue
		}
		log := h.Log()
		done, err := f.p.appliers[log.Shard].Apply(background, &refs[i])
		switch wait, past := apply.Refused(err); {
		case wait != nil:
			f.Wait(h)
			waiting = append(waiting, wait)
		case past != nil:
			f.Wait(h)
			f.p.site.w.mark("Store past an end")
		case err != nil:
			f.p.site.w.fail("I3", "%s: the applier of log %s stopped: %v", siteNames[f.p.site.index], log, err)
		}
		if done {
			f.Moved(h)
		}
	}
	moved := slices.Clone(f.TakeMoved())
	f.p.moved(moved, waiting)
	if len(moved) > 0 {
		f.p.later(plan.PhaseApplied, cpuTime, func() {
			f.p.step(&node.Applied{Cursors: moved}, "applied", uint64(len(moved)), uint64(f.which))
		})
	}
}

// reads says whether a log is in the feed's journal.
func (f *feed) reads(log wire.LogID) bool { return (log.Site == f.p.site.id) == (f.which == node.Own) }

// learn tells the appliers which STARTs the journals have taken since.
func (p *process) learn() {
	for i, f := range [2]*flusher{p.own, p.mirror} {
		starts := f.j.StartsBeyond(p.learned[i])
		p.learned[i] += len(starts)
		for _, s := range starts {
			if int(s.Log.Shard) < len(p.appliers) {
				p.again(p.appliers[s.Log.Shard].Learn(s))
			}
		}
	}
}

// moved notes what was applied and which logs wait for others. Feeds of those that wait no
// more begin again.
func (p *process) moved(cursors []wire.Cursor, waiting []*apply.WaitError) {
	for _, c := range cursors {
		p.applied[c.Log] = c.Position
	}
	if len(waiting) > 0 {
		p.site.w.mark("applier waits for another log")
	}
	p.again(p.waits.Moved(cursors, waiting, func(log wire.LogID) wire.Position { return p.applied[log] }))
}

// again has the feeds of logs begin at the cursors.
func (p *process) again(logs []wire.LogID) {
	for _, log := range logs {
		for _, f := range p.feeds {
			if f.reads(log) {
				f.reopen()
			}
		}
	}
}
