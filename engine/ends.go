package engine

import (
	"errors"
	"fmt"
	"slices"

	"github.com/claudefs/repl/engine/apply"
	"github.com/claudefs/repl/engine/node"
	"github.com/claudefs/repl/engine/store"
	"github.com/claudefs/repl/wire"
)

// Where closed logs end reaches the appliers this way; what follows from it, package apply decides:
//
//	journals: STARTs ─▶ learn ─┐
//	                           ├─▶ change ─▶ Applier ─▶ logs whose readers begin again
//	epoch held ───────▶ raise ─┘                    └─▶ a Store past an end: status, event, waiters

// from is where the reading of a log begins. The Feed asks for shards that there are.
func (a *appliers) from(log wire.LogID) (at wire.Cursor, rest bool) {
	lock := &a.locks[int(log.Shard)%applyWorkers]
	lock.Lock()
	defer lock.Unlock()
	if a.shards[log.Shard] == nil { // a torn Store has none yet
		return wire.Cursor{Log: log}, true
	}
	return a.shards[log.Shard].From(log)
}

// learn tells the shards which STARTs the journals have taken since: those of every batch that
// was read are among them, so nothing is applied that they say is beyond an end.
func (a *appliers) learn() {
	for i, f := range a.e.journals() {
		if int(a.learned[i].Load()) == f.j.StartCount() {
			continue
		}
		a.learnMu.Lock() // who comes second waits until it is told
		starts := f.j.StartsBeyond(int(a.learned[i].Load()))
		for k := range starts {
			s := &starts[k]
			a.change(s.Log.Shard, func(shard *apply.Applier) []wire.LogID { return shard.Learn(*s) })
		}
		a.learned[i].Add(int64(len(starts)))
		a.learnMu.Unlock()
		a.e.housework.saveOrphans()
	}
}

// raise tells the shards the epoch that the site holds.
func (a *appliers) raise(held wire.Epoch) {
	for shard := range a.shards {
		a.change(wire.Shard(shard), func(s *apply.Applier) []wire.LogID { return s.Raise(a.e.id.site, held) })
	}
}

// change tells a shard something that may make batches due, has the readers of those logs begin
// again, and reports whether the Store is past an end.
func (a *appliers) change(shard wire.Shard, tell func(*apply.Applier) []wire.LogID) {
	if int64(shard) >= int64(len(a.shards)) {
		return
	}
	lock := &a.locks[int(shard)%applyWorkers]
	lock.Lock()
	applier := a.shards[shard]
	if applier == nil { // a torn Store has none yet
		lock.Unlock()
		return
	}
	on, past := tell(applier), applier.Past()
	lock.Unlock()
	a.again(on)
	a.report(shard, past)
}

// again has the readers of logs begin at the cursors.
func (a *appliers) again(logs []wire.LogID) {
	for _, log := range logs {
		for _, r := range a.readers {
			if r.reads(log) {
				r.again.Store(true)
				r.wakeUp()
			}
		}
	}
}

// reportStopped tells a new heart which logs are applied no more.
func (a *appliers) reportStopped() {
	a.dirtyMu.Lock()
	var all []node.ApplyStopped
	for log, err := range a.ended {
		all = append(all, node.ApplyStopped{Log: log, Err: err})
	}
	a.dirtyMu.Unlock()
	slices.SortFunc(all, func(x, y node.ApplyStopped) int { return x.Log.Compare(y.Log) })
	for i := range all {
		a.e.step(&all[i])
	}
}

// report tells, once, that the Store of a shard is past the end of a log, or not any more. At
// Open nobody listens yet: start reports it.
func (a *appliers) report(shard wire.Shard, past *apply.PastError) {
	if len(a.readers) == 0 {
		return
	}
	a.dirtyMu.Lock()
	log, was := a.past[shard]
	var err error
	switch {
	case past != nil && !was:
		log, err = past.At.Log, past
		a.past[shard], a.ended[log] = log, past
		a.stopped.Add(1)
	case past == nil && was:
		delete(a.past, shard)
		delete(a.ended, log)
		a.stopped.Add(-1)
	default:
		a.dirtyMu.Unlock()
		return
	}
	a.dirtyMu.Unlock()
	a.e.ownStopped(wire.LogID{Site: a.e.id.site, Shard: shard}, err)
	a.e.step(&node.ApplyStopped{Log: log, Err: err})
}

// A shard whose Store is replaced by that of another site is held meanwhile:
//
//	hold ─▶ nothing more is applied ─▶ the Store changes ─▶ release ─▶ each reader: reset ─▶ applied again
//	                                        └─ torn: it stays held, over restarts
//
// Readers go on past the batches of a held shard, and read them again after the reset.

// hold has nothing more applied to a shard, until release. Readers go on past its batches.
func (a *appliers) hold(shard wire.Shard) {
	lock := &a.locks[int(shard)%applyWorkers]
	lock.Lock()
	this := a.holds.Add(1)
	for _, r := range a.readers {
		a.held[r.f.kind][shard] = this
	}
	lock.Unlock()
	a.dirtyMu.Lock()
	delete(a.dirty, shard)
	a.dirtyMu.Unlock()
}

