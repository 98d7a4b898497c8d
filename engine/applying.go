package engine

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/claudefs/repl/engine/apply"
	"github.com/claudefs/repl/engine/node"
	"github.com/claudefs/repl/engine/store"
	"github.com/claudefs/repl/engine/store/journal"
	"github.com/claudefs/repl/wire"
)

const (
	// applyWorkers serve the shards, each those with its number modulo this. A
	// Store may wait for a disk, so there are a few more than cores need.
	applyWorkers = 4
	// roundBytesMax is how much one round of a reader hands to the workers.
	roundBytesMax = 1 << 20
	// readPauseMin and readPauseMax are how long after a failed read of a journal it is
	// tried again; the pause doubles.
	readPauseMin = 50 * time.Millisecond
	readPauseMax = 5 * time.Second
	// roundShort is how long a round may be expected to take that its reader applies by
	// itself: about what waking the workers costs.
	roundShort = 100 * time.Microsecond
)

// appliers turn durable batches into effects: one reader per journal, a fixed set
// of workers, one apply.Applier per shard.
//
//  1. wakeUp: the flusher made a unit durable. Readers see durable units only.
//
//  2. turn: the reader takes up to roundBytesMax and lets apply.Feed decide which batches follow.
//
//  3. apply: a short round, and one part of a long one, is the reader's own work, so that
//     a single entry wakes nobody; share hands the other parts to the workers.
//
//  4. tell: results move the feed's cursors, wake waiters and go to the heart.
//
//  5. takeDirty: housework flushes the shards that were applied to.
//
//     own journal ───▶ reader ─┐          ┌─▶ worker 0: shards 0, 4, 8 …
//     ├─ rounds ─┼─▶ …
//     mirror journal ▶ reader ─┘          └─▶ worker 3: shards 3, 7, 11 …
type appliers struct {
	e       *Engine
	shards  []*apply.Applier // each used under the lock of its worker only
	locks   [applyWorkers]sync.Mutex
	queues  [applyWorkers]chan *round
	readers []*applyReader
	workers sync.WaitGroup
	applied atomic.Uint64 // entries since open
	stopped atomic.Int32  // logs whose applier stopped

	learnMu sync.Mutex
	learned [2]atomic.Int64 // STARTs of each journal that the shards were told

	// held is by journal and shard which hold keeps it from being applied to, 0 = none; see hold.
	// Under the worker's lock.
	held  [node.Mirror + 1][]uint64
	holds atomic.Uint64

	dirtyMu sync.Mutex
	dirty   map[wire.Shard]bool          // applied to since the last Store.Sync
	at      map[wire.LogID]wire.Position // applied, for status
	ended   map[wire.LogID]error         // stopped logs, and why
	past    map[wire.Shard]wire.LogID    // shards whose Store is past the end of a log
	torn    map[wire.Shard]bool          // their mending is not complete
	waits   apply.Waits
}

// round is the batches of one read. Each worker writes the results of its shards.
type round struct {
	kind    node.Journal
	refs    []wire.BatchRef
	results []result
	group   sync.WaitGroup
}

type result struct {
	skip bool // the reader's: this batch is not to be applied
	done bool
	err  error
}

// newAppliers takes the Store's cursors for all shards.
func newAppliers(e *Engine) (*appliers, error) {
	a := &appliers{
		e: e, dirty: make(map[wire.Shard]bool), at: make(map[wire.LogID]wire.Position),
		ended: make(map[wire.LogID]error), past: make(map[wire.Shard]wire.LogID), torn: make(map[wire.Shard]bool),
	}
	var scratch [applyWorkers]apply.Scratch
	for shard := range e.o.Shards {
		applier, err := apply.NewSharing(wire.Shard(shard), e.o.Store, &scratch[shard%applyWorkers])
		if errors.Is(err, store.ErrTorn) {
			a.torn[wire.Shard(shard)] = true
			applier, err = apply.New(wire.Shard(shard), tornStore{e.o.Store})
		}
		if err != nil {
			return nil, fmt.Errorf("store of site %s: %w", e.id.siteName, err)
		}
		a.shards = append(a.shards, applier)
	}
	for i := range a.queues {
		a.queues[i] = make(chan *round, 2) // one of each reader
	}
	a.learn()
	return a, nil
}

