package sim

import (
	"context"
	"errors"
	"slices"

	"github.com/claudefs/repl/engine/sim/plan"
	"github.com/claudefs/repl/engine/store"
	"github.com/claudefs/repl/wire"
)

// siteStore is the site's Store: the memory Store, with the checker looking at
// every change first.
type siteStore struct {
	site *site
	mem  *store.Mem
	store.Store
}

func (s *siteStore) Cursors(shard wire.Shard) ([]store.Cursor, error) { return s.mem.Cursors(shard) }

func (s *siteStore) Apply(ctx context.Context, c *store.Change) error {
	s.site.w.check.applying(s.site.index, c)
	cursors, effects := *c, *c
	cursors.Effects, effects.Cursors = nil, nil
	switch s.site.w.o.Plant {
	case plan.PlantCursorFirst:
		return errors.Join(s.mem.Apply(ctx, &cursors), s.mem.Apply(ctx, &effects))
	case plan.PlantEffectsFirst:
		return errors.Join(s.mem.Apply(ctx, &effects), s.mem.Apply(ctx, &cursors))
	}
	return s.mem.Apply(ctx, c)
}

// cursors collects the cursors of all shards, sorted by log.
func (s *siteStore) cursors(of func(*store.Mem, wire.Shard) ([]store.Cursor, error)) []wire.Cursor {
	var all []wire.Cursor
	for shard := range wire.Shard(s.site.w.plan.Shards) {
		cursors, err := of(s.mem, shard)
		if err != nil {
			s.site.w.fail("world", "cursors of the memory Store: %v", err)
		}
		all = append(all, cursors...)
	}
	slices.SortFunc(all, func(a, b wire.Cursor) int { return a.Log.Compare(b.Log) })
	return all
}

// crash loses a random part of the commits since the last flush, shard by shard.
func (s *siteStore) crash(draw plan.Stream) {
	undone := 0
	s.mem = s.mem.Crash(func(_ wire.Shard, unsynced int) int {
		kept := draw.IntN(unsynced + 1)
		undone += unsynced - kept
		return kept
	})
	if undone > 0 {
		s.site.w.mark("store went back")
	}
	s.site.w.check.storeCrashed(s.site.index, s.mem, false)
}
