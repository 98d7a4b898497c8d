package writer

import (
	"time"

	"github.com/claudefs/repl/engine/store/journal"
	"github.com/claudefs/repl/wire"
)

// Options of a Writer.
type Options struct {
	Cluster wire.ClusterID
	Site    wire.SiteID
	Node    wire.NodeID
	Shards  int
	Domain  wire.Domain
	Epoch   wire.Epoch
	// BytesMax bounds what is appended and not yet flushed; then Append returns
	// ErrFull.
	BytesMax int64
	// ClockFloor: no stamp at or below it is given out.
	ClockFloor wire.Stamp
	// Incarnation returns a new random identity.
	Incarnation func() wire.Incarnation
}

// Writer turns entries into closed batches, one open batch per shard. Append
// may be called by any goroutine; entries of different shards do not wait for
// one another. An entry is encoded once, into the buffer that the journal
// writes from.
type Writer struct{ unwritten int }

// New returns a Writer whose shards all start empty; SetTail tells what exists.
func New(o Options) *Writer { panic("unwritten") }

// SetTail says where the log of a shard ends, before its first Append.
func (w *Writer) SetTail(shard wire.Shard, t journal.Tail) { panic("unwritten") }

// Append encodes e as the next entry of its shard's log. index is the host's
// own, or 0.
func (w *Writer) Append(shard wire.Shard, e *wire.Entry, index uint64, wall time.Time) (wire.Ref, error) {
	panic("unwritten")
}

// Flush closes all open batches and stages them, in rising order of shard, in
// the journal; a new log gets its START batch first. It returns how many
// batches it staged.
func (w *Writer) Flush(j *journal.Journal, wall time.Time) (int, error) { panic("unwritten") }

// PendingBytes is what is appended and not yet released by the journal.
func (w *Writer) PendingBytes() int64 { panic("unwritten") }
