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
	if why := n.checkHello(h); why != nil {
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

func (n *Node) checkHello(h *wire.Hello) *stream.Stop {
	no := func(code wire.RefusalCode, format string, args ...any) *stream.Stop {
		return &stream.Stop{Code: code, Text: fmt.Sprintf(format, args...)}
	}
	p := n.peer(h.Site)
	switch {
	case h.VersionMin > wire.Version || h.VersionMax < wire.Version:
		return no(wire.RefuseVersion, "site %q speaks versions %d to %d, site %q speaks %d: upgrade the older one",
			h.SiteName, h.VersionMin, h.VersionMax, n.t.C.SiteName, wire.Version)
	case h.Cluster != n.t.C.Cluster || h.ClusterName != n.t.C.ClusterName:
		return no(wire.RefuseCluster,
			"site %q is of cluster %q (%016x), site %q of cluster %q (%016x): check the cluster's name and the address",
			h.SiteName, h.ClusterName, uint64(h.Cluster), n.t.C.SiteName, n.t.C.ClusterName, uint64(n.t.C.Cluster))
	case h.Peer != n.t.C.Site:
		return no(wire.RefuseSite,
			"site %q wants site %q (%08x), this is site %q (%08x): check the address of the peer",
			h.SiteName, h.PeerName, uint32(h.Peer), n.t.C.SiteName, uint32(n.t.C.Site))
	case h.PeerName != n.t.C.SiteName:
		return no(wire.RefuseSiteCollision, "sites %q and %q have the same id %08x: rename one",
			h.PeerName, n.t.C.SiteName, uint32(n.t.C.Site))
	case p == nil || !p.Configured:
		return no(wire.RefuseSite, "site %q (%08x) is no configured peer of site %q: add it there",
			h.SiteName, uint32(h.Site), n.t.C.SiteName)
	case p.Name != h.SiteName:
		return no(wire.RefuseSiteCollision, "sites %q and %q have the same id %08x: rename one",
			h.SiteName, p.Name, uint32(h.Site))
	case h.Shards != n.t.C.Shards:
		return no(wire.RefuseShards,
			"site %q has %d shards, site %q has %d: the count is fixed at creation, create one of them anew",
			h.SiteName, h.Shards, n.t.C.SiteName, n.t.C.Shards)
	case h.DigestKind != wire.DigestXXH3:
		return no(wire.RefuseDigestKind, "site %q uses digest kind %d, site %q uses %d: upgrade the older one",
			h.SiteName, h.DigestKind, n.t.C.SiteName, wire.DigestXXH3)
	case h.Features != 0:
		return no(wire.RefuseFeature, "site %q wants features %x, site %q has %x: upgrade the older one",
			h.SiteName, h.Features, n.t.C.SiteName, 0)
	}
	if why, ok := n.role.Names(h); !ok {
		n.contradict(p, why)
		return &stream.Stop{Code: wire.RefusePrimary, Text: why}
	}
	return nil
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
