package engine

// A site takes a higher epoch over:
//
//  1. want: the heart, a peer's refusal or an operator names it. Housework does the rest.
//  2. The heart gives its links up, and is stepped no more; shards take no appends.
//  3. What is appended and staged is flushed, and the writer of the old epoch closes: what
//     comes between is dropped, and its outcome is unknown to who appended it.
//  4. The epoch is put on record and flushed. Nothing of it is answered before.
//  5. A new heart and a new writer begin from the journals and the Store, as after a start.
//
// Links that come up meanwhile wait for the heart's mutex, or are refused by their end.

import (
	"errors"
	"fmt"
	"time"

	"github.com/claudefs/repl/engine/event"
	"github.com/claudefs/repl/engine/node"
	"github.com/claudefs/repl/engine/role"
	"github.com/claudefs/repl/engine/store/journal"
	"github.com/claudefs/repl/wire"
)

// ErrFenced: a higher epoch began before the entry had reached its level. Whether it survives
// is not known here: it does if the site that writes now had it. Ask there, under the same
// request id.
var ErrFenced = errors.New("another epoch began")

// epochHeld is the epoch that a site holds: never changed, replaced by the next.
type epochHeld struct {
	at      wire.Epoch
	primary wire.SiteID // which writes in it
	name    string      // of that site
}

// raising is the highest epoch that is to be taken over.
type raising struct {
	to   wire.Epoch
	done chan struct{} // closed when it is
	err  error         // why it is not on record
}

// wantEpoch has a higher epoch taken over, and returns what is closed when that is done. It does
// not block: whoever calls may hold the heart's mutex.
func (e *Engine) wantEpoch(to wire.Epoch) (r *raising) {
	e.housework.ask(func() {
		w := &e.housework
		if w.raise == nil || w.raise.to < to {
			was := w.raise
			w.raise = &raising{to: to, done: make(chan struct{})}
			if was != nil { // who waits for that gets this one
				close(was.done)
			}
		}
		r = w.raise
	})
	return r
}

// takeOver is the goroutine of housework's.
func (e *Engine) takeOver(r *raising) {
	if r.to > e.epoch.Load().at {
		r.err = e.raise(r.to)
	}
	close(r.done)
}

func (e *Engine) raise(to wire.Epoch) error {
	primary := role.WriterOf(to)
	next := &epochHeld{to, primary, e.siteName(primary)}
	e.raising.Store(true)
	defer e.raising.Store(false)
	why := fmt.Sprintf("epoch %s begins, in which site %s writes", to, next.name)
	e.step(&node.End{Reason: why})
	fence := fmt.Errorf("%s: whether the entry survives is not known here, ask there: %w", why, ErrFenced)
	for s := range e.shards {
		e.shards[s].close(fence)
	}
	e.own.rest(0)
	e.writer.Load().Close()
	e.own.rest(0)
	e.mirror.rest(0)
	if e.closing.Load() {
		return ErrClosed
	}
	heart := &e.heart
	founded := heart.node.Founded()
	var failed error
	if founded { // else it is, when every peer has been heard: see Effects.Found
		var unit journal.UnitNumber
		if unit, failed = e.record(to, primary); failed == nil {
			e.own.rest(unit)
			failed = e.own.err()
		}
	}
	if err := e.o.Store.Sync(e.life); err != nil { // what it shows, it shall keep
		failed = errors.Join(failed, fmt.Errorf("store of site %s: %w", e.id.siteName, err))
	}
	if failed != nil {
		e.tell(&event.PersistFailed{Writer: true, Err: failed})
	}
	e.appliers.raise(to)
	e.newHeart(next, founded, e.own.j.Control().ClockBound)
	return failed
}

// newHeart begins again, in an epoch, from what journals and Store hold.
func (e *Engine) newHeart(next *epochHeld, founded bool, floor wire.Stamp) {
	h := &e.heart
	h.mu.Lock()
	e.epoch.Store(next)
	e.writer.Store(e.newWriter(floor))
	control := e.own.j.Control()
	cursors := e.appliers.positions()
	boot := e.boot(&control, cursors)
	boot.Founded, boot.Tickets = founded, h.node.Tickets()
	config := e.nodeConfig(randomSeed())
	h.node, h.wake = node.New(config, boot), 0
	h.recorded.Broadcast()
	h.mu.Unlock()
	for _, f := range e.journals() {
		if err := f.err(); err != nil {
			e.step(&node.JournalDown{Journal: f.kind, Err: err})
		}
	}
	e.appliers.reportStopped()
	if e.o.AppendAt {
		e.hostHas(ownTails(e.own.j))
	}
	e.step(&node.Tick{})
	e.housework.missing = journal.Missing{} // the new heart knows of none
	e.mend()
	e.clock.wakeUp()
}

// close has a shard take no appends until a new heart says so. What waits for more than it has
// reached is told so by fence.
func (s *shardState) close(fence error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open.Store(false)
	s.admission, s.refusal, s.paused = node.AdmitWaiting, nil, false
	s.fence, s.fenced = fence, s.incarnation
	s.wake()
}

// rest returns when a unit of the journal is durable and nothing waits to be: or it is broken.
func (f *flusher) rest(unit journal.UnitNumber) {
	for f.err() == nil && !f.quit.Load() {
		w := f.e.writer.Load()
		pending := f.kind == node.Own && w.PendingBytes() > 0
		if !pending && f.j.StagedBytes() == 0 && f.j.Durable() >= unit && f.answered() {
			return
		}
		f.wakeUp()
		select {
		case <-f.e.life.Done():
			return
		case <-time.After(restPause):
		}
	}
}

// restPause is between two looks at a journal that is to come to rest: about a flush.
const restPause = time.Millisecond

// answered says whether nobody waits for a unit.
func (f *flusher) answered() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.tickets) == 0 && len(f.persists) == 0
}
