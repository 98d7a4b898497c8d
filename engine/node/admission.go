package node

import (
	"fmt"

	"github.com/claudefs/repl/engine/stream"
	"github.com/claudefs/repl/wire"
)

func refusalStop(r *wire.BatchRefusal) *stream.Stop { return &stream.Stop{Code: r.Code, Text: r.Text} }

// contradict notes that a peer names another primary.
func (n *Node) contradict(p *peer, text string) {
	if n.role.Contradict(p.Peer, text) {
		n.gate.Withhold()
	}
}

// agree notes that a peer names the same primary.
func (n *Node) agree(p *peer) {
	if n.role.Agree(p.Peer) {
		n.gate.Reopen()
	}
}

// peerAhead: the peer has entries of our log that we do not have.
func (n *Node) peerAhead(p *peer, s wire.Shard) {
	o, at := &n.own[s], p.logs[s].answer
	ask, why := n.gate.Ahead(s, at, p.Name)
	switch {
	case why != nil && o.Stopped:
		n.takeOut(p, s, why)
	case why != nil:
		n.diverged(p, s, why)
	case ask:
		n.desk.Want(p.link.Line, s, at)
		n.event(EventDataLost, p.Site, n.t.LogID(s), true, fmt.Sprintf(
			"%s: the journal ends at seq %d, site %s has seq %d: fetching it back",
			n.t.OwnName(s), o.Tail.Seq, p.Name, at.Seq))
	}
}
