package fsnode

import (
	"context"
	"sync"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/wire"
)

// readiness remembers which shards the engine has called ready since it was
// opened: their Store shows all that their log had, so operations may be
// validated against it, and a request that was done before is known.
type readiness struct {
	mu     sync.Mutex
	shards map[wire.Shard]bool
}

// wait returns when the shard is ready.
func (r *readiness) wait(ctx context.Context, e *engine.Engine, shard wire.Shard) error {
	r.mu.Lock()
	ready := r.shards[shard]
	r.mu.Unlock()
	if ready {
		return nil
	}
	if err := e.Ready(ctx, shard); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.shards == nil {
		r.shards = map[wire.Shard]bool{}
	}
	r.shards[shard] = true
	return nil
}
