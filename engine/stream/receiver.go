package stream

import (
	"fmt"
	"time"

	"github.com/claudefs/repl/engine/internal/plant"
	"github.com/claudefs/repl/engine/role"
	"github.com/claudefs/repl/engine/step"
	"github.com/claudefs/repl/wire"
)

// Tail is where a mirrored log ends, what is staged and not yet flushed
// included.
type Tail struct {
	wire.Position
	Stamp wire.Stamp
}

// Rules is what a batch of a session must fit.
type Rules struct {
	Cluster wire.ClusterID
	Site    wire.SiteID // the session's peer
	Shards  uint32
	Writers role.Writers
}

// Judge decides on a batch by its header alone. The order is identity, shard,
// writer, incarnation, order, chain (I11). take: it continues the log; neither
// take nor why: we have it already.
func (r *Rules) Judge(tail *Tail, h *wire.BatchHeader) (take bool, why *step.Stop) {
	if why := r.identity(h); why != nil {
		return false, why
	}
	first, last := h.FirstSeq, h.LastSeq()
	switch tail.Fit(h) {
	case wire.FitOpens, wire.FitStrange:
		return false, step.Stopf(wire.RefuseUnknownIncarnation,
			"seq %d: incarnation %s is offered, %s is held here up to seq %d: only bootstrap changes it",
			first, h.Incarnation, tail.Incarnation, tail.Seq)
	case wire.FitHeld, wire.FitEnds:
		return false, nil
	case wire.FitFork:
		return false, step.Stopf(wire.RefuseChain,
			"histories differ: the batch that ends at seq %d has chain %s at the source, %s here",
			last, h.Chain, tail.Chain)
	case wire.FitStraddles:
		return false, step.Stopf(wire.RefuseChain,
			"histories differ: the batch of seqs %d to %d, chain %s at the source, straddles seq %d, chain %s, here",
			first, last, h.Chain, tail.Seq, tail.Chain)
	case wire.FitGap:
		return false, step.Stopf(wire.RefuseGap,
			"the batch begins at seq %d, the log ends at seq %d here", first, tail.Seq)
	case wire.FitParts:
		return false, step.Stopf(wire.RefuseChain,
			"histories differ: the batch of seq %d follows chain %s at the source, seq %d has chain %s here",
			first, h.Prev, tail.Seq, tail.Chain)
	}
	if h.FirstStamp <= tail.Stamp {
		return false, step.Stopf(wire.RefuseOrder, "seq %d is stamped %d, seq %d before it %d",
			first, h.FirstStamp, tail.Seq, tail.Stamp)
	}
	return true, nil
}

func (r *Rules) identity(h *wire.BatchHeader) *step.Stop {
	switch {
	case h.Cluster != r.Cluster:
		return step.Stopf(wire.RefuseCluster,
			"seq %d is of cluster %016x, this is %016x", h.FirstSeq, h.Cluster, r.Cluster)
	case h.Site != r.Site:
		return step.Stopf(wire.RefuseSite, "seq %d is of site %08x, the session is that of site %08x",
			h.FirstSeq, h.Site, r.Site)
	case uint32(h.Shard) >= r.Shards:
		return step.Stopf(wire.RefuseShardRange, "shard %d, the cluster has %d", h.Shard, r.Shards)
	case h.Kind == wire.BatchControl:
		return step.Stopf(wire.RefuseMalformed, "seq %d is a control batch: those are never shipped", h.FirstSeq)
	}
	if code, text := r.Writers.Judge(h); code != 0 {
		return &step.Stop{Code: code, Text: text}
	}
	return nil
}

// Follow moves the tail behind a batch that Judge took.
func (t *Tail) Follow(h *wire.BatchHeader) {
	t.Position, t.Stamp = h.End(), h.LastStamp
}

// Receiver numbers the frames of one session and knows which of them wait for
// a flush. It outlives the session's link: a newer session begins when nothing
// is under way any more.
type Receiver struct {
	flight Flight
	number uint64 // of the newest frame
}

// Begin starts the numbers of a new session; nothing may be under way.
func (r *Receiver) Begin() {
	r.flight.Reset()
	r.number = 0
}

// Busy says that frames wait for a flush.
func (r *Receiver) Busy() bool { return r.flight.Len() > 0 }

// Used is how many bytes wait for a flush.
func (r *Receiver) Used() int64 { return r.flight.Bytes() }

// Open begins the frame of that number, which must be the next.
func (r *Receiver) Open(number uint64) error {
	if number != r.number+1 {
		return fmt.Errorf("frame %d after frame %d: %w", number, r.number, wire.ErrProtocol)
	}
	r.number = number
	r.flight.Open()
	return nil
}

// Add notes the end of a batch that the frame brought; see Flight.Add.
func (r *Receiver) Add(h *wire.BatchHeader, at uint64) uint64 {
	return r.flight.Add(End{h.Shard, h.End(), h.LastStamp}, at)
}

// Close puts the frame under way until ticket is flushed. A frame that brought
// nothing new waits with those before it: it takes the ticket of the newest.
// waits is false if nothing is under way: such a frame is durable at once.
func (r *Receiver) Close(now time.Duration, ticket uint64, size int64) (waits bool) {
	if ticket == 0 && r.flight.Len() == 0 {
		return false
	}
	if ticket == 0 {
		ticket = r.flight.Newest().Ticket
	}
	r.flight.Close(Frame{Number: r.number, Ticket: ticket, Bytes: size, At: now})
	return true
}

// Fail says that this ticket's batches were not staged or not flushed.
// It says whether any frame of this receiver waits for it.
func (r *Receiver) Fail(ticket uint64) bool { return r.flight.Fail(ticket) }

// Next takes the oldest frame if ticket covers it or it failed, with the ends
// that it brought, borrowed until Open.
func (r *Receiver) Next(ticket uint64) (f Frame, ends []End, ok bool) {
	if r.flight.Len() == 0 {
		return f, nil, false
	}
	if oldest := r.flight.Oldest(); oldest.Ticket > ticket && !oldest.Failed {
		return f, nil, false
	}
	f, ends = r.flight.Take()
	return f, ends, true
}

// Takes says whether batches are received on: while more than max bytes that came wait
// for the medium, their links are not read, and their senders feel it (I10).
func Takes(waiting, max int64) bool { return waiting <= max || plant.NoBackPressure }
