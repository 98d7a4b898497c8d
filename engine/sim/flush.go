package sim

import (
	"time"

	"github.com/claudefs/repl/engine/node"
	"github.com/claudefs/repl/engine/sim/plan"
	"github.com/claudefs/repl/engine/store/journal"
	"github.com/claudefs/repl/wire"
)

// idleAfter is how long after a flush an idle journal gets its empty unit.
const idleAfter = 700 * time.Millisecond

// flusher carries one journal's units to the medium: one flush at a time, its
// steps apart in time, so that a crash may come between any two.
type flusher struct {
	p       *process
	which   node.Journal
	j       *journal.Journal
	suspect []wire.LogID
	tickets []ticket
	asked   bool              // a flush is asked for
	busy    bool              // a flush is under way
	idle    bool              // the idle unit is planned
	pipe    *journal.Pipeline // nil = one unit at a time
}

// ticket ties what the heart asked for to the unit that it lies in. Tickets are
// answered in their order, because one answer speaks for all before it.
type ticket struct {
	number  uint64
	unit    journal.UnitNumber
	persist bool
}

// dir is where the journal lies: what people know it by.
func (f *flusher) dir() string {
	if f.which == node.Mirror {
		return mirrorDir
	}
	return ownDir
}

// stage puts batches into the open unit.
func (f *flusher) stage(refs []wire.BatchRef, number uint64) {
	unit, err := f.j.Stage(refs, nil)
	if err != nil {
		f.p.later(plan.PhaseAny, cpuTime, func() {
			f.p.step(&node.StageFailed{Ticket: number, Err: err}, "stage failed", number, 0)
		})
		return
	}
	f.tickets = append(f.tickets, ticket{number: number, unit: unit})
	f.kick()
}

// kick asks for a flush of what is staged.
func (f *flusher) kick() {
	if f.asked || f.busy {
		return
	}
	f.asked = true
	f.p.later(plan.PhaseWrite, cpuTime, f.begin)
}

func (f *flusher) begin() {
	if f.p.site.disk.hung {
		return // still asked for; see stall.go
	}
	f.asked = false
	if err := f.fill(); err != nil {
		f.failed(err)
		return
	}
	if f.pipe != nil {
		f.fly()
		return
	}
	flush := f.j.BeginFlush()
	if flush == nil {
		return
	}
	f.busy = true
	w, site := f.p.site.w, f.p.site.index
	err := flush.Write()
	w.step(site, "write", uint64(f.which), errBit(err))
	f.p.later(plan.PhaseSync, f.p.site.disk.flushTime()/4, func() {
		if err == nil {
			err = flush.Sync()
		}
		w.step(site, "sync", uint64(f.which), errBit(err))
		f.p.later(plan.PhaseEnd, f.p.site.disk.flushTime(), func() { f.end(flush, err) })
	})
}

// fill closes the writer's batches into the open unit of the own journal.
func (f *flusher) fill() error {
	if f.which != node.Own {
		return nil
	}
	_, err := f.p.writer.Fill(f.j, f.p.wall())
	return err
}

// prepare does a step of zeroing the next segment. What fails there costs time
// only; the flushes will tell.
func (f *flusher) prepare() {
	if f.p.site.plan().Prepare && f.p.site.draw.OneIn(4) {
		if _, err := f.j.Prepare(); err != nil {
			f.p.site.w.mark("preparing a segment failed")
		}
	}
}

func errBit(err error) uint64 { return boolBit(err != nil) }

func (f *flusher) end(flush *journal.Flush, err error) {
	done, err := f.j.EndFlush(flush, err)
	f.p.site.w.step(f.p.site.index, "flushed", uint64(f.which), uint64(done.Unit))
	f.busy = false
	f.ended(done, err)
}

// ended goes on after one or more units, or none yet, became durable.
func (f *flusher) ended(done journal.Flushed, err error) {
	if f.waits(err) {
		return
	}
	if err != nil {
		f.failed(err)
		return
	}
	headers := append([]wire.BatchHeader(nil), done.Headers...)
	f.p.later(plan.PhaseAck, cpuTime, func() { f.told(headers, done.Unit) })
	f.kick()
}

// told spreads the news of a finished flush.
func (f *flusher) told(headers []wire.BatchHeader, unit journal.UnitNumber) {
	if f.which == node.Own {
		f.p.grew(headers)
		f.p.site.w.load.flushed(f.p.site, headers)
		if len(headers) > 0 {
			in := &node.OwnDurable{Headers: headers, Starts: f.j.StartsOf(headers)}
			f.p.step(in, "own durable", uint64(len(headers)), uint64(unit))
			if f.p.hosted() {
				f.p.hostApplied(headers)
			}
		}
	}
	f.settle()
	f.prepare()
	f.p.readOn()
	f.p.feeds[f.which-node.Own].kick()
	f.idleLater()
}

// settle answers the tickets that are done, up to the first that is not.
func (f *flusher) settle() {
	last := uint64(0)
	flushed := f.j.Durable()
	for len(f.tickets) > 0 && f.tickets[0].unit <= flushed {
		t := f.tickets[0]
		f.tickets = f.tickets[1:]
		if t.persist {
			f.p.step(&node.Persisted{Ticket: t.number}, "persisted", t.number, 0)
		} else {
			last = t.number
		}
	}
	if last != 0 {
		f.p.step(&node.Durable{Journal: f.which, Ticket: last}, "durable", uint64(f.which), last)
	}
}

// idleLater stages the empty unit that an idle journal owes its last batches.
func (f *flusher) idleLater() {
	if f.idle {
		return
	}
	f.idle = true
	f.p.later(plan.PhaseAny, idleAfter, func() {
		f.idle = false
		if f.j.StageIdle() {
			f.kick()
		}
	})
}

// failed: the journal is poisoned. The heart hears it; then the node goes down,
// as a host's does, and what the medium really has decides.
func (f *flusher) failed(err error) {
	s := f.p.site
	if !struck(err) {
		s.w.fail("I14", "%s: %s stopped, and its disk refused nothing: %v", siteNames[s.index], f.dir(), err)
	}
	s.w.mark("journal poisoned")
	f.p.step(&node.JournalDown{Journal: f.which, Err: err}, "journal down", uint64(f.which), 0)
	if !f.p.dead {
		s.die(true, s.draw.Between(20*time.Millisecond, 400*time.Millisecond), s.draw)
	}
}
