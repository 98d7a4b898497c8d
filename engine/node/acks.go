package node

import (
	"cmp"
	"slices"
	"time"

	"github.com/claudefs/repl/engine/stream"
	"github.com/claudefs/repl/wire"
)

// Acks is how long a peer took to confirm what became durable here: per log and ack or
// page, from the oldest entry that it newly tells of. Entries of earlier lives are left out.
type Acks struct{ Durable, Applied stream.Histogram }

// PeerAcks is that of one peer.
type PeerAcks struct {
	Name string
	Acks
}

// Acks returns those of the configured peers, sorted by name, and shares nothing.
func (n *Node) Acks() (acks []PeerAcks) {
	for _, p := range n.peers {
		if p.Configured {
			acks = append(acks, PeerAcks{p.Name, p.acks})
		}
	}
	slices.SortFunc(acks, func(a, b PeerAcks) int { return cmp.Compare(a.Name, b.Name) })
	return acks
}

// observe counts an entry that became durable at since, 0 = not known, and is confirmed now.
func (p *peer) observe(level wire.AckLevel, now, since time.Duration) {
	switch {
	case since == 0:
	case level == wire.LevelDurable:
		p.acks.Durable.Observe(now - since)
	case level == wire.LevelApplied:
		p.acks.Applied.Observe(now - since)
	}
}
