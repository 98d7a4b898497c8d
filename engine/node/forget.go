package node

import (
	"slices"

	"github.com/claudefs/repl/engine/admission"
	"github.com/claudefs/repl/engine/event"
	"github.com/claudefs/repl/engine/role"
	"github.com/claudefs/repl/engine/stream"
	"github.com/claudefs/repl/wire"
)

func (n *Node) forgetPeer(in *Forget) {
	p := n.peer(in.Site)
	if p == nil {
		in.Err = ErrNoPeer
		return
	}
	in.Heard, in.Loss = n.wasHeard(p), n.lossOf(p)
	switch {
	case in.Only:
		return
	case in.Remove && n.role.Writes(p.Site), in.Heard && n.role.Writes(p.Site):
		in.Err = ErrWriter
	case in.Remove:
	case in.Heard && (p.in != nil || p.next != nil || p.Phase > stream.PhaseHello):
		in.Err = ErrLinked
	case in.Heard && !in.Gone:
		in.Err = ErrHeard
	}
	if in.Err != nil {
		return
	}
	var removed *wire.RemovedSite
	if in.Remove {
		removed = &wire.RemovedSite{Site: p.Site, Name: p.Name, By: in.By, At: wire.StampOf(n.t.Now.Wall)}
		n.removed = append(n.removed, *removed)
		n.removed = n.removed[max(0, len(n.removed)-RemovedMax):]
	}
	n.dismiss(p, removed)
	n.control.drop(p.Site, removed)
	n.t.Tell(&event.Forgotten{
		Place: event.Place{Peer: p.Site}, Gone: in.Heard, Removed: in.Remove, By: in.By,
		Entries: in.Loss.Entries, Shards: in.Loss.Shards, Last: in.Loss.Last,
	})
	n.retention.raised[Own], n.retention.raised[Mirror] = true, true
	n.persistNext()
	n.unneed()
}

// dismiss ends what there is with a peer, and drops it. One that is removed is told.
func (n *Node) dismiss(p *peer, removed *wire.RemovedSite) {
	for _, l := range []*link{p.link, p.in, p.next} {
		switch {
		case l == nil:
		case removed != nil:
			n.refuse(l, wire.RefuseRemoved, n.removedText(removed))
		default:
			n.close(l, "it is forgotten")
		}
	}
	if n.control.persisting != nil {
		n.control.stale = append(n.control.stale, p.Site)
	}
	n.out.Remove(p.Outbound)
	n.mirrors.Remove(p.Inbound)
	n.role.Peers = slices.DeleteFunc(n.role.Peers, func(r *role.Peer) bool { return r == p.Peer })
	n.peers = slices.DeleteFunc(n.peers, func(q *peer) bool { return q == p })
}

// lossOf is what is given up with a peer.
func (n *Node) lossOf(p *peer) (l Loss) {
	for s := range n.own {
		o, has := &n.own[s], p.Logs[s].Durable
		if missing := o.Tail.EntriesAfter(has); missing > 0 {
			l.Shards++
			l.Entries += missing
		}
		l.Last += min(has.EntriesAfter(o.Tail), has.EntriesAfter(o.store))
	}
	return l
}

// unneed has nobody wait any more for the word of a peer that is dropped, nor for what it
// was known to have.
func (n *Node) unneed() {
	for s := range n.own {
		o := &n.own[s]
		n.gate.Unneed(wire.Shard(s), func(l *admission.Log) {
			l.Needs(o.store, "the Store")
			for _, q := range n.peers {
				l.Needs(q.Logs[s].Durable, "site "+q.Name)
			}
		})
		n.ownFloor(wire.Shard(s))
	}
	if n.role.Alone() {
		n.gate.Alone()
		return
	}
	n.allHeard()
}

// wasHeard says whether a peer ever answered, or confirmed anything.
func (n *Node) wasHeard(p *peer) bool {
	held := func(l stream.MirrorLog) bool { return !l.Empty() }
	return p.heardOnce || p.in != nil || p.Mirror != nil && slices.ContainsFunc(p.Mirror.Logs, held) ||
		slices.ContainsFunc(p.Logs, func(l stream.SentLog) bool { return l.Durable.Seq != 0 })
}
