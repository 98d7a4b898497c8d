package engine

import (
	"context"
	"fmt"
)

// Ready waits until the shard's log takes appends and the Store shows every
// entry that the log has, those that a peer gave back included. A host that
// validates against its Store before it appends asks it for each shard after
// Open: what Open still redoes would contradict what was validated without it.
// Errors are those of Append.
func (e *Engine) Ready(ctx context.Context, shard Shard) error {
	if int64(shard) >= int64(len(e.shards)) {
		return fmt.Errorf("shard %d: the engine has %d: %w", shard, len(e.shards), ErrOptions)
	}
	if err := e.admit(ctx, shard); err != nil || e.o.AppendAt {
		return err
	}
	s := &e.shards[shard]
	s.mu.Lock()
	defer s.mu.Unlock()
	return e.wait(ctx, s, s.local, AppliedHere)
}
