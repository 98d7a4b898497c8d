package engine

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/claudefs/repl/engine/apply"
	"github.com/claudefs/repl/engine/event"
	"github.com/claudefs/repl/engine/node"
	"github.com/claudefs/repl/engine/store"
	"github.com/claudefs/repl/engine/store/journal"
	"github.com/claudefs/repl/wire"
)

// syncEvery is how often the Store is made durable while it is applied to: it
// bounds what a crash has to redo and what the journals must keep for it.
const syncEvery = time.Second

// housework is what waits for disks and hurries nobody: making the Store
// durable, giving segments back, zeroing new ones, repairing the journals. One
// goroutine does it all, one thing after another.
type housework struct {
	kick chan struct{} // capacity 1

	mu      sync.Mutex
	sync    bool
	retains [node.Mirror + 1]bool
	rests   [node.Mirror + 1]bool
	spares  bool
	repairs []*repair
	damaged bool
	giveUp  bool
	raise   *raising // nil = no epoch is to be taken over
	orphans bool     // are to be saved

	giving  bool            // the goroutine's: giveUp will be set
	looked  bool            // the goroutine's: for orphans
	missing journal.Missing // the goroutine's
	pieces  journal.Pieces  // the heart's, under its mutex
}

func (w *housework) open() {
	w.kick = make(chan struct{}, 1)
}

// ask notes what is to be done and wakes the goroutine.
func (w *housework) ask(note func()) {
	w.mu.Lock()
	note()
	w.mu.Unlock()
	select {
	case w.kick <- struct{}{}:
	default:
	}
}

func (w *housework) syncStore()            { w.ask(func() { w.sync = true }) }
func (w *housework) retain(j node.Journal) { w.ask(func() { w.retains[j] = true }) }
func (w *housework) rest(j node.Journal)   { w.ask(func() { w.rests[j] = true }) }
func (w *housework) saveOrphans()          { w.ask(func() { w.orphans = true }) }
func (w *housework) prepare()              { w.ask(func() { w.spares = true }) }
func (w *housework) repair(r *repair)      { w.ask(func() { w.repairs = append(w.repairs, r) }) }

// run does what is asked for until the engine's life ends.
func (e *Engine) keepHouse() {
	defer e.workers.Done()
	e.mend()
	e.saveOrphans()
	w := &e.housework
	for {
		select {
		case <-w.kick:
		case <-e.life.Done():
			return
		}
		e.lockRemoved()
		w.mu.Lock()
		sync, retains, rests, spares, repairs := w.sync, w.retains, w.rests, w.spares, w.repairs
		damaged, giveUp, raise, orphans := w.damaged, w.giveUp, w.raise, w.orphans
		w.raise, w.orphans = nil, false
		w.sync, w.spares, w.repairs, w.damaged, w.giveUp = false, false, nil, false, false
		w.retains, w.rests = [node.Mirror + 1]bool{}, [node.Mirror + 1]bool{}
		w.mu.Unlock()
		if raise != nil {
			e.takeOver(raise)
		}
		if orphans || e.orphans.Stale() {
			e.saveOrphans()
		}
		if damaged {
			e.closeUnits()
			e.mend()
		}
		for _, r := range repairs {
			e.repair(r)
		}
		needy := needsSpare(e.journals())
		if sync || spares && needy {
			e.syncStore()
		}
		w.giving = w.giving && !giveUp
		for _, f := range e.journals() {
			if retains[f.kind] || giveUp || spares && f.j.NeedsSpare() {
				e.retain(f.kind)
				if w.missing.Any() || giveUp {
					e.mend() // what went is missing no more
				}
			}
			if rests[f.kind] {
				e.trim(f)
			}
		}
		if spares && e.prepareSegments() {
			w.prepare()
		}
	}
}

