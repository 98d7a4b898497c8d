package apply

import (
	"context"

	"github.com/claudefs/repl/engine/store"
	"github.com/claudefs/repl/wire"
)

// Applier decides and applies the batches of all logs of one shard, one after
// another. Not for concurrent use; no goroutine, no clock: engine and simulator
// drive it alike.
type Applier struct{ unwritten int }

// New starts behind the cursors that the Store has now.
func New(shard wire.Shard, s store.Store) (*Applier, error) { panic("unwritten") }

// Apply takes the next durable batch of a log of this shard. A batch at or
// below the cursor is skipped: done is false. One that does not continue the
// cursor by seq and chain, or an entry that must be understood and is not,
// stops the log: every later call for it returns the same error, wrapped in
// store.ErrUnknownOp, wire.ErrProtocol or the Store's own.
func (a *Applier) Apply(ctx context.Context, b *wire.BatchRef) (done bool, err error) {
	panic("unwritten")
}

// Cursor is the applied position of a log.
func (a *Applier) Cursor(log wire.LogID) wire.Position { panic("unwritten") }
