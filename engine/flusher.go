package engine

import (
	"cmp"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/claudefs/repl/engine/event"
	"github.com/claudefs/repl/engine/node"
	"github.com/claudefs/repl/engine/store/journal"
	"github.com/claudefs/repl/engine/store/writer"
	"github.com/claudefs/repl/engine/stream"
	"github.com/claudefs/repl/wire"
)

const (
	// stagedBytesMax is how much received and not yet flushed a journal holds
	// before links stop reading: two units, one on its way and one behind it.
	stagedBytesMax = 4 << 20
	// idleAfter is how long a journal rests before its closing unit is written;
	// the format promises 1 s.
	idleAfter = 500 * time.Millisecond
	// prepareBytes is how much is written between two looks for a spare segment.
	prepareBytes = 1 << 20
	// besideMax is how many units under way an append finds and still has one begun
	// beside them at once. Beyond it the next ones begin as others end, with all that
	// gathered meanwhile: a unit costs 4 KiB and some 10 µs of a processor, however
	// little it holds.
	besideMax = 2
)

// flusher is one journal with the goroutine that flushes it. While units are on
// their way, the next one gathers: group commit without a timer.
type flusher struct {
	e         *Engine
	kind      node.Journal
	name      string
	j         *journal.Journal
	pipeline  atomic.Pointer[journal.Pipeline] // the goroutine's; for others to wake it
	quit      atomic.Bool
	over      chan struct{} // closed when the goroutine has ended
	onDurable func()        // wakes the journal's apply reader

	mu       sync.Mutex
	changed  *sync.Cond // a flush ended, or the engine ends
	tickets  []ticket   // in rising order of number
	persists []ticket
	ending   bool
	draining bool // Close waits for what was appended
	failed   error
	impeded  [impededCount]error // what is tried again, and why it does not work

	staging []wire.BatchRef // the heart's, under its mutex
	flushed time.Duration   // Mono of the last flush, under mu; 0 = at rest
	written int64           // the goroutine's: bytes since segments were last looked after
	times   flushTimes

	// The inputs of the goroutine, kept so that a flush allocates nothing.
	ownDurable node.OwnDurable
	durable    node.Durable
	applied    node.Applied
	stored     node.StoreDurable
}

func newFlusher(e *Engine, kind node.Journal, name string, j *journal.Journal) *flusher {
	f := &flusher{
		e: e, kind: kind, name: name, j: j,
		over: make(chan struct{}), onDurable: func() {},
	}
	f.changed = sync.NewCond(&f.mu)
	return f
}

// wakeUp has the goroutine look for work that is there already. While it works,
// this is two loads: it looks again before it rests.
func (f *flusher) wakeUp() {
	if p := f.pipeline.Load(); p != nil { // else it has yet to look for the first time
		p.Wake()
	}
}

// await answers a ticket when its unit is durable.
func (f *flusher) await(t ticket) {
	f.mu.Lock()
	f.tickets = append(f.tickets, t)
	f.mu.Unlock()
	f.wakeUp()
}

func (f *flusher) awaitPersist(t ticket) {
	f.mu.Lock()
	f.persists = append(f.persists, t)
	f.mu.Unlock()
	f.wakeUp()
}

// run carries units to the medium until end, and then what is left.
func (f *flusher) run() {
	defer close(f.over)
	p := f.j.OpenPipeline(journal.PipelineOptions{})
	defer func() {
		if err := p.Close(); err != nil {
			f.fail(err)
		}
	}()
	f.pipeline.Store(p)
	for {
		ending := f.quit.Load()
		for f.begin(p) {
		}
		inflight := p.Inflight()
		if inflight == 0 && ending {
			f.answer()
			return
		}
		if inflight < min(besideMax, p.Depth()) {
			// Published first, looked again then: what was added before anybody saw the
			// goroutine idle is found here, and what comes later wakes it.
			p.Idle()
			f.answer()
			if f.quit.Load() != ending || f.begin(p) {
				p.Busy()
				continue
			}
			if inflight == 0 {
				f.settle()
			}
		}
		done, err := p.End()
		if errors.Is(err, journal.ErrExhausted) {
			f.times.back(p.Inflight())
			if !f.waitForRoom(err) {
				return
			}
			continue
		}
		f.ended(p, done, err)
	}
}

// exhaustedPause is how long a flusher waits for descriptors or memory before it tries
// the next segment again.
const exhaustedPause = 100 * time.Millisecond

// waitForRoom waits a little when the next segment found no descriptor or memory; false
// when the engine ends, which what waits then cannot outlive.
func (f *flusher) waitForRoom(err error) bool {
	f.mu.Lock()
	ends := f.draining
	f.mu.Unlock()
	if ends || f.quit.Load() {
		f.fail(err)
		return false
	}
	f.impede(impededSegment, err)
	time.Sleep(exhaustedPause)
	return true
}

// begin begins one unit; false when nothing waits or there is no room.
func (f *flusher) begin(p *journal.Pipeline) bool {
	if p.Inflight() == p.Depth() {
		return false
	}
	if f.kind == node.Own && f.j.StagedBytes() == 0 {
		f.fill()
	}
	if !p.Begin() {
		return false
	}
	f.times.begin(f.e.now().Mono, f.j.StagedBytes() > 0)
	return true
}

// ended spreads the news of what became durable.
func (f *flusher) ended(p *journal.Pipeline, done journal.Flushed, err error) {
	if err != nil {
		f.e.room.flushed()
		f.fail(err)
		return
	}
	if done.Unit == 0 { // woken, or an earlier unit is still under way
		return
	}
	f.e.room.flushed()
	f.impede(impededSegment, nil)
	f.observe(p.Inflight())
	f.active(done.Bytes)
	if f.kind == node.Own && len(done.Headers) > 0 {
		f.e.ownDurable(done.Headers)
		f.ownDurable.Headers, f.ownDurable.Starts = done.Headers, f.j.StartsOf(done.Headers)
		f.e.step(&f.ownDurable)
		if f.e.o.AppendAt {
			f.hostApplied(done.Headers)
		}
	}
	f.answer()
	f.onDurable()
}