// syncStore makes the Store durable and tells the heart what may be forgotten.
func (e *Engine) syncStore() {
	shards := e.appliers.takeDirty()
	cursors, err := e.syncShards(shards)
	if err != nil {
		e.appliers.putBack(shards)
		if e.life.Err() == nil {
			e.storeFailed(storeSync, fmt.Errorf("store of site %s: %w", e.id.siteName, err))
			e.clock.applied() // so that it is tried again
		}
		return
	}
	e.storeWorks(storeSync)
	e.step(&node.StoreDurable{Cursors: apply.LastOfEach(cursors)})
}

// syncShards makes the Store durable and returns the cursors of these shards.
func (e *Engine) syncShards(shards []wire.Shard) (all []wire.Cursor, err error) {
	if err := e.o.Store.Sync(e.life); err != nil {
		return nil, fmt.Errorf("sync: %w", err)
	}
	for _, shard := range shards {
		cursors, err := e.o.Store.Durable(shard)
		if errors.Is(err, store.ErrTorn) {
			continue // what follows its mending is told then
		}
		if err != nil {
			return nil, fmt.Errorf("durable cursors of shard %d: %w", shard, err)
		}
		all = append(all, cursors...)
	}
	return all, nil
}

// hostApplied stands in for the Store where the host applies its own entries
// from its own log: the journal keeps nothing for it.
func (f *flusher) hostApplied(headers []wire.BatchHeader) {
	cursors := f.applied.Cursors[:0]
	for i := range headers {
		cursors = append(cursors, wire.Cursor{Log: headers[i].Log(), Position: headers[i].End()})
	}
	f.applied.Cursors = apply.LastOfEach(cursors)
	f.stored.Cursors = f.applied.Cursors
	f.e.step(&f.applied)
	f.e.step(&f.stored)
}

// hostHas tells the heart that the host needs nothing up to these cursors.
func (e *Engine) hostHas(cursors []wire.Cursor) {
	e.step(&node.Applied{Cursors: cursors})
	e.step(&node.StoreDurable{Cursors: cursors})
}

// floorOf asks the heart for one floor at a time: its mutex comes before the journal's,
// and nobody waits behind a look at all logs.
func (e *Engine) floorOf(kind node.Journal) func(wire.LogID) wire.Position {
	return func(log wire.LogID) wire.Position {
		if e.orphans.Withholds(log) {
			return wire.Position{}
		}
		e.heart.mu.Lock()
		defer e.heart.mu.Unlock()
		return e.heart.node.Floor(kind, log)
	}
}

// retain gives segments back that nobody needs.
func (e *Engine) retain(kind node.Journal) {
	f := e.flusherOf(kind)
	_, err := f.j.Reclaim(e.floorOf(kind))
	if errors.Is(err, journal.ErrClosed) {
		return
	}
	if err != nil {
		err = fmt.Errorf("cannot give segments back: %w", err)
		time.AfterFunc(retainPause, func() { e.housework.retain(kind) })
	}
	f.impede(impededReclaim, err)
}

// retainPause is how long segments that could not be given back wait for the next try.
const retainPause = 500 * time.Millisecond

// needsSpare: a journal's newest segment is half full and nothing may follow it
// yet. What peers and the Store no longer need is given back then, so that files
// go round: a peer's cursor rises with every acknowledgement and is known, the
// Store's only by its Sync, which a stream of so many bytes is worth.
func needsSpare(journals []*flusher) bool {
	return slices.ContainsFunc(journals, func(f *flusher) bool { return f.j.NeedsSpare() })
}

// trim gives the spares of a busy time back.
func (e *Engine) trim(f *flusher) {
	if err := f.j.Trim(); err != nil {
		e.tell(&event.Failed{
			What: event.KindReclaimFailed, Of: f.name + " journal: giving spare segments back", Err: err,
		})
	}
}

// prepareSegments does one step of zeroing for each journal that wants it, and
// says whether there is more.
func (e *Engine) prepareSegments() bool {
	more := false
	for _, f := range e.journals() {
		again, err := f.j.Prepare()
		if err != nil {
			// It costs the flushes some time, and they will tell if the disk is full.
			e.tell(&event.Failed{What: event.KindPrepareFailed, Of: f.name + " journal: preparing a segment", Err: err})
		}
		more = more || again
	}
	return more
}

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
