package store

import (
	"context"
	"errors"

	"github.com/claudefs/repl/wire"
)

// ErrUnknownOp is what Apply wraps when the host does not know an operation.
// The log stops with the reason, until a host that knows it takes over.
var ErrUnknownOp = errors.New("unknown operation")

// Store is the host's replicated state. The engine calls Apply from one
// goroutine per shard at a time; other methods at any time, from any goroutine.
// What a method is given is borrowed for the call, what it returns is the caller's.
// An error of Apply stops that log (see ErrUnknownOp); one of another method stops
// what asked for it, and is told. Contract tests: storetest.Run.
type Store interface {
	// Cursors returns, for every log of the shard that Apply ever named, the
	// position in the state as it stands now. After a crash the state and its
	// cursors are those of one earlier moment, at or behind the last Apply. A cursor is kept
	// whole, with its epoch; one that an older release wrote has none, and reads as 0.
	Cursors(shard wire.Shard) ([]Cursor, error)

	// Versions appends to dst the unstable versions of each key: the entries,
	// losers included, that a later entry may be concurrent with. Only used when
	// a domain has several writers at once.
	Versions(shard wire.Shard, keys [][]byte, dst []Version) ([]Version, error)

	// Apply makes one change, all or nothing: effects, versions, losers and
	// cursors in one commit. It may become durable later, but in order, per
	// shard. c is borrowed for the call. An error means that nothing of c was
	// done; the engine stops that log and says so. Applying a change whose
	// cursors the state already covers does not happen.
	Apply(ctx context.Context, c *Change) error

	// Durable returns the cursors of a shard that would survive a crash now: at
	// or behind Cursors. What lies between could be needed from the journal again.
	Durable(shard wire.Shard) ([]Cursor, error)

	// Sync makes everything applied so far durable.
	Sync(ctx context.Context) error

	// Export streams the state of keys, with the cursors of the same snapshot, until
	// visit returns an error, which it returns. key and state are borrowed for the visit.
	Export(ctx context.Context, shard wire.Shard, keys [][]byte, visit func(key, state []byte) error) ([]Cursor, error)

	// Digest is one hash over the shard's replicated state in the key range
	// [lo, hi) (nil = unbounded), independent of how it came about, with the
	// cursors of the same snapshot. Equal states have equal digests at all sites.
	Digest(ctx context.Context, shard wire.Shard, lo, hi []byte) ([32]byte, []Cursor, error)
}

// Cursor is one log's applied position.
type Cursor = wire.Cursor

// Change is what one batch does to one shard.
type Change struct {
	Shard    wire.Shard
	Batch    *wire.BatchHeader // the batch that is decided
	Effects  []wire.Entry      // entries that take effect, in order; borrowed
	Losers   []Loser
	Versions []Version // replace all that the Store holds for their keys; a zero Dot means none
	Cursors  []Cursor  // the state's cursors after this change; others stay
}

// Dot names the entry that wrote a version; the zero Dot names none.
type Dot struct {
	Site        wire.SiteID
	Incarnation wire.Incarnation
	Seq         wire.Seq
	Stamp       wire.Stamp
}

// Version is one unstable entry of a key: one that a later entry may still be
// concurrent with.
type Version struct {
	Key   []byte
	Dot   Dot
	Loser bool
}

// Loser is an entry that lost a conflict, kept with what it would have done or
// what it had done.
type Loser struct {
	Entry       wire.Entry
	Dot         Dot
	Winner      Dot
	BeforeImage []byte // what the Store held before the effect that is taken back; nil if it had none
}
