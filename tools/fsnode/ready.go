package fsnode

import (
	"context"
	"sync"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/tools/namespace"
	"github.com/claudefs/repl/wire"
)

// readiness remembers which shards the engine has called ready in the epoch that it holds:
// their Store shows all that their log had, so operations may be validated against it, and a
// request that was done before is known.
type readiness struct {
	store *namespace.Store

	mu     sync.Mutex
	epoch  wire.Epoch
	shards map[wire.Shard]bool
}

// wait returns when the shard is ready.
func (r *readiness) wait(ctx context.Context, e *engine.Engine, shard wire.Shard) error {
	r.begin(e.Epoch())
	r.mu.Lock()
	ready := r.shards[shard]
	r.mu.Unlock()
	if ready {
		return nil
	}
	epoch := e.Epoch()
	if err := e.Ready(ctx, shard); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.epoch == epoch {
		r.shards[shard] = true
	}
	return nil
}

// begin forgets what an earlier epoch made ready, and what was validated and not applied in it:
// that may not survive.
func (r *readiness) begin(epoch wire.Epoch) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.epoch != epoch {
		r.epoch, r.shards = epoch, map[wire.Shard]bool{}
		r.store.DropPending()
	}
}
