package stream

import (
	"fmt"
	"time"

	"github.com/claudefs/repl/engine/internal/plant"
	"github.com/claudefs/repl/engine/step"
	"github.com/claudefs/repl/wire"
)

type senderLog struct {
	sent     wire.Position // the peer has it, or will once what is under way arrives
	in       bool
	unproven bool   // sent's chain has not been compared with our own batches yet
	older    bool   // batches of other incarnations are older: sent's is our newest, and the reader is not there yet
	end      uint64 // see Flight.Add
}

// Sender is the source's side of one session: what the peer has, what is under
// way to it, and which logs are out. Begin every log, then Pass every batch
// that the reader meets and ship those that it says to.
type Sender struct {
	Window Window

	logs   []senderLog
	flight Flight
	// 0 <= durable <= received <= number, and what is under way lies above durable.
	number   uint64 // of the newest frame
	received uint64
	durable  uint64
	building Frame
}

// NewSender returns a sender for logs of shards [0, count).
func NewSender(count uint32, windowMin, windowMax int64) *Sender {
	return &Sender{Window: Window{Min: windowMin, Max: windowMax}, logs: make([]senderLog, count)}
}

// Reset begins a new session: nothing is under way, every log is out.
func (s *Sender) Reset() {
	s.Window.Reset()
	s.flight.Reset()
	if !plant.ResumeFromSent {
		clear(s.logs)
	}
	s.number, s.received, s.durable, s.building = 0, 0, 0, Frame{}
}

// Drop gives up what is under way, because the link is gone, and returns how
// many bytes that was.
func (s *Sender) Drop() int64 {
	size := s.flight.Bytes()
	s.flight.Reset()
	return size
}

// Begin takes a log into the session. The peer has it up to peer, we up to own. proven
// says that the chain at the peer's place equals ours.
func (s *Sender) Begin(shard wire.Shard, peer, own wire.Position, proven bool) {
	older := peer.Seq != 0 && peer.Incarnation == own.Incarnation
	s.logs[shard] = senderLog{sent: peer, in: true, unproven: !proven, older: older}
}

// Older notes that the log went on in another incarnation: what the peer has is of one before.
func (s *Sender) Older(shard wire.Shard) { s.logs[shard].older, s.logs[shard].unproven = false, false }

// Moved notes that the peer came to have more of what this session does not ship.
func (s *Sender) Moved(shard wire.Shard, to wire.Position) { s.logs[shard].sent = to }

// Out takes a log out of the session.
func (s *Sender) Out(shard wire.Shard) { s.logs[shard].in = false }

// In says whether a log is in the session.
func (s *Sender) In(shard wire.Shard) bool { return s.logs[shard].in }

// Sent is what the peer has of a log or will have from this session.
func (s *Sender) Sent(shard wire.Shard) wire.Position { return s.logs[shard].sent }

// Unproven says that the chain at the peer's position is still to be compared.
func (s *Sender) Unproven(shard wire.Shard) bool {
	return s.logs[shard].in && s.logs[shard].unproven
}

// Head compares with the tail that a log has where the reader stands. The log
// is out if the batches that the peer needs lie before the reader, or the
// chains differ at its position (I4).
func (s *Sender) Head(shard wire.Shard, tail wire.Position) *step.Stop {
	l := &s.logs[shard]
	switch order := tail.Order(l.sent); {
	case !l.in || order == wire.OrderBefore || order == wire.OrderUnknown && l.older:
		return nil
	case order == wire.OrderAfter:
		l.in = false
		return notRetained(l.sent.Seq, tail.Seq+1)
	}
	return l.prove(tail, "that ends")
}

func notRetained(peer, first wire.Seq) *step.Stop {
	return step.Stopf(wire.RefuseNotRetained,
		"the peer has it up to seq %d, the oldest kept batch begins at seq %d: bootstrap needed", peer, first)
}

// prove compares the chain of our own batch boundary at the peer's seq.
func (l *senderLog) prove(own wire.Position, which string) *step.Stop {
	if !own.Same(l.sent) {
		l.in = false
		return l.strange(own.Seq, own.Incarnation)
	}
	if own.Chain != l.sent.Chain {
		l.in = false
		return step.Stopf(wire.RefuseChain,
			"histories differ: the batch %s at seq %d has chain %s here, %s at the peer",
			which, own.Seq, own.Chain, l.sent.Chain)
	}
	l.unproven, l.older = false, false
	return nil
}

// strange words another incarnation of ours than the peer's.
func (l *senderLog) strange(seq wire.Seq, i wire.Incarnation) *step.Stop {
	return step.Stopf(wire.RefuseUnknownIncarnation, "seq %d: incarnation %s here, %s at the peer",
		seq, i, l.sent.Incarnation)
}

