package node

import (
	"fmt"

	"github.com/claudefs/repl/engine/event"
	"github.com/claudefs/repl/engine/role"
	"github.com/claudefs/repl/engine/step"
	"github.com/claudefs/repl/engine/stream"
	"github.com/claudefs/repl/wire"
)

func (n *Node) mirrorDownText() string {
	return fmt.Sprintf("site %s: %v", n.t.C.SiteName, n.t.Down[Mirror])
}

// hello decides on a link's first frame. The order of checks is FORMAT.md's:
// version, cluster, site, shards, digest kind, features, primary, session.
func (n *Node) hello(l *link, h *wire.Hello) error {
	l.Session = h.Counter
	if h.Term > stream.TermTop {
		return fmt.Errorf("hello of term %d, the highest is %d: %w", h.Term, stream.TermTop, wire.ErrProtocol)
	}
	if why := n.checkHello(l, h); why != nil {
		n.t.Tell(&event.SessionRefused{Place: event.Place{Peer: h.Site}, Code: why.Code, Reason: why.Text})
		n.msg.refusal = wire.Refusal{Code: why.Code, Text: why.Text}
		if why.Code == wire.RefuseFenced {
			n.msg.refusal.Fence(n.role.Epoch)
		}
		n.refuseWith(l)
		return nil
	}
	if n.t.E.Raise != 0 {
		n.close(l, "the epoch rises")
		return nil
	}
	p := n.peer(h.Site)
	if p.seenTerm == stream.TermTop && p.in == nil && p.next == nil {
		p.seenTerm, p.seen = 0, 0
	}
	if !stream.Newer(h.Term, h.Counter, p.seenTerm, p.seen) {
		stale := &event.SessionStale{
			Place: event.Place{Peer: p.Site}, Opened: event.Session{Term: h.Term, Counter: h.Counter},
			Seen: event.Session{Term: p.seenTerm, Counter: p.seen},
		}
		n.t.Tell(stale)
		n.msg.refusal = wire.Refusal{
			Code: wire.RefuseSession, Term: p.seenTerm, Counter: p.seen, Text: stale.Text(n.t.SiteName),
		}
		n.refuseWith(l)
		return nil
	}
	p.seenTerm, p.seen = h.Term, h.Counter
	for _, old := range []*link{p.in, p.next} {
		if old != nil {
			over := &event.Superseded{
				Place: event.Place{Peer: p.Site}, By: event.Session{Term: h.Term, Counter: h.Counter},
				Former: event.Session{Term: old.term, Counter: old.Session},
			}
			n.t.Tell(over)
			n.refuse(old, wire.RefuseSuperseded, over.Text(n.t.SiteName))
		}
	}
	n.strangers--
	p.Outbound.TakenIn()
	n.agree(p)
	l.peer, p.next, l.term = p, l, h.Term
	l.Site, l.Name = p.Site, p.Name
	n.welcome(p)
	return nil
}

// checkHello compares a hello with the one that this site would say to its sender.
func (n *Node) checkHello(l *link, h *wire.Hello) *step.Stop {
	p := n.peer(h.Site)
	ours := stream.OurHello(&n.t.C, n.role.Writers)
	if p != nil && p.Configured {
		ours.Peer, ours.PeerName = p.Site, p.Name
	}
	if why := stream.Fits(&ours, h, l.proven); why != nil {
		return n.refusalOf(h, why)
	}
	raise, why := n.role.Hear(h)
	n.raise(raise, h.SiteName)
	if why != nil && why.Code == wire.RefusePrimary {
		n.contradict(p, why.Text)
	}
	return why
}

// raise has a higher epoch taken over; 0 = there is none.
func (n *Node) raise(e wire.Epoch, by string) {
	if e <= n.t.E.Raise {
		return
	}
	n.t.E.Raise = e
	n.t.Tell(&event.EpochRaised{Epoch: e, Writer: role.WriterOf(e), By: by})
}

// end gives all links up.
func (n *Node) end(in *End) {
	for _, l := range n.order {
		n.close(l, in.Reason)
	}
	n.lastRecords()
	n.over = true
}