// cursors are the applied positions of all logs, sorted by log. Only before
// start.
func (a *appliers) cursors() []wire.Cursor {
	var all []wire.Cursor
	for shard, applier := range a.shards {
		if !a.torn[wire.Shard(shard)] {
			all = applier.Cursors(all)
		}
	}
	slices.SortFunc(all, func(x, y wire.Cursor) int { return x.Log.Compare(y.Log) })
	return all
}

// positions are the applied positions of all logs, sorted by log.
func (a *appliers) positions() (all []wire.Cursor) {
	a.dirtyMu.Lock()
	defer a.dirtyMu.Unlock()
	for log, at := range a.at {
		all = append(all, wire.Cursor{Log: log, Position: at})
	}
	slices.SortFunc(all, func(x, y wire.Cursor) int { return x.Log.Compare(y.Log) })
	return all
}

// start begins to apply, but for the held shards. A host that applies its own entries has
// only mirrored logs applied here.
func (a *appliers) start(cursors []wire.Cursor, held []wire.Shard) {
	if !a.e.o.AppendAt {
		a.add(a.e.own, cursors)
	}
	a.add(a.e.mirror, cursors)
	for shard := range a.torn {
		a.hold(shard)
	}
	for _, shard := range held {
		a.hold(shard)
	}
	for shard := range a.shards {
		a.change(wire.Shard(shard), func(*apply.Applier) []wire.LogID { return nil }) // reports what is past an end
	}
	for i := range a.queues {
		a.workers.Add(1)
		go a.work(i) // Ends when its queue is closed, after the readers have ended.
	}
	for _, r := range a.readers {
		a.e.workers.Add(1)
		go r.run() // Ends with the engine's life.
	}
}

func (a *appliers) add(f *flusher, cursors []wire.Cursor) {
	r := &applyReader{a: a, f: f, feed: apply.NewFeed(f.j, len(a.shards), a.from), kick: make(chan struct{}, 1)}
	for _, c := range cursors {
		if r.reads(c.Log) {
			r.feed.Set(c)
			a.at[c.Log] = c.Position
		}
	}
	a.held[f.kind] = make([]uint64, len(a.shards))
	f.onDurable = r.wakeUp
	a.readers = append(a.readers, r)
}

// reads says whether a log is in the reader's journal.
func (r *applyReader) reads(log wire.LogID) bool {
	return (log.Site == r.a.e.id.site) == (r.f.kind == node.Own)
}

// work applies the batches of one worker's shards, in the order of the rounds.
func (a *appliers) work(worker int) {
	defer a.workers.Done()
	for r := range a.queues[worker] {
		a.part(worker, r)
		r.group.Done()
	}
}

// part applies one worker's part of a round, in its order.
func (a *appliers) part(worker int, r *round) {
	a.locks[worker].Lock()
	defer a.locks[worker].Unlock()
	for i := range r.refs {
		b, result := &r.refs[i], &r.results[i]
		if int(b.Header.Shard)%applyWorkers == worker && !result.skip && a.held[r.kind][b.Header.Shard] == 0 {
			result.done, result.err = a.shards[b.Header.Shard].Apply(a.e.life, b)
			if result.done {
				a.e.verifier.Passed(a.e.life, &b.Header)
			}
		}
	}
}

// end ends the workers; the readers have ended.
func (a *appliers) end() {
	for _, queue := range a.queues {
		close(queue)
	}
	a.workers.Wait()
}

// applyReader walks one journal behind its flushes.
type applyReader struct {
	a      *appliers
	f      *flusher
	kick   chan struct{} // capacity 1
	again  atomic.Bool   // a repair is in place, or what was refused is due: read from the cursors on
	resets []reset       // under appliers.dirtyMu
	reader *journal.Reader
	round  round
	input  node.Applied

	// Of the goroutine.
	feed *apply.Feed
	each time.Duration // what a batch of the last round took
}