// Pass looks at the next batch of the reader and says whether it is to be
// shipped. A log whose history differs from the peer's leaves the session.
func (s *Sender) Pass(h *wire.BatchHeader) (ship bool, why *step.Stop) {
	l := &s.logs[h.Shard]
	if !l.in {
		return false, nil
	}
	l.older = l.older && h.Incarnation != l.sent.Incarnation
	fit := l.sent.Fit(h)
	switch fit {
	case wire.FitHeld:
		return false, nil
	case wire.FitEnds, wire.FitFork:
		if l.unproven {
			return false, l.prove(h.End(), "that ends")
		}
		return false, nil
	case wire.FitOpens, wire.FitStrange:
		if l.older {
			return false, nil
		}
		if fit == wire.FitOpens && h.OpensEpoch() { // whoever passes it on knows that the peer has what it names
			l.unproven = false
			return true, nil
		}
		l.in = false
		return false, l.strange(h.FirstSeq, h.Incarnation)
	case wire.FitStraddles:
		l.in = false
		return false, step.Stopf(wire.RefuseChain,
			"histories differ: the batch of seqs %d to %d, chain %s here, straddles seq %d, chain %s, at the peer",
			h.FirstSeq, h.LastSeq(), h.Chain, l.sent.Seq, l.sent.Chain)
	case wire.FitGap:
		l.in = false
		return false, notRetained(l.sent.Seq, h.FirstSeq)
	}
	if l.unproven || l.sent.Seq != 0 {
		before := wire.Position{Incarnation: h.Incarnation, Seq: l.sent.Seq, Chain: h.Prev}
		if why := l.prove(before, "that ends"); why != nil {
			return false, why
		}
	}
	return true, nil
}

// Check says which of the sender's inequalities does not hold.
func (s *Sender) Check() error {
	if s.durable > s.received || s.received > s.number || uint64(s.flight.Len()) > s.number {
		return fmt.Errorf("sender: frame %d is durable, %d received, %d sent, %d under way",
			s.durable, s.received, s.number, s.flight.Len())
	}
	return nil
}

// Busy says whether anything is under way.
func (s *Sender) Busy() bool { return s.flight.Len() > 0 }

// Free is how many bytes the window still takes.
func (s *Sender) Free() int64 { return s.Window.Bytes() - s.flight.Bytes() }

// Used is how many bytes are under way.
func (s *Sender) Used() int64 { return s.flight.Bytes() }

// Frames is how many frames are under way.
func (s *Sender) Frames() int { return s.flight.Len() }

// Open begins the next frame.
func (s *Sender) Open() {
	s.flight.Open()
	s.building = Frame{Number: s.number + 1}
}

// Add puts a batch that Pass said to ship into the frame.
func (s *Sender) Add(h *wire.BatchHeader) {
	l := &s.logs[h.Shard]
	l.sent = h.End()
	l.end = s.flight.Add(End{h.Shard, l.sent, h.LastStamp}, l.end)
	s.building.Bytes += int64(h.Bytes())
}

// Close puts the frame under way and returns its number and size.
func (s *Sender) Close(now time.Duration) (number uint64, size int64) {
	s.Window.Sent(now, &s.building, s.flight.Len() == 0)
	s.flight.Close(s.building)
	s.number++
	return s.number, s.building.Bytes
}

// Received takes an ack that frames up to number are in the peer's memory. It
// returns the ends that are new, borrowed until Open.
func (s *Sender) Received(number uint64) ([]End, error) {
	if number > s.number || number < s.received {
		return nil, fmt.Errorf("ack of frame %d as received: sent up to %d, received up to %d: %w",
			number, s.number, s.received, wire.ErrProtocol)
	}
	s.received = number
	return s.flight.Receive(number), nil
}

// Durable takes an ack that frames up to number are flushed at the peer; Next
// then gives them one by one.
func (s *Sender) Durable(number uint64) error {
	if number > s.received || number < s.durable {
		return fmt.Errorf("ack of frame %d as durable: received up to %d, durable up to %d: %w",
			number, s.received, s.durable, wire.ErrProtocol)
	}
	s.durable = number
	return nil
}

// Next takes the next frame that became durable and returns its ends, borrowed
// until Open. Ends of logs that are out say nothing.
func (s *Sender) Next(now time.Duration) ([]End, bool) {
	if s.flight.Len() == 0 || s.flight.Oldest().Number > s.durable {
		return nil, false
	}
	f, ends := s.flight.Take()
	s.Window.Acked(now, &f)
	return ends, true
}
