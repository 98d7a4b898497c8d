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