// forget forgets how far a held shard is applied.
func (a *appliers) forget(shard wire.Shard) {
	a.dirtyMu.Lock()
	defer a.dirtyMu.Unlock()
	for log := range a.at {
		if log.Shard == shard {
			delete(a.at, log)
		}
	}
}

// reset is a shard that goes on from what the Store shows now.
type reset struct {
	shard   wire.Shard
	hold    uint64 // which it ends; a later one stays
	cursors []wire.Cursor
}

// release has a held shard go on from what the Store shows now; its logs are stopped no
// more. The Store may be torn: then it stays held.
func (a *appliers) release(shard wire.Shard) error {
	applier, err := apply.New(shard, a.e.o.Store)
	a.dirtyMu.Lock()
	a.torn[shard] = errors.Is(err, store.ErrTorn)
	a.dirtyMu.Unlock()
	if err != nil {
		return fmt.Errorf("store of site %s: %w", a.e.id.siteName, err)
	}
	a.learnMu.Lock()
	for _, f := range a.e.journals() {
		for _, start := range f.j.StartsBeyond(0) {
			if start.Log.Shard == shard {
				applier.Learn(start)
			}
		}
	}
	applier.Raise(a.e.id.site, a.e.epoch.Load().at)
	past := applier.Past()
	lock := &a.locks[int(shard)%applyWorkers]
	lock.Lock()
	a.shards[shard] = applier
	var holds [node.Mirror + 1]uint64
	for _, r := range a.readers {
		holds[r.f.kind] = a.held[r.f.kind][shard]
	}
	lock.Unlock()
	a.learnMu.Unlock()
	a.report(shard, past)
	cursors := applier.Cursors(nil)
	a.dirtyMu.Lock()
	defer a.dirtyMu.Unlock()
	for log := range a.ended {
		if log.Shard == shard {
			delete(a.ended, log)
			a.stopped.Add(-1)
		}
	}
	for log := range a.at {
		if log.Shard == shard {
			delete(a.at, log)
		}
	}
	for _, c := range cursors {
		a.at[c.Log] = c.Position
	}
	a.dirty[shard] = true
	for _, r := range a.readers {
		r.resets = append(r.resets, reset{shard, holds[r.f.kind], cursors})
		r.again.Store(true)
		r.wakeUp()
	}
	return nil
}

// reset takes what was released meanwhile. No round of this reader is under way.
func (r *applyReader) reset() {
	r.a.dirtyMu.Lock()
	resets := r.resets
	r.resets = nil
	r.a.dirtyMu.Unlock()
	for i := range resets {
		s := &resets[i]
		r.feed.Reset(s.shard, slices.DeleteFunc(slices.Clone(s.cursors), func(c wire.Cursor) bool {
			return !r.reads(c.Log)
		}))
		lock := &r.a.locks[int(s.shard)%applyWorkers]
		lock.Lock()
		if held := r.a.held[r.f.kind]; held[s.shard] == s.hold {
			held[s.shard] = 0
		}
		lock.Unlock()
	}
}

// tornShards are the shards whose mending is not complete, sorted.
func (a *appliers) tornShards() (shards []wire.Shard) {
	a.dirtyMu.Lock()
	defer a.dirtyMu.Unlock()
	for shard, torn := range a.torn {
		if torn {
			shards = append(shards, shard)
		}
	}
	slices.Sort(shards)
	return shards
}

// tornStore is the Store as the applier of a torn shard sees it, which is held: without cursors.
type tornStore struct{ store.Store }

func (tornStore) Cursors(wire.Shard) ([]store.Cursor, error) { return nil, nil }

// backlog is how many durable entries the Store has yet to show. What a failover left behind, it
// never does.
func (a *appliers) backlog() int64 {
	entries := int64(0)
	for i, r := range a.readers {
		tails := r.f.j.Positions()
		told := int(a.learned[i].Load()) == r.f.j.StartCount() // else the ends may be those of before
		behind := make(map[wire.LogID]wire.Position)
		a.dirtyMu.Lock()
		for log, tail := range tails {
			if at := a.at[log]; tail.EntriesAfter(at) > 0 {
				behind[log] = at
			}
		}
		a.dirtyMu.Unlock()
		for log, at := range behind {
			if tail := tails[log]; told {
				entries += a.e.due(log, tail).EntriesAfter(at)
			} else {
				entries += tail.EntriesAfter(at)
			}
		}
	}
	return entries
}

// due is up to where the entries of a log survive, of those up to a position, as the heart knows:
// an applier may be waiting for its Store.
func (e *Engine) due(log wire.LogID, at wire.Position) wire.Position {
	e.heart.mu.Lock()
	defer e.heart.mu.Unlock()
	return e.heart.node.Due(log.Shard, at)
}
