package node

import (
	"slices"
	"time"

	"github.com/claudefs/repl/engine/admission"
	"github.com/claudefs/repl/engine/fetch"
	"github.com/claudefs/repl/engine/internal/plant"
	"github.com/claudefs/repl/engine/role"
	"github.com/claudefs/repl/engine/step"
	"github.com/claudefs/repl/engine/stream"
	"github.com/claudefs/repl/wire"
)

// strangerMax is how many accepted links may wait for their hello.
const strangerMax = 32

// Node is the pure heart of one storage node. It has no clock, no goroutine
// and no randomness: the same steps give the same effects. Not for concurrent
// use.
type Node struct {
	t       *step.Turn
	role    *role.Role
	gate    *admission.Gate
	desk    *fetch.Desk
	out     *stream.OwnLogs
	mirrors *stream.Mirrors
	started bool
	over    bool // see End

	own        []ownLog // by shard
	peers      []*peer  // sorted by site
	links      map[LinkID]*link
	linkNumber uint64  // of the youngest link
	order      []*link // in the order they came up
	renew      bool    // an own log goes on behind the Store: every peer is asked again
	strangers  int     // of them: accepted, without a hello; 0 <= strangers <= strangerMax+1

	filling   filling
	removed   []wire.RemovedSite // in the order in which they were, at most step.RemovedMax
	control   control
	retention retention
	msg       messages
}

// ownLog is a log that this site writes.
type ownLog struct {
	*admission.Log
	store   wire.Position // durable in the Store
	applied wire.Position // in the Store
	floor   wire.Position // last Floor
}

// peer is another site: the session that we dial, the one that it dials, and the links
// that carry them.
//
//	link != nil exactly while Outbound.Link != 0
type peer struct {
	*role.Peer
	*stream.Outbound
	*stream.Inbound
	heardOnce bool          // it welcomed us, in this life or before
	heard     time.Duration // 0 = never
	link      *link         // dialed, from LinkUp on
	in        *link         // accepted: of the current session
	next      *link         // its hello was good; it waits until the former's batches are flushed
	seenTerm  wire.Term
	seen      uint32
	copies    []*copied
	record    *wire.SiteRecord // on record, if an operator took it in; never changed
}

// copied is where the mirrors of a third site's logs end at a peer.
type copied struct {
	site wire.SiteID
	ends []wire.Position // by shard
}

// link is one link as long as the shell knows it.
type link struct {
	*fetch.Line
	n      *Node
	peer   *peer       // nil until the hello of an accepted link
	open   bool        // accepted: welcomed
	proven wire.SiteID // see LinkUp.Proven
	term   wire.Term   // accepted: of its hello
	heard  time.Duration
}

// New returns the heart of a node that has just opened its journals. Its first
// Tick dials the peers. b is copied.
func New(c Config, b Boot) *Node {
	c.SetDefaults()
	n := &Node{
		t: step.NewTurn(c, b.Term, b.Tickets), links: make(map[LinkID]*link), own: make([]ownLog, c.Shards),
	}
	n.control.n, n.retention.n, n.filling.n = n, n, n
	n.retention.raised[Own], n.retention.raised[Mirror] = true, true // what earlier lives began and nobody needs
	n.role = role.New(n.t, b.Founded)
	n.gate = admission.New(n.t, n.role, closed{n})
	n.desk = fetch.New(n.t, n.gate, onFetch{n})
	n.out = stream.NewOwnLogs(n.t, n.role, n.gate, onStream{n})
	n.mirrors = stream.NewMirrors(n.t, n.role, onStream{n})
	for s := range n.own {
		n.own[s].Log = &n.gate.Logs[s]
	}
	n.bootPeers(&b)
	n.bootLogs(&b)
	return n
}

// bootPeers takes the peers that are registered and those that are configured. Where nothing
// shows yet who writes, each of these has a say: then none is a learner.
func (n *Node) bootPeers(b *Boot) {
	n.removed = slices.Clone(b.Removed)
	for i := range b.Peers {
		n.addPeer(Peer{Site: b.Peers[i].Site, Name: b.Peers[i].Name}).Registered = true
	}
	for _, m := range step.Members(n.t.C.Peers, b.Sites, b.Removed) {
		p := n.addPeer(m.Peer)
		p.record = m.Record
		p.Learner = b.Founded && m.Record != nil && m.Record.Learner
		n.configure(p)
	}
}

func (n *Node) peer(site wire.SiteID) *peer {
	for _, p := range n.peers {
		if p.Site == site {
			return p
		}
	}
	return nil
}

// ownLog returns an own log, or nil if log is not one.
func (n *Node) ownLog(log wire.LogID) *ownLog {
	if log.Site == n.t.C.Site && uint32(log.Shard) < n.t.C.Shards {
		return &n.own[log.Shard]
	}
	return nil
}

// mirrorLog returns a mirrored log, or nil if log is not one.
func (n *Node) mirrorLog(log wire.LogID) *stream.MirrorLog { return n.mirrors.Log(log) }

// SiteName is how people call a site: its name where that is known.
func (n *Node) SiteName(site wire.SiteID) string { return n.t.SiteName(site) }

// bootLogs takes over what the journals and the Store hold.
func (n *Node) bootLogs(b *Boot) {
	for i := range b.Starts {
		if err := n.learn(&b.Starts[i]); err != nil {
			n.t.NoteStopped(b.Starts[i].Log, wire.RefuseEpoch, err.Error())
		}
	}
	for i := range b.Own {
		n.out.Boot(&b.Own[i])
	}
	for i := range b.Mirror {
		n.mirrors.Boot(&b.Mirror[i])
	}
	for _, c := range b.Applied {
		if o := n.ownLog(c.Log); o != nil {
			o.store, o.applied = c.Position, c.Position
			if !plant.StoreIgnored {
				o.Needs(c.Position, "the Store")
			}
		} else if m := n.mirrorLog(c.Log); m != nil {
			m.BootStore(c.Position)
		}
	}
	for _, id := range b.OwnSuspect {
		if o := n.ownLog(id); o != nil {
			o.Suspect = true
		}
	}
	for _, id := range b.MirrorSuspect {
		if m := n.mirrorLog(id); m != nil {
			m.Suspect = true
			n.desk.Suspect(id, m.Durable)
		}
	}
	n.mirrors.Booted()
	for i := range b.Peers {
		r := &b.Peers[i]
		p := n.peer(r.Site)
		p.heardOnce = len(r.Cursors) > 0
		backlog, measured := b.Backlogs[r.Site]
		p.Outbound.Boot(r, backlog, measured)
	}
	for _, p := range n.peers {
		p.Outbound.BootMeters()
	}
}
