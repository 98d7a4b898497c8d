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
	"cmp"
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
	e.own.giveTime()
	e.writer.Load().Close()
	e.own.rest(0)
	e.mirror.rest(0)
	founded := e.heart.node.Founded() // else the epoch is put on record when every peer was heard: Effects.Found
	durable, err := e.settleEpoch(to, primary, founded)
	if err != nil {
		return err
	}
	e.appliers.raise(to)
	e.newHeart(next, founded, durable)
	return nil
}

// settleEpoch puts an epoch on record, and makes the Store durable: it returns the cursors that the
// Store has durably. What fails is tried again: before both are done nothing is answered. It
// gives up where the engine ends, or its own journal is broken.
func (e *Engine) settleEpoch(to wire.Epoch, primary wire.SiteID, founded bool) (durable []wire.Cursor, err error) {
	for recorded := !founded; ; {
		if !recorded {
			var unit journal.UnitNumber
			if unit, err = e.record(to, primary); err == nil {
				e.own.rest(unit)
				recorded = true
			}
		}
		if broken := e.own.err(); broken != nil {
			return nil, broken
		}
		if recorded {
			durable = e.appliers.positions() // before the Sync: what comes meanwhile may not be in it
			if err = e.o.Store.Sync(e.life); err == nil {
				return durable, nil
			}
			err = fmt.Errorf("store of site %s: %w", e.id.siteName, err)
		}
		if e.life.Err() != nil {
			return nil, ErrClosed
		}
		e.tell(&event.PersistFailed{Writer: true, Err: err})
		select {
		case <-time.After(settlePause):
		case <-e.life.Done():
		}
	}
}

// settlePause is between two tries to put an epoch on record.
const settlePause = 500 * time.Millisecond

// newHeart begins again, in an epoch, from what journals and Store hold durably.
func (e *Engine) newHeart(next *epochHeld, founded bool, durable []wire.Cursor) {
	h := &e.heart
	h.mu.Lock()
	e.epoch.Store(next)
	control := e.own.j.Control()
	e.writer.Store(e.newWriter(control.ClockBound))
	boot := e.boot(&control, durable)
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
	e.step(&node.Applied{Cursors: e.appliers.positions()})
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

// giveTime returns when everything appended is staged, or drainMax has passed: a reservation that is
// out holds up no epoch.
func (f *flusher) giveTime() {
	for began := time.Now(); f.e.writer.Load().PendingBytes() > 0 && f.err() == nil; {
		if time.Since(began) > drainMax || f.e.life.Err() != nil {
			return
		}
		f.wakeUp()
		time.Sleep(restPause)
	}
}

// rest returns when a unit of the journal is durable and nothing is on its way to it: or it is broken.
func (f *flusher) rest(unit journal.UnitNumber) {
	for f.err() == nil && f.e.life.Err() == nil {
		if f.j.StagedBytes() == 0 && f.j.Durable() >= unit && f.answered() {
			return
		}
		f.wakeUp()
		time.Sleep(restPause)
	}
}

const (
	// restPause is between two looks at a journal that is to come to rest: about a flush.
	restPause = time.Millisecond
	// drainMax is how long an epoch that begins waits for what was appended before it.
	drainMax = time.Second
)

// answered says whether nobody waits for a unit.
func (f *flusher) answered() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.tickets) == 0 && len(f.persists) == 0
}

// settlePrimary says which site writes: the one that the directory has on record, or
// whose logs lie in it; else the one that the options name. founded: the directory says
// so. An option that contradicts it is refused, because a writer moves by a failover
// only; what no option says, the directory does.
func (e *Engine) settlePrimary(control *journal.Control, cursors []wire.Cursor) (founded bool, err error) {
	primary := wire.SiteIDOf(e.o.Cluster, e.o.Primary)
	if e.named != "" && primary != e.id.site && e.routeTo(primary) == nil {
		return false, fmt.Errorf("%w: Primary is %q: neither this site, %q, nor a peer has that name",
			ErrOptions, e.named, e.id.siteName)
	}
	directory := e.directory(control, cursors)
	writer := directory.Writer()
	if directory.Stale() {
		if _, err := e.record(role.First, 0); err != nil {
			return false, fmt.Errorf("own journal of site %s: %w", e.id.siteName, err)
		}
	}
	if writer == 0 {
		e.epoch.Store(&epochHeld{role.First, primary, e.o.Primary})
		return false, nil
	}
	name := e.writerName(writer, control)
	if e.named != "" && writer != primary {
		return true, fmt.Errorf("%s: site %s writes this cluster, as this directory has it, and the options name %s "+
			"as the primary: name %s, or none; to move the writer: cfs admin replication failover --to %s: %w",
			e.o.Dir, name, e.named, name, e.named, ErrOptions)
	}
	e.epoch.Store(&epochHeld{max(control.Epoch(0), role.First), writer, name})
	return true, nil
}

// directory is what this site's directory and Store show of who writes.
func (e *Engine) directory(control *journal.Control, cursors []wire.Cursor) role.Directory {
	d := role.Directory{
		Site: e.id.site, Record: control.Writer(0), Epoch: control.Epoch(0), Peers: len(control.Peers) > 0,
	}
	for _, f := range e.journals() {
		for _, log := range logsOf(f.j) {
			d.Logs = append(d.Logs, log.ID)
		}
	}
	for _, c := range cursors {
		d.Logs = append(d.Logs, c.Log)
	}
	return d
}

// writerName is how people call a site that is not a peer of this start, perhaps.
func (e *Engine) writerName(site wire.SiteID, control *journal.Control) string {
	for _, p := range control.Peers {
		if p.Site == site {
			return p.Name
		}
	}
	return e.siteName(site)
}

// found puts on record which site writes. The next flush takes the record along, and
// nothing that follows from it is acknowledged before.
func (e *Engine) found(effects *node.Effects) {
	if !effects.Found {
		return
	}
	held := e.epoch.Load()
	if _, err := e.record(held.at, held.primary); err != nil {
		// A journal that takes nothing any more says so itself; nothing is acknowledged in it.
		e.tell(&event.PersistFailed{Writer: true, Err: err})
		return
	}
	e.own.wakeUp()
}

// record stages which site writes in an epoch; 0 = that is not known.
func (e *Engine) record(epoch wire.Epoch, writer wire.SiteID) (journal.UnitNumber, error) {
	r := journal.DomainEpoch{Epoch: epoch, Writer: writer}
	return e.own.j.StageControl([]journal.ControlRecord{{Epoch: &r}}, wire.StampOf(time.Now()))
}

// withheld is why a shard that waits does.
func (e *Engine) withheld() string {
	e.heart.mu.Lock()
	defer e.heart.mu.Unlock()
	return cmp.Or(e.heart.node.Status(e.now()).Withheld, "for a peer to confirm where its log ends")
}
