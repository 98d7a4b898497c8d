package node

import (
	"cmp"
	"slices"
	"time"

	"github.com/claudefs/repl/engine/lag"
	"github.com/claudefs/repl/engine/stream"
	"github.com/claudefs/repl/wire"
)

// PeerStatus is one peer as the node sees it.
type PeerStatus struct {
	Peer
	LastHeard time.Time // zero = never since open
	OnRecord  bool      // an operator took it in: a start needs no name for it
	stream.OutboundStatus
	stream.InboundStatus
}

// Status is one snapshot.
type Status struct {
	At        time.Time
	Term      wire.Term
	Admission map[Admission]int // shards in each state
	Peers     []PeerStatus      // sorted by name
	Stopped   []StoppedLog      // logs that stopped here
	// Withheld is why no log of this site takes appends, whatever its own state: "" = none
	// of these reasons.
	Withheld string
}

// Status returns a snapshot that shares nothing with the node. Its cost is
// that of the peers and of the logs that are behind or stopped, never that of
// all logs.
func (n *Node) Status(now Now) Status {
	s := Status{
		At: now.Wall, Term: n.t.Term, Admission: make(map[Admission]int, AdmitStandby+1),
		Stopped: slices.Clone(n.t.Stopped()), Withheld: n.role.Withheld(),
	}
	for a := AdmitWaiting; a <= AdmitStandby; a++ {
		s.Admission[a] = n.gate.Count(a)
	}
	for _, p := range n.peers {
		q := PeerStatus{
			Peer: p.Peer.Peer, OnRecord: p.record != nil,
			OutboundStatus: p.Outbound.Status(now), InboundStatus: p.Inbound.Status(now),
		}
		if p.heard != 0 {
			q.LastHeard = now.Wall.Add(p.heard - now.Mono)
		}
		s.Peers = append(s.Peers, q)
	}
	slices.SortStableFunc(s.Peers, func(a, b PeerStatus) int { return cmp.Compare(a.Name, b.Name) })
	return s
}

// Founded says whether it is on record which site writes.
func (n *Node) Founded() bool { return n.role.Founded() }

// Tickets is the last ticket that was given to a stage.
func (n *Node) Tickets() uint64 { return n.t.Tickets() }

// Unheard lists the peers that have not reported their positions since this heart began.
func (n *Node) Unheard() []string { return n.role.UnheardNames() }

// PeerAcks is how long one peer took to confirm.
type PeerAcks struct {
	Name string
	lag.Acks
}

// Acks returns those of the configured peers, sorted by name, and shares nothing.
func (n *Node) Acks() (acks []PeerAcks) {
	for _, p := range n.peers {
		if p.Configured {
			acks = append(acks, PeerAcks{p.Name, p.Acks()})
		}
	}
	slices.SortFunc(acks, func(a, b PeerAcks) int { return cmp.Compare(a.Name, b.Name) })
	return acks
}
