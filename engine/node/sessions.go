package node

// What the frames of a session do: package stream decides, and what follows for links,
// questions, retention and admission is composed here.

import (
	"github.com/claudefs/repl/engine/event"
	"github.com/claudefs/repl/engine/internal/plant"
	"github.com/claudefs/repl/engine/stream"
	"github.com/claudefs/repl/wire"
)

// onStream is what sessions do to the rest of the heart.
type onStream struct{ n *Node }

var _ stream.Heart = onStream{}

func (s onStream) Refuse(link LinkID, code wire.RefusalCode, text string) {
	s.n.refuse(s.n.links[link], code, text)
}

func (s onStream) Malformed(link LinkID, err error) { s.n.malformed(s.n.links[link], err) }

// Ahead has what the peer has beyond the own log fetched, or stops the log.
func (s onStream) Ahead(o *stream.Outbound, shard wire.Shard) { s.n.peerAhead(s.n.peer(o.Site), shard) }

func (s onStream) Learn(start *wire.Start) error { return s.n.learn(start) }

func (s onStream) Held(log wire.LogID) wire.Position { return s.n.held(log) }

func (s onStream) Mirrored() (sites []wire.SiteID) {
	for _, m := range s.n.mirrors.Sites {
		sites = append(sites, m.Site)
	}
	return sites
}

func (s onStream) OwnRow(shard wire.Shard) wire.Position { return s.n.ownRow(shard) }

func (s onStream) Copy(o *stream.Outbound, log wire.LogID) wire.Position {
	return s.n.peer(o.Site).copyOf(log)
}

func (s onStream) CursorMoved(shard wire.Shard) { s.n.ownFloor(shard) }

func (s onStream) Full(o *stream.Outbound) { s.n.learnerFull(s.n.peer(o.Site)) }

func (n *Node) peerAhead(p *peer, s wire.Shard) {
	o, at := &n.own[s], p.Logs[s].Answer
	ask, why := n.gate.Ahead(s, at, p.Name)
	switch {
	case why != nil && o.Stopped:
		p.TakeOut(s, why)
	case why != nil:
		p.Diverged(s, why)
	case ask:
		n.desk.Want(p.link.Line, s, at)
		n.t.Tell(&event.LostFetched{Place: event.Place{Peer: p.Site, Log: n.t.LogID(s)}, Tail: o.Tail, Has: at})
	}
}

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

// welcomed takes the peer's welcome; its positions follow.
func (n *Node) welcomed(l *link, m *wire.Welcome) error {
	p := l.peer
	if err := p.Welcomed(m); err != nil {
		return err
	}
	if p.heardOnce = true; p.toRegister() {
		n.persistNext()
	}
	n.agree(p)
	for _, c := range p.copies { // its pages name only what it has: it may have lost some
		clear(c.ends)
	}
	p.Outbound.Begin()
	return nil
}

// refused takes the other end's last word.
func (n *Node) refused(l *link, r *wire.Refusal) error {
	p := l.peer
	if r.Code == wire.RefuseRemoved && p != nil {
		p.Outbound.Removed = r.Text
	}
	if !l.Dialed {
		n.close(l, r.Text)
		return nil
	}
	switch r.Code {
	case wire.RefuseSession:
		p.Surpassed(r)
	case wire.RefuseSuperseded: // we dial again only when we have given a session up
		n.t.Tell(&event.SessionTaken{Place: event.Place{Peer: p.Site}})
	case wire.RefusePrimary:
		n.contradict(p, r.Text)
	case wire.RefuseFenced:
		raise, why := n.role.Fenced(r.Epoch(), p.Name)
		if n.raise(raise, p.Name); why != nil {
			n.contradict(p, why.Text)
		}
	}
	told := &event.RefusedByPeer{Place: event.Place{Peer: p.Site}, Code: r.Code, Reason: r.Text}
	n.t.Tell(told)
	p.Refused = told.Alarm()
	n.close(l, r.Text)
	return nil
}

// paged takes a cursor page. The last one of the answer to a hello begins the comparison.
func (n *Node) paged(l *link, page *wire.CursorPage) error {
	p := l.peer
	complete, err := p.Page(page, func(row *wire.PageEntry) { n.copyRow(p, row) })
	n.desk.Ask()
	if err != nil || !complete {
		p.Ready()
		return err
	}
	l.Ready = true
	n.retention.raised[Mirror] = true // what its pages do not name is not waited for any more
	p.Resume()
	n.allHeard()
	p.Seek()
	n.desk.Next(l.Line)
	return nil
}

// heartbeat is answered at once.
func (n *Node) heartbeat(l *link, m *wire.Heartbeat) error {
	if l.peer.LeavesOut(n.msg.in.Envelope.Stopped) {
		n.askKept(l.peer)
	}
	l.peer.Heartbeat(m)
	return nil
}

// welcome begins the session that waits, once nothing of the former one is
// under way to the mirror any more.
func (n *Node) welcome(p *peer) {
	if p.next == nil || p.Inbound.Busy() && !plant.EarlyWelcome {
		return
	}
	l := p.next
	p.in, p.next = l, nil
	l.open, l.Ready = true, true
	p.Inbound.Begin(l.Link, l.Session)
	n.t.Tell(&event.LinkUp{
		Place: event.Place{Peer: p.Site}, Session: event.Session{Term: l.term, Counter: l.Session},
	})
	p.Welcome()
	n.desk.Next(l.Line)
}
