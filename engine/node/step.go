package node

import (
	"fmt"
	"time"

	"github.com/claudefs/repl/engine/event"
	"github.com/claudefs/repl/engine/step"
	"github.com/claudefs/repl/wire"
)

// Step takes one input and appends what is to be done to e.
func (n *Node) Step(now Now, in Input, e *Effects) {
	if n.over {
		over(in)
		return
	}
	n.t.Now, n.t.E = now, e
	if !n.started {
		n.start()
	}
	n.out.Step()
	switch in := in.(type) {
	case *Tick:
		n.tick(in.Receiving)
	case *LinkUp:
		n.linkUp(in)
	case *LinkDown:
		n.linkDown(in)
	case *FrameIn:
		n.frameIn(in)
	case *Sought:
		if l := n.dialed(in.Link); l != nil {
			l.peer.Sought(in)
		}
	case *ReadDone:
		if l := n.dialed(in.Link); l != nil {
			l.peer.ReadDone(in)
		}
	case *AddPeer:
		n.takeIn(in)
	case *Forget:
		n.forgetPeer(in)
	case *End:
		n.end(in)
	case *Granted:
		if l := n.links[in.Link]; l != nil {
			n.desk.Granted(l.Line, in)
		}
	case *OwnDurable:
		n.ownDurable(in)
	case *Durable:
		n.durable(in)
	case *StageFailed:
		n.stageFailed(in)
	case *Repaired:
		n.desk.Repaired(in)
	case *Persisted:
		n.persisted(in)
	case *Applied:
		n.applied(in)
	case *StoreDurable:
		n.storeDurable(in)
	case *JournalDown:
		n.journalDown(in)
	case *ApplyStopped:
		n.applyStopped(in)
	case *LogDamaged:
		n.logDamaged(in)
	case *VerifyAsk:
		n.verifyAsk(in)
	case *VerifyAnswer:
		if l := n.links[in.Link]; l != nil {
			n.desk.CompareAnswer(l.Line, in)
		}
	case *Mended:
		n.mended(in)
	}
	n.resumeLacking()
	e.Wake = n.wake()
	n.t.E = nil
}

// start is the first step, whatever its input.
func (n *Node) start() {
	n.started = true
	n.out.Start()
	n.retention.at = n.t.Now.Mono + retainEvery
	n.gate.Start()
	n.persistNext()
}

// timer is a room, or a part of one, that waits for a moment.
type timer interface {
	Due() time.Duration // step.Never: it waits for none
	Tick()              // does what is due, and else nothing
}

// timers yields every timer, in the order in which they act.
func (n *Node) timers(yield func(timer) bool) {
	if !yield(n.gate) || !yield(&n.filling) || !yield(&n.control) {
		return
	}
	for _, p := range n.peers {
		if !yield(p.Outbound) || !yield(p.Inbound) {
			return
		}
	}
	for _, l := range n.order {
		if !l.Closed && !yield(l) {
			return
		}
	}
	_ = yield(n.desk) && yield(&n.retention) && yield(n.role)
}

func (n *Node) tick(receiving []LinkID) {
	for _, id := range receiving {
		l := n.links[id]
		if l == nil || l.Closed || !l.open && !l.Dialed { // strangers get no more time
			continue
		}
		l.heard = n.t.Now.Mono
		if l.open { // its heartbeats wait behind the frame, and so would their echoes
			l.peer.SendPages()
		}
	}
	n.timers(func(t timer) bool { t.Tick(); return true })
}

// wake is when the next timer is due.
func (n *Node) wake() time.Duration {
	next := step.Never
	n.timers(func(t timer) bool { next = min(next, t.Due()); return true })
	if next == step.Never {
		return 0
	}
	return max(next, 1)
}

// ownDurable takes what the own journal flushed.
func (n *Node) ownDurable(in *OwnDurable) {
	n.out.Flushed(in.Headers, in.Starts)
	n.giveBackShown(in.Headers)
}

// durable takes the end of flushes.
func (n *Node) durable(in *Durable) {
	if in.Journal == Own {
		n.desk.Durable(in.Ticket)
		return
	}
	n.mirrors.PulledDurable(in.Ticket, n.pulled)
	for _, p := range n.peers {
		p.Flushed(in.Ticket)
		n.welcome(p)
	}
	n.mirrors.Pages()
}

// applied takes how far the Store is.
func (n *Node) applied(in *Applied) {
	for i := range in.Cursors {
		if o := n.ownLog(in.Cursors[i].Log); o != nil {
			o.applied = in.Cursors[i].Position
		}
	}
	n.mirrors.Applied(in.Cursors)
	if n.fills() {
		for i := range in.Cursors {
			n.gate.Ready(in.Cursors[i].Log.Shard)
		}
	}
}

// stageFailed: the batches of a ticket are nowhere.
func (n *Node) stageFailed(in *StageFailed) {
	if n.desk.StageFailed(in) {
		return
	}
	if log, ok := n.mirrors.PullFailed(in.Ticket); ok {
		n.t.Tell(&event.NotMirrored{Place: event.Place{Log: log}, Err: in.Err})
		n.desk.PullAgain(log)
		return
	}
	for _, p := range n.peers {
		if p.Failed(in) {
			n.welcome(p)
		}
	}
}

func (n *Node) journalDown(in *JournalDown) {
	if in.Journal == Own {
		if n.t.Down[Own] == nil {
			n.t.Down[Own] = in.Err
			n.t.Tell(&event.JournalDown{Err: in.Err})
			n.gate.RefuseAll(fmt.Errorf("site %s: %w", n.t.C.SiteName, in.Err))
		}
		return
	}
	if n.t.Down[Mirror] != nil {
		return
	}
	n.t.Down[Mirror] = in.Err
	n.t.Tell(&event.JournalDown{Err: in.Err})
	for _, l := range n.order {
		if !l.Dialed && !l.Closed {
			n.refuse(l, wire.RefuseInternal, n.mirrorDownText())
		}
	}
}

func (n *Node) applyStopped(in *ApplyStopped) {
	if n.ownLog(in.Log) == nil && n.mirrorLog(in.Log) == nil {
		return
	}
	if in.Err == nil {
		n.t.UnnoteStopped(in.Log, applierStopped)
		return
	}
	n.t.Tell(&event.ApplyStopped{Place: event.Place{Log: in.Log}, Err: in.Err})
	n.t.NoteStopped(in.Log, wire.RefuseInternal, fmt.Sprint(applierStopped, in.Err))
}

// applierStopped begins the reason of a log that the Store takes no more of.
const applierStopped = "applier stopped: "
