package node

import (
	"fmt"
	"math"

	"github.com/claudefs/repl/engine/internal/plant"
	"github.com/claudefs/repl/engine/stream"
	"github.com/claudefs/repl/wire"
)

// termTop is the highest term of a session. No journal lives to see it, so whoever says
// it is not what it seems: a session of that term is not remembered beyond its link, or
// one forged hello would shut out for good who cannot go beyond it.
const termTop wire.Term = math.MaxUint32 - 1

func (n *Node) mirrorDownText() string {
	return fmt.Sprintf("site %s: %v", n.t.C.SiteName, n.t.Down[Mirror])
}

// hello decides on a link's first frame. The order of checks is FORMAT.md's:
// version, cluster, site, shards, digest kind, features, primary, session.
func (n *Node) hello(l *link) error {
	h := &n.msg.hello
	l.Session = h.Counter
	if h.Term > termTop {
		return fmt.Errorf("hello of term %d, the highest is %d: %w", h.Term, termTop, wire.ErrProtocol)
	}
	if why := n.checkHello(l, h); why != nil {
		n.event(EventRefused, h.Site, wire.LogID{}, true, "refused a session: "+why.Text)
		n.refuse(l, why.Code, why.Text)
		return nil
	}
	p := n.peer(h.Site)
	if p.seenTerm == termTop && p.in == nil && p.next == nil {
		p.seenTerm, p.seen = 0, 0
	}
	if !sessionLess(p.seenTerm, p.seen, h.Term, h.Counter) {
		n.msg.refusal = wire.Refusal{
			Code: wire.RefuseSession, Term: p.seenTerm, Counter: p.seen,
			Text: fmt.Sprintf("session %d/%d of site %s is not newer than %d/%d, the highest seen here",
				h.Term, h.Counter, p.Name, p.seenTerm, p.seen),
		}
		n.event(EventRefused, p.Site, wire.LogID{}, false, n.msg.refusal.Text)
		n.refuseWith(l)
		return nil
	}
	p.seenTerm, p.seen = h.Term, h.Counter
	for _, old := range []*link{p.in, p.next} {
		if old != nil {
			text := fmt.Sprintf("session %d/%d of site %s takes over from %d/%d",
				h.Term, h.Counter, p.Name, old.term, old.Session)
			n.event(EventSuperseded, p.Site, wire.LogID{}, false, text)
			n.refuse(old, wire.RefuseSuperseded, text)
		}
	}
	n.strangers--
	n.agree(p)
	l.peer, p.next, l.term = p, l, h.Term
	l.Site, l.Name = p.Site, p.Name
	l.rules = stream.Rules{Cluster: n.t.C.Cluster, Site: p.Site, Shards: n.t.C.Shards, Writers: n.role.Writers}
	n.welcome(p)
	return nil
}

// checkHello compares a hello with the one that this site would say to its sender.
func (n *Node) checkHello(l *link, h *wire.Hello) *stream.Stop {
	p := n.peer(h.Site)
	ours := n.ourHello()
	if p != nil && p.Configured {
		ours.Peer, ours.PeerName = p.Site, p.Name
	}
	if why := stream.Fits(&ours, h, l.proven); why != nil {
		return why
	}
	if why, ok := n.role.Names(h); !ok {
		n.contradict(p, why)
		return &stream.Stop{Code: wire.RefusePrimary, Text: why}
	}
	return nil
}

// ourHello is what this site says of itself.
func (n *Node) ourHello() wire.Hello {
	c := &n.t.C
	return wire.Hello{
		VersionMin: wire.Version, VersionMax: wire.Version, Cluster: c.Cluster, Site: c.Site, Node: c.Node,
		Shards: c.Shards, DigestKind: wire.DigestXXH3, Primary: n.role.Primary, ClusterName: c.ClusterName,
		SiteName: c.SiteName,
	}
}

// welcome begins the session that waits, once nothing of the former one is
// under way to the mirror any more.
func (n *Node) welcome(p *peer) {
	if p.next == nil || p.receiver.Busy() && !plant.EarlyWelcome {
		return
	}
	l := p.next
	p.in, p.next = l, nil
	l.open, l.Ready = true, true
	p.leftOut = 0
	p.receiver.Begin()
	p.behind = behindness{}
	p.received.sessions++
	for _, s := range p.failed {
		if plant.FailedTailKept {
			break
		}
		m := &p.mirror.logs[s]
		m.tail.Position, m.tail.Stamp = m.durable, m.stamp
	}
	for _, s := range p.refusals {
		m := &p.mirror.logs[s]
		n.t.UnnoteStopped(wire.LogID{Site: p.Site, Shard: s}, m.refused.Text)
		m.refused = nil
	}
	p.failed, p.refusals, p.foreign = p.failed[:0], p.refusals[:0], p.foreign[:0]
	n.event(EventLinkUp, p.Site, wire.LogID{}, false,
		fmt.Sprintf("session %d/%d of site %s", l.term, l.Session, p.Name))
	n.msg.welcome = wire.Welcome{
		Version: wire.Version, Site: n.t.C.Site, Node: n.t.C.Node, Term: n.t.Term, SiteName: n.t.C.SiteName,
	}
	n.send(l, &n.msg.welcome)
	n.sendResume(p)
	n.desk.Next(l.Line)
}
