package loadtest

import (
	"context"
	"sync"

	"github.com/claudefs/repl/engine/store"
	"github.com/claudefs/repl/wire"
)

// sink is a Store that counts and forgets: it keeps cursors, and no state. Its
// methods may be called by any goroutine.
type sink struct{ shards []sinkShard }

// sinkShard has one cursor: only the near end writes, so a shard has one log.
type sinkShard struct {
	mu     sync.Mutex
	cursor []store.Cursor
}

func newSink(shards int) *sink { return &sink{make([]sinkShard, shards)} }

// Apply implements store.Store.
func (s *sink) Apply(_ context.Context, c *store.Change) error {
	shard := &s.shards[c.Shard]
	shard.mu.Lock()
	defer shard.mu.Unlock()
	shard.cursor = append(shard.cursor[:0], c.Cursors...)
	return nil
}

// Cursors implements store.Store.
func (s *sink) Cursors(shard wire.Shard) ([]store.Cursor, error) {
	at := &s.shards[shard]
	at.mu.Lock()
	defer at.mu.Unlock()
	return append([]store.Cursor(nil), at.cursor...), nil
}

// Durable implements store.Store: what the sink forgot it never needs again.
func (s *sink) Durable(shard wire.Shard) ([]store.Cursor, error) { return s.Cursors(shard) }

// Sync implements store.Store.
func (s *sink) Sync(context.Context) error { return nil }

// Versions implements store.Store.
func (s *sink) Versions(_ wire.Shard, _ [][]byte, dst []store.Version) ([]store.Version, error) {
	return dst, nil
}

// Export implements store.Store: there is nothing to visit.
func (s *sink) Export(_ context.Context, shard wire.Shard, _ [][]byte,
	_ func(key, state []byte) error) ([]store.Cursor, error) {
	return s.Cursors(shard)
}

// Digest implements store.Store: all sinks are alike.
func (s *sink) Digest(_ context.Context, shard wire.Shard, _, _ []byte) ([32]byte, []store.Cursor, error) {
	cursors, err := s.Cursors(shard)
	return [32]byte{}, cursors, err
}
