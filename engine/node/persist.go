package node

import (
	"slices"
	"time"

	"github.com/claudefs/repl/engine/event"
	"github.com/claudefs/repl/engine/step"
	"github.com/claudefs/repl/wire"
)

// persistEvery is between two savings of the cursors of peers to the control state.
const persistEvery = time.Second

// control is what goes to the control state: one Persist at a time.
type control struct {
	n          *Node
	persisting *Persist // under way, or nil
	ticket     uint64
	members                  // to be written
	stale      []wire.SiteID // given up while persisting has something of them
	at         time.Duration // next time cursors may be saved
}

// Due is when something is to be written to the control state.
func (c *control) Due() time.Duration {
	if !c.n.persistDue() {
		return step.Never
	}
	return c.at
}

// Tick writes it, if that is due.
func (c *control) Tick() {
	if c.n.t.Now.Mono >= c.Due() {
		c.n.persistNext()
	}
}

// persistDue says whether there is anything to write to the control state.
func (n *Node) persistDue() bool {
	if n.control.persisting != nil || n.t.Down[Own] != nil {
		return false
	}
	return n.control.members.any() || slices.ContainsFunc(n.peers, func(p *peer) bool {
		return p.toRegister() || p.Registered && p.Unsaved()
	})
}

// toRegister: it welcomed us, so that it may come to hold what is not yet anywhere else:
// from then on the journal keeps for it what it lacks, whatever the configuration says
// (I12). A name that nobody answers to is kept for only while it is configured.
func (p *peer) toRegister() bool { return p.Configured && p.heardOnce && !p.Registered }

// persistNext registers peers and saves cursors that moved: one Persist at a
// time, at most one per persistEvery. A saved cursor is one that a peer has
// confirmed, so it is never ahead of truth.
func (n *Node) persistNext() {
	if !n.persistDue() {
		return
	}
	n.control.ticket++
	n.control.at = n.t.Now.Mono + persistEvery
	persist := Persist{Ticket: n.control.ticket}
	for _, p := range n.peers {
		first := p.toRegister()
		if first || p.Registered && p.Unsaved() {
			r := wire.RegisteredPeer{Site: p.Site, Name: p.Name, Cursors: p.Save(first)}
			persist.Peers = append(persist.Peers, r)
		}
	}
	n.control.members.into(&persist)
	n.control.persisting, n.control.stale = &persist, nil
	n.t.E.Persists = append(n.t.E.Persists, persist)
}

// persisted takes the end of a Persist. A session with a new peer goes on from then on;
// what was not written is tried again.
func (n *Node) persisted(in *Persisted) {
	if n.control.persisting == nil || n.control.persisting.Ticket != in.Ticket {
		return
	}
	was := n.control.persisting
	written := was.Peers
	n.control.persisting = nil
	if in.Err != nil {
		n.control.members.again(was)
		n.t.Tell(&event.PersistFailed{Err: in.Err})
	}
	for i := range written {
		p := n.peer(written[i].Site)
		if slices.Contains(n.control.stale, written[i].Site) {
			continue // given up since
		}
		if in.Err == nil {
			p.Written()
		} else {
			p.SaveAgain(written[i].Cursors)
		}
	}
	n.retention.raised[Own] = n.retention.raised[Own] || in.Err == nil // older control records are needed no more
	if in.Err == nil && (n.control.members.any() || slices.ContainsFunc(n.peers, (*peer).toRegister)) {
		n.persistNext() // it came meanwhile, and a session or an operator waits
	}
}
