package node

import (
	"fmt"
	"slices"

	"github.com/claudefs/repl/engine/stream"
	"github.com/claudefs/repl/wire"
)

func (n *Node) forgetPeer(in *Forget) {
	p := n.peer(in.Site)
	switch {
	case p == nil || !p.Configured && !p.Registered:
		in.Err = ErrNoPeer
		return
	case n.wasHeard(p):
		in.Err = ErrHeard
		return
	}
	for i := range n.own {
		if seq := n.own[i].Tail.Seq; seq != 0 {
			in.Loss.Shards++
			in.Loss.Entries += int64(seq)
		}
	}
	if in.Only {
		return
	}
	if p.Registered {
		n.control.forget = append(n.control.forget, p.Site)
	}
	if p.link != nil {
		n.close(p.link, "it is forgotten")
	}
	p.Configured, p.Registered = false, false
	n.event(EventForgotten, p.Site, wire.LogID{}, true, fmt.Sprintf(
		"site %s is forgotten, which never answered: %d entries of %d shards are not kept for it any more",
		p.Name, in.Loss.Entries, in.Loss.Shards))
	for s := range n.own {
		n.ownFloor(wire.Shard(s))
	}
	n.retention.rose[Own], n.retention.rose[Mirror] = true, true
	n.persistNext()
	n.allHeard() // nobody waits for it
}

// wasHeard says whether a peer ever answered, or confirmed anything.
func (n *Node) wasHeard(p *peer) bool {
	held := func(l stream.MirrorLog) bool { return !l.Empty() }
	return p.heardOnce || p.in != nil || p.Mirror != nil && slices.ContainsFunc(p.Mirror.Logs, held) ||
		slices.ContainsFunc(p.Logs, func(l stream.SentLog) bool { return l.Durable.Seq != 0 })
}