// active notes a flush. The clock and the zeroing of segments are not woken by
// every one.
func (f *flusher) active(bytes int64) {
	f.mu.Lock()
	rested := f.flushed == 0
	f.flushed = f.e.now().Mono
	f.mu.Unlock()
	if rested {
		f.e.clock.wakeUp()
	}
	if f.written += bytes; rested || f.written > prepareBytes {
		f.written = 0
		f.e.housework.prepare()
	}
}

// fill closes the open batches into the unit.
func (f *flusher) fill() {
	w := f.e.writer.Load()
	if _, err := w.Fill(f.j, time.Now()); err != nil {
		if errors.Is(err, writer.ErrClosed) && f.e.raising.Load() {
			return // the writer of the former epoch
		}
		f.fail(err)
		return
	}
	f.times.filled(f.e.opened, w.Oldest())
}

// answer tells the heart which tickets are durable, in their order.
func (f *flusher) answer() {
	unit := f.j.Durable()
	f.mu.Lock()
	number, done := uint64(0), 0
	for done < len(f.tickets) && f.tickets[done].unit <= unit {
		number = f.tickets[done].number
		done++
	}
	f.tickets = append(f.tickets[:0], f.tickets[done:]...)
	var persisted []ticket
	for len(f.persists) > 0 && f.persists[0].unit <= unit {
		persisted = append(persisted, f.persists[0])
		f.persists = append(f.persists[:0], f.persists[1:]...)
	}
	f.mu.Unlock()
	if number != 0 {
		f.durable = node.Durable{Journal: f.kind, Ticket: number}
		f.e.step(&f.durable)
	}
	for _, t := range persisted {
		f.e.step(&node.Persisted{Ticket: t.number})
	}
	f.changed.Broadcast()
}

// settle lets Close go on when everything appended is durable.
func (f *flusher) settle() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.draining && f.e.writer.Load().PendingBytes() == 0 {
		f.draining = false
		f.changed.Broadcast()
	}
}

// fail stops everything that this journal acknowledges; the first error counts.
func (f *flusher) fail(err error) {
	f.mu.Lock()
	if f.failed != nil {
		f.mu.Unlock()
		return
	}
	f.failed = err
	tickets, persists := f.tickets, f.persists
	f.tickets, f.persists, f.draining = nil, nil, false
	f.mu.Unlock()
	f.changed.Broadcast()
	err = fmt.Errorf("%s %w: %w", f.name, ErrDurability, err)
	f.e.step(&node.JournalDown{Journal: f.kind, Err: err})
	for _, t := range tickets {
		f.e.step(&node.StageFailed{Ticket: t.number, Err: err})
	}
	for _, t := range persists {
		f.e.step(&node.Persisted{Ticket: t.number, Err: err})
	}
	if f.kind == node.Own {
		f.e.fail(err)
	}
	f.e.room.flushed()
}

// waitRoom blocks while more than stagedBytesMax waits to be flushed; false when
// the engine ends.
func (f *flusher) waitRoom() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for !f.ending && f.failed == nil && !stream.Takes(int64(f.j.StagedBytes()), stagedBytesMax) {
		f.changed.Wait()
	}
	return !f.ending
}

// unblock frees who waits for room: the engine ends.
func (f *flusher) unblock() {
	f.mu.Lock()
	f.ending = true
	f.mu.Unlock()
	f.changed.Broadcast()
}

// drain returns when what was appended is durable, or cannot become it.
func (f *flusher) drain() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.draining = f.failed == nil
	f.wakeUp()
	for f.draining {
		f.changed.Wait()
	}
}

// end flushes what is left and waits for the goroutine.
func (f *flusher) end() {
	f.quit.Store(true)
	f.wakeUp()
	<-f.over
}

// restDue is when the closing unit is due; 0 = not.
func (f *flusher) restDue() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.flushed == 0 {
		return 0
	}
	return f.flushed + idleAfter
}

// atRest writes the closing unit of a journal that has nothing to do.
func (f *flusher) atRest() {
	f.mu.Lock()
	f.flushed = 0
	f.mu.Unlock()
	if f.j.StageIdle() {
		f.wakeUp()
	}
	f.e.housework.rest(f.kind)
}

// impediment is what a journal goes on without, and tries again.
type impediment int

const (
	impededSegment impediment = iota // the next segment: appends wait
	impededReclaim                   // segments cannot be given back
	impededCount
)

var impedimentEvents = [impededCount][2]event.Kind{
	impededSegment: {event.KindSegmentFailed, event.KindSegmentBegun},
	impededReclaim: {event.KindReclaimFailed, event.KindReclaimWorks},
}

// impede notes that something does not work, or, with nil, that it does again, and tells
// it once each.
func (f *flusher) impede(what impediment, err error) {
	f.mu.Lock()
	before := f.impeded[what]
	f.impeded[what] = err
	f.mu.Unlock()
	if (before == nil) == (err == nil) {
		return
	}
	if err != nil {
		f.e.tell(&event.Failed{What: impedimentEvents[what][0], Of: f.name + " journal", Err: err})
		return
	}
	f.e.tell(&event.Works{What: impedimentEvents[what][1], Of: f.name + " journal"})
}

// impediments is what does not work now; nil if all does.
func (f *flusher) impediments() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return cmp.Or(f.impeded[:]...)
}

// err is why the journal stopped; nil while it runs.
func (f *flusher) err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.failed
}