func (r *applyReader) wakeUp() {
	select {
	case r.kick <- struct{}{}:
	default:
	}
}

// run applies until the engine's life ends. A read that fails is tried again after a
// pause: what is durable is applied whether anything follows it or not (I14).
func (r *applyReader) run() {
	defer r.a.e.workers.Done()
	defer r.leave()
	pause := time.NewTimer(0)
	defer pause.Stop()
	wait := time.Duration(0)
	for r.a.e.life.Err() == nil {
		if r.again.Swap(false) {
			r.leave()
			r.reset()
		}
		more, err := r.turn()
		switch {
		case err != nil:
			r.failed(err)
			wait = min(max(2*wait, readPauseMin), readPauseMax)
			pause.Reset(wait)
		case more:
			wait = 0
			r.a.e.storeWorks(r.work())
			continue
		default:
			wait = 0
			r.a.e.storeWorks(r.work())
			pause.Stop()
		}
		select {
		case <-r.kick:
		case <-pause.C:
		case <-r.a.e.life.Done():
		}
	}
}

// leave gives up the reader, and its pin; the next turn begins at the cursors.
func (r *applyReader) leave() {
	if r.reader != nil {
		r.reader.Close()
		r.reader = nil
	}
}

func (r *applyReader) work() storeWork {
	if r.f.kind == node.Own {
		return storeOwn
	}
	return storeMirror
}

// failed reports a failed read, unless the journal has stopped, which is reported anyway.
func (r *applyReader) failed(err error) {
	if r.f.err() == nil && !r.a.e.closing.Load() && !errors.Is(err, journal.ErrClosed) {
		r.a.e.storeFailed(r.work(), fmt.Errorf("applying from the %s journal: %w", r.f.name, err))
	}
}

// seek places the reader so that it meets everything that the Store lacks. A
// log whose next batch is gone stops with the reason; the others go on.
func (r *applyReader) seek() error {
	r.feed.Begin()
	r.a.dirtyMu.Lock()
	r.a.waits.Begin(r.reads)
	r.a.dirtyMu.Unlock()
	reader, err := r.f.j.ReadRetained(r.feed.End, func(log wire.LogID, err error) {
		r.stop(log, fmt.Errorf("the Store is at seq %d, and the journal has given back what follows: "+
			"restore a newer copy of the Store: %w", r.feed.End(log).Seq, err))
	})
	r.reader = reader
	return err
}

// turn reads and applies once; false when the reader stands at the end.
func (r *applyReader) turn() (more bool, err error) {
	if r.reader == nil {
		if err := r.seek(); err != nil {
			return false, err
		}
	}
	refs, err := r.reader.Next(roundBytesMax)
	switch {
	case errors.Is(err, journal.ErrDamaged):
		return true, nil // what it took is being fetched; the others go on
	case err != nil || len(refs) == 0:
		return false, err
	}
	r.apply(refs)
	return true, nil
}

// apply has a round applied, waits for it, because the batches are borrowed until the
// next read, and tells what moved.
func (r *applyReader) apply(refs []wire.BatchRef) {
	r.a.learn()
	round, parts := &r.round, [applyWorkers]bool{}
	round.kind, round.refs = r.f.kind, refs
	round.results = slices.Grow(round.results[:0], len(refs))[:len(refs)]
	for i := range refs {
		h := &refs[i].Header
		takes := r.feed.Takes(h)
		round.results[i] = result{skip: !takes}
		worker := int(h.Shard) % applyWorkers
		parts[worker] = parts[worker] || takes
	}
	begin := time.Now()
	r.share(parts, r.each*time.Duration(len(refs)) < roundShort)
	r.each = time.Since(begin) / time.Duration(len(refs))
	r.tell(refs)
}

