package node

import (
	"fmt"

	"github.com/claudefs/repl/engine/internal/plant"
	"github.com/claudefs/repl/engine/stream"
	"github.com/claudefs/repl/wire"
)

// frameRule is one kind of frames: when it may come, and what is done with it. What came
// is Node.msg.
type frameRule struct {
	due  func(*link) bool
	take func(*Node, *link) error
}

// When a frame may come.
var (
	dueAlways   = func(*link) bool { return true }
	dueFirst    = func(l *link) bool { return !l.Dialed && l.peer == nil }
	dueAnswer   = func(l *link) bool { return l.Dialed && l.peer.Phase == stream.PhaseHello }
	dueAccepted = func(l *link) bool { return l.open }
	dueDialed   = func(l *link) bool { return l.Dialed && l.peer.Phase >= stream.PhaseResume }
	dueLive     = func(l *link) bool { return l.Dialed && l.peer.Phase == stream.PhaseLive }
	dueEither   = func(l *link) bool { return dueAccepted(l) || dueDialed(l) }
)

// frameRules is the one table of what may come over a link; no other kind is due.
var frameRules = map[wire.FrameKind]frameRule{
	wire.FrameHello:   message(dueFirst, (*Node).hello),
	wire.FrameWelcome: message(dueAnswer, (*Node).welcomed),
	wire.FrameRefusal: message(dueAlways, (*Node).refused),
	wire.FrameBatches: {dueAccepted, func(n *Node, l *link) error { return l.peer.Batches(&n.msg.in) }},
	wire.FrameAck:     message(dueLive, func(_ *Node, l *link, m *wire.Ack) error { return l.peer.Acked(m) }),
	wire.FrameBatchRefusal: message(dueLive, func(_ *Node, l *link, m *wire.BatchRefusal) error {
		return l.peer.BatchRefused(m)
	}),
	wire.FrameCursorPage: message(dueDialed, (*Node).paged),
	wire.FrameHeartbeat:  message(dueAccepted, (*Node).heartbeat),
	wire.FrameHeartbeatEcho: message(dueDialed, func(_ *Node, l *link, m *wire.HeartbeatEcho) error {
		return l.peer.Echoed(m)
	}),
	wire.FrameFetch: message(dueEither, func(n *Node, l *link, m *wire.Fetch) error {
		n.desk.Asked(l.Line, m, n.msg.in.Ext.Until())
		return nil
	}),
	wire.FrameFetched: {dueEither, func(n *Node, l *link) error {
		return n.desk.Fetched(l.Line, n.msg.in.Envelope.Number, n.msg.in.Headers)
	}},
	wire.FrameFetchEnd: message(dueEither, func(n *Node, l *link, m *wire.FetchEnd) error {
		return n.desk.Ended(l.Line, m)
	}),
	wire.FrameVerify: message(dueEither, func(n *Node, l *link, m *wire.Verify) error {
		n.desk.CompareAsked(l.Line, m)
		return nil
	}),
	wire.FrameVerified: message(dueEither, func(n *Node, l *link, m *wire.Verified) error {
		return n.desk.Compared(l.Line, m)
	}),
	wire.FrameMend: message(dueEither, func(n *Node, l *link, m *wire.Mend) error {
		n.desk.MendAsked(l.Line, m)
		return nil
	}),
	wire.FrameRows: message(dueEither, func(n *Node, l *link, m *wire.Rows) error {
		return n.desk.RowsCame(l.Line, m)
	}),
}

// message is the rule of a control message.
func message[M any](due func(*link) bool, take func(*Node, *link, *M) error) frameRule {
	return frameRule{due, func(n *Node, l *link) error { return take(n, l, n.msg.control.(*M)) }}
}

// messages are decoded into, so that frames allocate nothing.
type messages struct {
	in      FrameIn // that came
	control any     // its message, one of kept; nil: batches
	kept    map[wire.FrameKind]wire.Message
	refusal wire.Refusal // encoded from
}

// decode takes a frame, and its message if it has one.
func (m *messages) decode(in *FrameIn) error {
	m.in, m.control = *in, nil
	k := in.Envelope.Kind
	if m.kept[k] == nil {
		kept := wire.NewMessage(k)
		if kept == nil {
			return nil
		}
		if m.kept == nil {
			m.kept = make(map[wire.FrameKind]wire.Message)
		}
		m.kept[k] = kept
	}
	m.control = m.kept[k]
	return m.kept[k].Decode(in.Body)
}

// check says whether a frame of this kind may come on this link now.
func (r *frameRule) check(l *link, e *wire.Envelope) error {
	if r.due == nil || !r.due(l) {
		return fmt.Errorf("a frame of kind %d is not due: %w", e.Kind, wire.ErrProtocol)
	}
	if e.Kind == wire.FrameHello || e.Kind == wire.FrameRefusal || plant.StaleSession {
		return nil
	}
	if e.Session != l.Session {
		return fmt.Errorf("a frame of session %d in session %d: %w", e.Session, l.Session, wire.ErrProtocol)
	}
	return nil
}

// arrived takes a frame that is due.
func (r *frameRule) arrived(n *Node, l *link, in *FrameIn) error {
	if err := n.msg.decode(in); err != nil {
		return err
	}
	return r.take(n, l)
}
