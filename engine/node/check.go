package node

import "fmt"

// Check says which of the inequalities that stand beside the fields does not hold, of this
// room and of those that it composes. It walks all logs: for tests and the simulator.
func (n *Node) Check() error {
	for _, room := range []interface{ Check() error }{n.role, n.gate, n.desk, n.out, n.mirrors} {
		if err := room.Check(); err != nil {
			return err
		}
	}
	strangers := 0
	for _, l := range n.order {
		if !l.Closed && !l.Dialed && l.peer == nil {
			strangers++
		}
	}
	if strangers != n.strangers {
		return fmt.Errorf("%d accepted links wait for a hello, counted %d", n.strangers, strangers)
	}
	if len(n.role.Peers) != len(n.peers) || len(n.out.Peers) != len(n.peers) || len(n.mirrors.Peers) != len(n.peers) {
		return fmt.Errorf("%d peers, of role %d, of streams %d and %d", len(n.peers), len(n.role.Peers),
			len(n.out.Peers), len(n.mirrors.Peers))
	}
	for i, p := range n.peers {
		if n.role.Peers[i] != p.Peer || n.out.Peers[i] != p.Outbound || n.mirrors.Peers[i] != p.Inbound {
			return fmt.Errorf("peer %s is not the same in all rooms", p.Name)
		}
		if err := p.check(); err != nil {
			return fmt.Errorf("peer %s: %w", p.Name, err)
		}
	}
	return nil
}

func (p *peer) check() error {
	switch {
	case (p.link != nil) != (p.Outbound.Link != 0):
		return fmt.Errorf("its session is on link %d, it has one: %t", p.Outbound.Link, p.link != nil)
	case p.link != nil && (p.link.peer != p || !p.link.Dialed || p.link.Closed || p.link.Link != p.Outbound.Link):
		return fmt.Errorf("link %d is not its own, or ended", p.link.Link)
	case p.in != nil && (!p.in.open || p.in.peer != p):
		return fmt.Errorf("link %d carries its session and was not welcomed", p.in.Link)
	}
	return nil
}
