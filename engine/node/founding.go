package node

import (
	"fmt"

	"github.com/claudefs/repl/engine/internal/plant"
	"github.com/claudefs/repl/wire"
)

// contradict notes that a peer names another primary.
func (n *Node) contradict(p *peer, text string) {
	if n.role.Contradict(p.Peer, text) {
		n.withholdAll()
	}
}

// agree notes that a peer names the same primary. A log that was refused because it had
// not is waiting again.
func (n *Node) agree(p *peer) {
	if !n.role.Agree(p.Peer) {
		return
	}
	for s := range n.own {
		if o := &n.own[s]; !o.stopped && !o.suspect {
			n.admit(wire.Shard(s), AdmitWaiting, nil)
		}
	}
}

func (n *Node) withholdAll() {
	if plant.FreshWriter {
		return
	}
	err := fmt.Errorf("%s: %w", n.role.Withheld(), ErrWithheld)
	for s := range n.own {
		n.admit(wire.Shard(s), AdmitRefused, err)
	}
}
