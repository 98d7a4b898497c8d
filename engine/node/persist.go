package node

import (
	"fmt"
	"slices"

	"github.com/claudefs/repl/engine/internal/plant"
	"github.com/claudefs/repl/engine/stream"
	"github.com/claudefs/repl/wire"
)

// persistDue says whether there is anything to write to the control state.
func (n *Node) persistDue() bool {
	if n.persisting != nil || n.ownErr != nil {
		return false
	}
	for _, p := range n.peers {
		if p.configured && !p.registered || len(p.changed) > 0 {
			return true
		}
	}
	return false
}

// persistNext registers peers and saves cursors that moved: one Persist at a
// time, at most one per persistEvery. A saved cursor is one that a peer has
// confirmed, so it is never ahead of truth.
func (n *Node) persistNext() {
	if !n.persistDue() {
		return
	}
	n.persistTicket++
	n.persistAt = n.now.Mono + persistEvery
	persist := Persist{Ticket: n.persistTicket}
	for _, p := range n.peers {
		if len(p.changed) == 0 && (p.registered || !p.configured) {
			continue
		}
		r := RegisteredPeer{Peer: p.Peer}
		slices.Sort(p.changed)
		for _, s := range p.changed {
			l := &p.logs[s]
			l.dirty = false
			if plant.CursorAhead && p.sender.In(s) {
				l.durable = p.sender.Sent(s)
			}
			r.Cursors = append(r.Cursors, stream.Cursor{Log: n.logID(s), Position: l.durable})
		}
		p.changed = p.changed[:0]
		persist.Peers = append(persist.Peers, r)
	}
	n.persisting = &persist
	n.e.Persists = append(n.e.Persists, persist)
}

// persisted takes the end of a Persist. A peer is dialed from then on; what
// was not written is tried again.
func (n *Node) persisted(in *Persisted) {
	if n.persisting == nil || n.persisting.Ticket != in.Ticket {
		return
	}
	written := n.persisting.Peers
	n.persisting = nil
	if in.Err != nil {
		n.event(EventPersistFailed, 0, wire.LogID{}, true, fmt.Sprintf("control records were not written: %v", in.Err))
	}
	for i := range written {
		p := n.peer(written[i].Site)
		if in.Err == nil {
			if !p.registered {
				p.registered, p.dialAt = true, n.now.Mono
			}
			continue
		}
		for _, c := range written[i].Cursors {
			if l := &p.logs[c.Log.Shard]; !l.dirty {
				l.dirty = true
				p.changed = append(p.changed, c.Log.Shard)
			}
		}
	}
}
