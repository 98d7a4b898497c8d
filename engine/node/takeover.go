package node

// giveWay ends the session to p for one on a better link. What was under way is sent
// again from where the peer says that it is, as after any other end.
func (n *Node) giveWay(p *peer) {
	if p.link != nil {
		n.close(p.link, "a better link takes over")
	}
	if n.mayDial(p) {
		p.phase = phaseDialing
	}
}
