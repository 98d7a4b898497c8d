package node

import (
	"fmt"

	"github.com/claudefs/repl/wire"
)

// Check says which of the inequalities that stand beside the fields does not hold, of this
// room and of those that it composes. It walks all logs: for tests and the simulator.
func (n *Node) Check() error {
	for _, room := range []interface{ Check() error }{n.role, n.gate, n.desk} {
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
	for _, p := range n.peers {
		if err := n.checkPeer(p); err != nil {
			return fmt.Errorf("peer %s: %w", p.Name, err)
		}
	}
	return n.checkMirrors()
}

func (n *Node) checkPeer(p *peer) error {
	switch {
	case (p.link != nil) != (p.phase >= phaseHello):
		return fmt.Errorf("phase %s, with a link: %t", p.phase, p.link != nil)
	case p.link != nil && (p.link.peer != p || !p.link.Dialed || p.link.Closed):
		return fmt.Errorf("link %d is not its own, or ended", p.link.Link)
	case p.reader != readerStopped && (p.phase == phaseResume || p.phase == phaseSeek):
		return fmt.Errorf("phase %s, and its reader does not rest: %d", p.phase, p.reader)
	case p.in != nil && (!p.in.open || p.in.peer != p):
		return fmt.Errorf("link %d carries its session and was not welcomed", p.in.Link)
	case p.sender == nil:
		return nil
	}
	if err := p.sender.Check(); err != nil {
		return err
	}
	for s := range p.logs {
		pl, tail := &p.logs[s], n.own[s].Tail.Seq
		if p.phase == phaseLive && p.sender.In(wire.Shard(s)) && !p.sender.Sent(wire.Shard(s)).Covers(pl.durable) {
			return fmt.Errorf("shard %d: confirmed seq %d, sent %d, durable here %d",
				s, pl.durable.Seq, p.sender.Sent(wire.Shard(s)).Seq, tail)
		}
	}
	return nil
}

func (n *Node) checkMirrors() error {
	unclean := 0
	for _, m := range n.mirrors {
		for s := range m.logs {
			l := &m.logs[s]
			unclean += behind(l)
			if !l.durable.Covers(l.floor) && !l.store.Covers(l.floor) {
				return fmt.Errorf("mirror of site %08x, shard %d: floor %s, durable %s, in the Store %s",
					m.site, s, l.floor, l.durable, l.store)
			}
		}
	}
	if unclean != n.unclean {
		return fmt.Errorf("%d mirrored logs are ahead of the Store, counted %d", n.unclean, unclean)
	}
	return nil
}
