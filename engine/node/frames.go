package node

import (
	"fmt"

	"github.com/claudefs/repl/engine/internal/plant"
	"github.com/claudefs/repl/engine/stream"
	"github.com/claudefs/repl/wire"
)

// decoder is a control message that can be read from the body of its frame.
type decoder interface{ Decode(body []byte) error }

// frameRule is one kind of frames: when it may come, what its body is, and what is done
// with it. What came is Node.msg.in.
type frameRule struct {
	due  func(*link) bool
	body func(*messages) decoder // nil: batches
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
	wire.FrameHello:         {dueFirst, func(m *messages) decoder { return &m.hello }, (*Node).hello},
	wire.FrameWelcome:       {dueAnswer, func(m *messages) decoder { return &m.welcome }, (*Node).welcomed},
	wire.FrameRefusal:       {dueAlways, func(m *messages) decoder { return &m.refusal }, (*Node).refused},
	wire.FrameBatches:       {dueAccepted, nil, (*Node).batches},
	wire.FrameAck:           {dueLive, func(m *messages) decoder { return &m.ack }, (*Node).acked},
	wire.FrameBatchRefusal:  {dueLive, func(m *messages) decoder { return &m.batchRefusal }, (*Node).batchRefused},
	wire.FrameCursorPage:    {dueDialed, func(m *messages) decoder { return &m.page }, (*Node).paged},
	wire.FrameHeartbeat:     {dueAccepted, func(m *messages) decoder { return &m.heartbeat }, (*Node).heartbeat},
	wire.FrameHeartbeatEcho: {dueDialed, func(m *messages) decoder { return &m.echo }, (*Node).echoed},
	wire.FrameFetch:         {dueEither, func(m *messages) decoder { return &m.fetch }, (*Node).fetchAsked},
	wire.FrameFetched:       {dueEither, nil, (*Node).fetched},
	wire.FrameFetchEnd:      {dueEither, func(m *messages) decoder { return &m.fetchEnd }, (*Node).fetchEnded},
	wire.FrameVerify:        {dueEither, func(m *messages) decoder { return &m.verify }, (*Node).verifyAsked},
	wire.FrameVerified:      {dueEither, func(m *messages) decoder { return &m.verified }, (*Node).verified},
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
	if n.msg.in = *in; r.body != nil {
		if err := r.body(&n.msg).Decode(in.Body); err != nil {
			return err
		}
	}
	return r.take(n, l)
}
