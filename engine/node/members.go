package node

// Peers that come and go while a node runs:
//
//	         takeIn                learnerFull                 forgetPeer
//	nobody ─────────▶ learner ───────────────▶ full ──────────────────────▶ forgotten, or removed:
//	   ▲                  └──────────────────────────────────────────▶        │ its hello is refused
//	   └──────────────────────────────────────────────────────────────────────┘
//
// Slices of peers are sorted by site and grow and shrink; what is kept by position elsewhere
// (MirrorLog.owed) goes by bits that no two peers share.

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/claudefs/repl/engine/event"
	"github.com/claudefs/repl/engine/role"
	"github.com/claudefs/repl/engine/step"
	"github.com/claudefs/repl/wire"
)

// addPeer makes a peer of which nothing is known but its name.
func (n *Node) addPeer(p Peer) *peer {
	n.t.Know(p)
	if q := n.peer(p.Site); q != nil {
		q.Peer.Peer = p
		return q
	}
	r := &role.Peer{Peer: p}
	q := &peer{Peer: r, Outbound: n.out.Add(r), Inbound: n.mirrors.Add(r)}
	at, _ := slices.BinarySearchFunc(n.peers, p.Site,
		func(q *peer, s wire.SiteID) int { return cmp.Compare(q.Site, s) })
	n.peers, n.role.Peers = slices.Insert(n.peers, at, q), slices.Insert(n.role.Peers, at, r)
	return q
}

// configure has a peer dialed, and its sessions accepted.
func (n *Node) configure(p *peer) {
	// Frames name their session by its counter alone. Each life begins it anywhere, so that no
	// old frame passes for one of a session of this life: terms would not tell them apart, since
	// that of a new journal is 1 again. Not from the draws of dials.
	begin := rand.New(rand.NewPCG(n.t.C.Seed, uint64(p.Site)))
	p.Configured = true
	p.Outbound.Configure(begin.Uint32() >> 1)
	p.Inbound.Configure()
}

// takeIn adds a peer at run time, or changes the addresses on record of one.
func (n *Node) takeIn(in *AddPeer) {
	p := n.peer(in.Peer.Site)
	if in.Known = p != nil; !in.Known && len(n.peers) == step.PeerCountMax {
		in.Err = ErrPeers
		return
	}
	left := n.role.Left()
	p = n.addPeer(in.Peer)
	if !in.Known {
		p.Learner = n.role.Founded() // else all have a say in who writes
	}
	if !p.Configured {
		n.configure(p)
		p.BootMeters()
	}
	in.Learner = p.Learner
	n.removed = slices.DeleteFunc(n.removed, func(r wire.RemovedSite) bool { return r.Site == p.Site })
	n.record(p, in.Addrs)
	n.t.Tell(&event.SiteAdded{
		Place: event.Place{Peer: p.Site}, Known: in.Known, Learner: in.Learner, Addrs: slices.Clone(in.Addrs),
	})
	if left { // as after a start with the name
		n.gate.Reopen()
		n.gate.Start()
	}
	n.retention.raised[Mirror] = true
	n.persistNext()
}

// record puts a peer on record with these addresses.
func (n *Node) record(p *peer, addrs []string) {
	p.record = &wire.SiteRecord{Site: p.Site, Name: p.Name, Addrs: slices.Clone(addrs), Learner: p.Learner}
	n.control.put(*p.record)
}

// learnerFull: a learner holds everything, and counts from now on.
func (n *Node) learnerFull(p *peer) {
	n.t.Tell(&event.SiteFull{Place: event.Place{Peer: p.Site}})
	if p.record != nil {
		n.record(p, p.record.Addrs)
		n.persistNext()
	}
}

// refusalOf is why a hello is refused that does not fit: a removed site is told that it was.
func (n *Node) refusalOf(h *wire.Hello, why *step.Stop) *step.Stop {
	i := slices.IndexFunc(n.removed, func(r wire.RemovedSite) bool { return r.Site == h.Site && r.Name == h.SiteName })
	if i < 0 || why.Code != wire.RefuseSite || h.Peer != n.t.C.Site {
		return why
	}
	return step.Stopf(wire.RefuseRemoved, "%s", n.removedText(&n.removed[i]))
}

// removedText tells a removed site what became of it.
func (n *Node) removedText(r *wire.RemovedSite) string {
	return fmt.Sprintf("site %s was removed from cluster %s at site %s by %s on %s: stop it; to take it in again, "+
		"at site %[3]s: cfs admin replication sites add %[1]s --addr ADDR", r.Name, n.t.C.ClusterName, n.t.C.SiteName,
		r.By, r.At.Time().UTC().Format(time.DateTime+" UTC"))
}

// Removed are the sites that were removed last, in that order.
func (n *Node) Removed() []wire.RemovedSite { return slices.Clone(n.removed) }

// over answers what is asked of a heart that does nothing any more.
func over(in Input) {
	switch in := in.(type) {
	case *AddPeer:
		in.Err = ErrOver
	case *Forget:
		in.Err = ErrOver
	}
}

// lastRecords has written what operators asked for and nothing has written yet: the next heart
// begins with it.
func (n *Node) lastRecords() {
	if n.control.members.any() {
		n.control.ticket++
		p := Persist{Ticket: n.control.ticket}
		n.control.members.into(&p)
		n.t.E.Persists = append(n.t.E.Persists, p)
	}
}

// Recorded says whether all that operators asked for is durable.
func (n *Node) Recorded() bool {
	p := n.control.persisting
	return !n.control.members.any() && (p == nil || len(p.Forget)+len(p.Removed)+len(p.Sites) == 0)
}

// members is what is to be written of peers that came or went. Of no site is there more than
// one going and one coming.
type members struct {
	forget  []wire.SiteID
	removed []wire.RemovedSite
	sites   []wire.SiteRecord
}

func (m *members) any() bool { return len(m.forget)+len(m.removed)+len(m.sites) > 0 }

// put has a site put on record.
func (m *members) put(r wire.SiteRecord) {
	m.sites = append(slices.DeleteFunc(m.sites, func(o wire.SiteRecord) bool { return o.Site == r.Site }), r)
}

// drop has nothing more written of a site but that it is given up: removed, if r is not nil.
func (m *members) drop(site wire.SiteID, r *wire.RemovedSite) {
	m.sites = slices.DeleteFunc(m.sites, func(o wire.SiteRecord) bool { return o.Site == site })
	m.removed = slices.DeleteFunc(m.removed, func(o wire.RemovedSite) bool { return o.Site == site })
	m.forget = slices.DeleteFunc(m.forget, func(o wire.SiteID) bool { return o == site })
	if r != nil {
		m.removed = append(m.removed, *r)
	} else {
		m.forget = append(m.forget, site)
	}
}

// into moves it into a Persist.
func (m *members) into(p *Persist) {
	p.Forget, p.Removed, p.Sites = m.forget, m.removed, m.sites
	*m = members{}
}

// again takes back what was not written, unless something newer waits.
func (m *members) again(p *Persist) {
	later := *m
	*m = members{p.Forget, p.Removed, p.Sites}
	for _, site := range later.forget {
		m.drop(site, nil)
	}
	for i := range later.removed {
		m.drop(later.removed[i].Site, &later.removed[i])
	}
	for _, r := range later.sites {
		m.put(r)
	}
}
