package node

import (
	"fmt"
	"slices"
	"time"

	"github.com/claudefs/repl/engine/fetch"
	"github.com/claudefs/repl/engine/internal/plant"
	"github.com/claudefs/repl/engine/step"
	"github.com/claudefs/repl/wire"
)

func (n *Node) send(l *link, m step.Message) {
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
	n.event(EventRefused, l.site(), wire.LogID{}, true, fmt.Sprintf("link closed: %v", err))
	n.refuse(l, wire.RefuseMalformed, err.Error())
}

func (l *link) site() wire.SiteID {
	if l.peer == nil {
		return 0
	}
	return l.peer.Site
}

func (n *Node) linkUp(in *LinkUp) {
	n.linkNumber++
	l := &link{Line: &fetch.Line{Link: in.Link, Number: n.linkNumber}, heard: n.t.Now.Mono}
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
	if p == nil || !p.Configured || p.phase != phaseDialing {
		n.close(l, "nobody dialed it")
		return
	}
	l.peer, p.link = p, l
	l.Site, l.Name = p.Site, p.Name
	n.sayHello(p)
}

func (n *Node) linkDown(in *LinkDown) {
	reason := "link closed"
	if in.Err != nil {
		reason = in.Err.Error()
	}
	if in.Link == 0 {
		if p := n.peer(in.Peer); p != nil && p.phase == phaseDialing {
			p.refused = false // whoever refused is not there any more
			n.redial(p, reason)
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
		n.sourceDown(p, reason)
	case l == p.in:
		p.in = nil
		n.event(EventLinkDown, p.Site, wire.LogID{}, false, fmt.Sprintf("session of site %s ended: %s", p.Name, reason))
	case l == p.next:
		p.next = nil
	}
}

// redial plans the next dial: jittered, twice as long after every failure.
func (n *Node) redial(p *peer, reason string) {
	wait := n.t.C.RedialMax
	if p.dials < 16 {
		wait = min(wait, n.t.C.RedialMin<<p.dials)
	}
	p.dials++
	wait = wait/2 + time.Duration(n.rng.Int64N(int64(wait/2)+1))
	p.phase, p.dialAt, p.reason = phaseDown, n.t.Now.Mono+wait, reason
}

func (n *Node) mayDial(p *peer) bool {
	return p.Configured && p.phase == phaseDown && n.t.Down[Own] == nil
}

func (n *Node) frameIn(in *FrameIn) {
	l := n.links[in.Link]
	if l == nil || l.Closed {
		return
	}
	l.heard = n.t.Now.Mono
	if l.peer != nil {
		l.peer.heard = max(n.t.Now.Mono, 1)
	}
	if err := n.expected(l, &in.Envelope); err != nil {
		n.malformed(l, err)
		return
	}
	if in.BatchErr != nil && !plant.BadFrameAcked {
		n.event(EventCorruption, l.site(), wire.LogID{}, true,
			fmt.Sprintf("frame %d of site %s does not hold: %v", in.Envelope.Number,
				n.t.SiteName(l.site()), in.BatchErr))
		n.refuse(l, wire.RefuseMalformed, fmt.Sprintf("frame %d does not hold: %v", in.Envelope.Number, in.BatchErr))
		return
	}
	if err := n.dispatch(l, in); err != nil {
		n.malformed(l, err)
	}
}

// expected says whether a frame of this kind may come on this link now.
func (n *Node) expected(l *link, e *wire.Envelope) error {
	ok := false
	switch e.Kind {
	case wire.FrameHello:
		ok = !l.Dialed && l.peer == nil
	case wire.FrameRefusal:
		return nil
	case wire.FrameWelcome:
		ok = l.Dialed && l.peer.phase == phaseHello
	case wire.FrameAck, wire.FrameBatchRefusal:
		ok = l.Dialed && l.peer.phase == phaseLive
	case wire.FrameCursorPage, wire.FrameHeartbeatEcho:
		ok = l.Dialed && l.peer.phase >= phaseResume
	case wire.FrameBatches:
		ok = l.open
	case wire.FrameHeartbeat:
		ok = l.open
	case wire.FrameFetch, wire.FrameFetched, wire.FrameFetchEnd, wire.FrameVerify, wire.FrameVerified:
		ok = l.open || l.Dialed && l.peer.phase >= phaseResume
	}
	if !ok {
		return fmt.Errorf("a frame of kind %d is not due: %w", e.Kind, wire.ErrProtocol)
	}
	if e.Kind != wire.FrameHello && e.Session != l.Session && !plant.StaleSession {
		return fmt.Errorf("a frame of session %d in session %d: %w", e.Session, l.Session, wire.ErrProtocol)
	}
	return nil
}

func (n *Node) dispatch(l *link, in *FrameIn) error {
	m := &n.msg
	switch in.Envelope.Kind {
	case wire.FrameHello:
		return decoded(m.hello.Decode(in.Body), n, l, (*Node).hello)
	case wire.FrameWelcome:
		return decoded(m.welcome.Decode(in.Body), n, l, (*Node).welcomed)
	case wire.FrameRefusal:
		return decoded(m.refusal.Decode(in.Body), n, l, (*Node).refused)
	case wire.FrameBatches:
		return n.batches(l, in)
	case wire.FrameAck:
		return decoded(m.ack.Decode(in.Body), n, l, (*Node).acked)
	case wire.FrameBatchRefusal:
		return decoded(m.batchRefusal.Decode(in.Body), n, l, (*Node).batchRefused)
	case wire.FrameCursorPage:
		return decoded(m.page.Decode(in.Body), n, l, (*Node).paged)
	case wire.FrameHeartbeat:
		n.leftOut(l.peer, in.Envelope.Stopped)
		return decoded(m.heartbeat.Decode(in.Body), n, l, (*Node).heartbeat)
	case wire.FrameHeartbeatEcho:
		return decoded(m.echo.Decode(in.Body), n, l, (*Node).echoed)
	case wire.FrameFetch:
		return decoded(m.fetch.Decode(in.Body), n, l, (*Node).fetchAsked)
	case wire.FrameFetched:
		return n.fetched(l, in)
	case wire.FrameFetchEnd:
		return decoded(m.fetchEnd.Decode(in.Body), n, l, (*Node).fetchEnded)
	case wire.FrameVerify:
		return decoded(m.verify.Decode(in.Body), n, l, (*Node).verifyAsked)
	case wire.FrameVerified:
		return decoded(m.verified.Decode(in.Body), n, l, (*Node).verified)
	}
	return nil
}

// decoded goes on with a message unless decoding it failed.
func decoded(err error, n *Node, l *link, then func(*Node, *link) error) error {
	if err != nil {
		return err
	}
	return then(n, l)
}