// share applies the parts of a round that have something: all by itself if that is
// short, else the last one, beside the workers of the others.
func (r *applyReader) share(parts [applyWorkers]bool, short bool) {
	round, own := &r.round, -1
	for worker, has := range parts {
		switch {
		case !has:
			continue
		case own >= 0 && short:
			r.a.part(own, round)
		case own >= 0:
			round.group.Add(1)
			r.a.queues[own] <- round
		}
		own = worker
	}
	if own >= 0 {
		r.a.part(own, round)
	}
	round.group.Wait()
}

// tell reports what a round moved, and what it stopped: first what status shows,
// then the heart, then the waiters, who may ask for either.
func (r *applyReader) tell(refs []wire.BatchRef) {
	e := r.a.e
	var waiting []*apply.WaitError
	for i := range refs {
		h, result := &refs[i].Header, &r.round.results[i]
		switch {
		case result.err != nil:
			wait, past := apply.Refused(result.err)
			switch {
			case wait != nil:
				r.feed.Wait(h)
				waiting = append(waiting, wait)
			case past != nil:
				r.feed.Wait(h)
			default:
				r.stop(h.Log(), result.err)
			}
		case result.done:
			r.a.applied.Add(uint64(h.Count))
			r.feed.Moved(h)
		}
	}
	cursors := r.feed.TakeMoved()
	r.input.Cursors = cursors
	if len(cursors)+len(waiting) > 0 {
		r.a.moved(cursors, waiting)
	}
	if len(cursors) == 0 {
		return
	}
	e.clock.applied()
	e.step(&r.input)
	if r.f.kind == node.Own {
		for _, c := range cursors {
			e.ownApplied(c.Log, c.Position)
		}
	}
}

// moved notes what a round applied, and which of its logs wait for others. The reader of
// a log that need not wait begins again.
func (a *appliers) moved(cursors []wire.Cursor, waiting []*apply.WaitError) {
	a.dirtyMu.Lock()
	defer a.dirtyMu.Unlock()
	for _, c := range cursors {
		a.dirty[c.Log.Shard] = true
		a.at[c.Log] = c.Position
	}
	if len(waiting)+len(a.waits.All()) == 0 {
		return
	}
	a.again(a.waits.Moved(cursors, waiting, func(log wire.LogID) wire.Position { return a.at[log] }))
}

// stop ends a log permanently: once that is reported, nobody waits for it.
func (r *applyReader) stop(log wire.LogID, err error) {
	if r.a.e.life.Err() != nil || !r.feed.Stop(log) {
		return
	}
	r.a.stopped.Add(1)
	r.a.dirtyMu.Lock()
	r.a.ended[log] = err
	r.a.dirtyMu.Unlock()
	if r.f.kind == node.Own {
		r.a.e.ownStopped(log, err)
	}
	r.a.e.step(&node.ApplyStopped{Log: log, Err: err})
}

// takeDirty returns the shards applied to since the last call, sorted.
func (a *appliers) takeDirty() []wire.Shard {
	a.dirtyMu.Lock()
	defer a.dirtyMu.Unlock()
	var shards []wire.Shard
	for shard := range a.dirty {
		shards = append(shards, shard)
	}
	clear(a.dirty)
	slices.Sort(shards)
	return shards
}

// putBack has the next takeDirty return these shards too: they were not synced.
func (a *appliers) putBack(shards []wire.Shard) {
	a.dirtyMu.Lock()
	defer a.dirtyMu.Unlock()
	for _, shard := range shards {
		a.dirty[shard] = true
	}
}

// endedBy is why a log is applied no more; nil while it is.
func (a *appliers) endedBy(log wire.LogID) error {
	a.dirtyMu.Lock()
	defer a.dirtyMu.Unlock()
	return a.ended[log]
}

// repaired has the journal's reader begin again at the cursors.
func (a *appliers) repaired(f *flusher) {
	for _, r := range a.readers {
		if r.f == f {
			r.again.Store(true)
			r.wakeUp()
		}
	}
}
