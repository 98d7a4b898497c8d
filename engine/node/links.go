package node

// What becomes of a link:
//
//  1. linkUp puts it on the list: one that we dialed says its hello, another waits for one.
//  2. frameIn takes what arrives, by the rules of frames.go.
//  3. Tick closes one that is silent, sends heartbeats, and ends grants that nobody takes.
//  4. close, refuse and malformed end it: at once here, by OpClose at the shell.
//  5. detach ends what it carried; linkDown takes it off the list.

import (
	"fmt"
	"slices"
	"time"

	"github.com/claudefs/repl/engine/event"
	"github.com/claudefs/repl/engine/fetch"
	"github.com/claudefs/repl/engine/internal/plant"
	"github.com/claudefs/repl/engine/stream"
	"github.com/claudefs/repl/wire"
)

func (n *Node) send(l *link, m wire.Message) {
	n.t.E.Send(l.Link, l.Session, m)
}

// close ends a link. What its session was is over at once; LinkDown then only
// takes the link off the list.
func (n *Node) close(l *link, reason string) {
	if l.Closed {
		return
	}
	l.Closed = true
	n.t.E.Ops = append(n.t.E.Ops, Op{Kind: OpClose, Link: l.Link, Reason: reason})
	n.detach(l, reason)
}

// refuse tells the other end why and closes.
func (n *Node) refuse(l *link, code wire.RefusalCode, text string) {
	n.msg.refusal = wire.Refusal{Code: code, Text: text}
	n.refuseWith(l)
}

func (n *Node) refuseWith(l *link) {
	if l.Closed {
		return
	}
	n.send(l, &n.msg.refusal)
	n.close(l, n.msg.refusal.Text)
}

// malformed ends a link whose other end does not keep to the protocol.
func (n *Node) malformed(l *link, err error) {
	n.t.Tell(&event.LinkClosed{Place: event.Place{Peer: l.site()}, Err: err})
	n.refuse(l, wire.RefuseMalformed, err.Error())
}

func (l *link) site() wire.SiteID {
	if l.peer == nil {
		return 0
	}
	return l.peer.Site
}

// dialed returns the open link with this id that we dialed, or nil.
func (n *Node) dialed(id LinkID) *link {
	if l := n.links[id]; l != nil && l.Dialed && !l.Closed {
		return l
	}
	return nil
}

// Due is when the link's next timer is.
func (l *link) Due() time.Duration {
	timeout := l.n.t.C.HeartbeatTimeout
	due := min(l.heard+timeout, l.Line.Due())
	if half := l.heard + timeout/2; l.n.t.Now.Mono < half {
		due = min(due, half) // to see whether bytes move
	}
	if l.Dialed {
		due = min(due, l.peer.Beats.Due())
	}
	return due
}

// Tick does what is due on the link.
func (l *link) Tick() {
	if timeout := l.n.t.C.HeartbeatTimeout; l.n.t.Now.Mono >= l.heard+timeout {
		l.n.close(l, fmt.Sprintf("silent for %s", timeout))
		return
	}
	if l.Dialed {
		l.peer.Beats.Tick()
	}
	l.n.desk.TickLine(l.Line)
}

func (n *Node) linkUp(in *LinkUp) {
	n.linkNumber++
	l := &link{Line: &fetch.Line{Link: in.Link, Number: n.linkNumber}, n: n, heard: n.t.Now.Mono, proven: in.Proven}
	n.desk.Add(l.Line)
	n.links[in.Link] = l
	n.order = append(n.order, l)
	if in.Peer == 0 {
		n.strangers++
		switch {
		case n.t.Down[Mirror] != nil:
			n.refuse(l, wire.RefuseInternal, n.mirrorDownText())
		case n.strangers > strangerMax:
			n.close(l, fmt.Sprintf("%d links wait for their hello", strangerMax))
		}
		return
	}
	l.Dialed = true
	p := n.peer(in.Peer)
	if in.Takeover && p != nil {
		n.giveWay(p)
	}
	if p == nil || !p.Configured || p.Phase != stream.PhaseDialing {
		n.close(l, "nobody dialed it")
		return
	}
	l.peer, p.link = p, l
	l.Site, l.Name = p.Site, p.Name
	p.Hello(l.Link)
	l.Session = p.Outbound.Session
}

// giveWay ends the session to p for one on a better link. What was under way is sent
// again from where the peer says that it is, as after any other end.
func (n *Node) giveWay(p *peer) {
	if p.link != nil {
		n.close(p.link, "a better link takes over")
	}
	if p.MayDial() {
		p.Phase = stream.PhaseDialing
	}
}

func (n *Node) linkDown(in *LinkDown) {
	reason := "link closed"
	if in.Err != nil {
		reason = in.Err.Error()
	}
	if in.Link == 0 {
		if p := n.peer(in.Peer); p != nil && p.Phase == stream.PhaseDialing {
			p.Refused = false // the site that refused is not there any more
			p.Redial(reason)
		}
		return
	}
	l := n.links[in.Link]
	if l == nil {
		return
	}
	delete(n.links, in.Link)
	n.order = slices.DeleteFunc(n.order, func(o *link) bool { return o == l })
	n.desk.Remove(l.Line)
	if !l.Closed {
		l.Closed = true
		n.detach(l, reason)
	}
}

// detach ends what a link carried.
func (n *Node) detach(l *link, reason string) {
	n.desk.Lost(l.Line)
	n.desk.CompareLost(l.Line, reason)
	p := l.peer
	switch {
	case p == nil:
		if !l.Dialed {
			n.strangers--
		}
	case l == p.link:
		p.link = nil
		p.Outbound.Ended(reason)
		n.desk.Unwant(l.Line)
		p.Redial(reason)
	case l == p.in:
		p.in = nil
		p.Inbound.Ended()
		n.t.Tell(&event.LinkDown{Place: event.Place{Peer: p.Site}, Reason: reason})
	case l == p.next:
		p.next = nil
	}
}

func (n *Node) frameIn(in *FrameIn) {
	l := n.links[in.Link]
	if l == nil || l.Closed {
		return
	}
	l.heard = n.t.Now.Mono
	if l.peer != nil {
		l.peer.heard = n.t.Mono()
	}
	rule := frameRules[in.Envelope.Kind]
	if err := rule.check(l, &in.Envelope); err != nil {
		n.malformed(l, err)
		return
	}
	if in.BatchErr != nil && !plant.BadFrameAcked {
		n.t.Tell(&event.FrameCorrupt{
			Place: event.Place{Peer: l.site()}, Number: in.Envelope.Number, Err: in.BatchErr,
		})
		n.refuse(l, wire.RefuseMalformed, fmt.Sprintf("frame %d does not hold: %v", in.Envelope.Number, in.BatchErr))
		return
	}
	if err := rule.arrived(n, l, in); err != nil {
		n.malformed(l, err)
	}
}
