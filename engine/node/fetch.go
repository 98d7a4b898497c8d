package node

import (
	"fmt"
	"slices"

	"github.com/claudefs/repl/engine/event"
	"github.com/claudefs/repl/engine/fetch"
	"github.com/claudefs/repl/engine/internal/plant"
	"github.com/claudefs/repl/engine/step"
	"github.com/claudefs/repl/engine/stream"
	"github.com/claudefs/repl/wire"
)

// onFetch is what asking for batches does to the rest of the heart.
type onFetch struct{ n *Node }

var _ fetch.Heart = onFetch{}

// Holds returns the durable tail of a log that may be given to others.
func (f onFetch) Holds(log wire.LogID) (wire.Position, *step.Stop) {
	n := f.n
	no := func(code wire.RefusalCode, what string) *step.Stop {
		return step.Stopf(code, "site %s: %s %s", n.t.C.SiteName, n.t.LogName(log), what)
	}
	if o := n.ownLog(log); o != nil {
		switch {
		case n.t.Down[Own] != nil:
			return o.Tail, no(wire.RefuseInternal, "lies in a journal that stopped")
		case o.Suspect:
			return o.Tail, no(wire.RefuseSuspect, "is damaged here as well")
		}
		return o.Tail, nil
	}
	m := n.mirrorLog(log)
	switch {
	case m == nil || m.Durable.Seq == 0:
		return wire.Position{}, no(wire.RefuseNotRetained, "is not held here")
	case n.t.Down[Mirror] != nil:
		return m.Durable, no(wire.RefuseInternal, "lies in a journal that stopped")
	case m.Suspect:
		return m.Durable, no(wire.RefuseSuspect, "is damaged here as well")
	}
	return m.Durable, nil
}

// Mirror is where a mirrored log ends durably.
func (f onFetch) Mirror(log wire.LogID) (tail wire.Position, suspect, ok bool) {
	m := f.n.mirrorLog(log)
	if m == nil {
		return wire.Position{}, false, false
	}
	return m.Durable, m.Suspect, true
}

// Staged is where a mirrored log ends, with what is on its way to the medium.
func (f onFetch) Staged(log wire.LogID) (wire.Position, wire.Stamp) { return f.n.mirrors.Staged(log) }

// Pulled: so much more of a closed log is staged.
func (f onFetch) Pulled(ticket uint64, log wire.LogID, end wire.Position, stamp wire.Stamp) {
	f.n.mirrors.Pulled(ticket, log, end, stamp)
}

// Opens has a mirrored log go on in the incarnation that a START opens.
func (f onFetch) Opens(h *wire.BatchHeader) *step.Stop {
	return f.n.mirrors.GoesOn(h, f.n.msg.in.Starts)
}

// MirrorProven: the log's own site goes on from, or ends at, our tail.
func (f onFetch) MirrorProven(log wire.LogID) {
	n := f.n
	m := n.mirrorLog(log)
	if m.Suspect {
		n.mirrors.Clear(log, m)
		n.t.Tell(&event.MirrorProven{Place: event.Place{Peer: log.Site, Log: log}, Tail: m.Durable})
	}
}

// Repaired begins a session again with sites that lack what an own log has again:
// their readers may have passed the place, and nothing may come behind it to tell.
func (f onFetch) Repaired(log wire.LogID, from, to wire.Position) {
	for _, p := range f.n.peers {
		if p.Phase != stream.PhaseLive || !p.Sender.In(log.Shard) {
			continue
		}
		if sent := p.Sender.Sent(log.Shard); f.n.t.Covers(log, sent, from) && !f.n.t.Covers(log, sent, to) {
			f.n.close(p.link, "what damage had taken is here again")
		}
	}
}

// Elsewhere queues an own log at another peer that has more of it.
func (f onFetch) Elsewhere(s wire.Shard, beyond wire.Position) bool {
	n, o := f.n, &f.n.own[s]
	for _, p := range n.peers {
		pl := &p.Logs[s]
		if p.link == nil || p.link.Closed || p.Phase < stream.PhaseSeek || pl.Stop != nil || o.Stopped {
			continue
		}
		more := !n.t.Covers(n.t.LogID(s), beyond, pl.Answer)
		if more && n.t.Relate(o.ID, o.Tail, pl.Answer) == step.Ahead {
			n.peerAhead(p, s)
			n.desk.Next(p.link.Line)
			return true
		}
	}
	n.goOn(s)
	return false
}

// NotKept has the mirror of a log go on behind the Store, if that is ahead of it.
func (f onFetch) NotKept(from wire.SiteID, log wire.LogID) bool {
	return log.Site == from && f.n.adoptMirror(f.n.peer(from), log)
}

// Needless: nobody lacks a log up to there.
func (f onFetch) Needless(log wire.LogID, to wire.Position) bool {
	return f.n.t.Covers(log, f.n.Floor(f.n.t.JournalOf(log), log), to)
}

// Grow moves the durable tail of an own log.
func (f onFetch) Grow(g *stream.Growth) { f.n.out.Grow(g) }

// Unpinned has the floors of a shard's logs rise again.
func (f onFetch) Unpinned(s wire.Shard) {
	n := f.n
	n.ownFloor(s)
	for _, site := range n.mirrors.Sites {
		n.mirrorFloor(wire.LogID{Site: site.Site, Shard: s}, &site.Logs[s])
	}
}

// GaveBack: a peer that fell back since does not have it any more.
func (f onFetch) GaveBack(from wire.SiteID, s wire.Shard, goal wire.Position) {
	if p := f.n.peer(from); p != nil && p.Logs[s].Answer == goal {
		p.Confirm(s, goal)
	}
}

// CannotGive takes the log out of the peer's session.
func (f onFetch) CannotGive(from wire.SiteID, s wire.Shard, why *step.Stop) {
	if p := f.n.peer(from); p != nil { // else it was given up
		p.TakeOut(s, why)
	}
}

// Diverged stops the log.
func (f onFetch) Diverged(from wire.SiteID, s wire.Shard, why *step.Stop) {
	if p := f.n.peer(from); p != nil {
		p.Diverged(s, why)
		return
	}
	f.n.gate.Stop(s, why.Code, fmt.Sprintf("a site that was given up: %s", why.Text))
}

// NotTaken ends the peer's session.
func (f onFetch) NotTaken(from wire.SiteID) {
	if p := f.n.peer(from); p != nil && p.link != nil {
		f.n.close(p.link, "the own journal does not take what was given back")
	}
}

// resumeLacking begins a session again with sites that were left out of one because a log
// was not whole, here or there, which is whole here now, or may be there: so that they
// are served, or asked again, once nothing more is on its way back. It ends a step,
// because it may end any link.
func (n *Node) resumeLacking() {
	if len(n.gate.Whole) == 0 || n.desk.Restoring() {
		if plant.BackUntold {
			n.gate.Whole = n.gate.Whole[:0]
		}
		return
	}
	for _, p := range n.peers {
		left := func(s wire.Shard) bool { return p.Logs[s].Stop != nil && p.Logs[s].Stop.Missing() }
		if p.Phase >= stream.PhaseSeek && (n.renew || slices.ContainsFunc(n.gate.Whole, left)) {
			n.close(p.link, "a log that was not whole is tried again")
		}
	}
	n.gate.Whole, n.renew = n.gate.Whole[:0], false
}

// logDamaged has what damage took asked for.
func (n *Node) logDamaged(in *LogDamaged) {
	if n.mirrorLog(in.Log) != nil || n.ownLog(in.Log) != nil && !plant.OwnDamageKept {
		n.desk.Damaged(in)
	}
}

// verifyAsk puts a question of a verification on a link to the peer.
func (n *Node) verifyAsk(in *VerifyAsk) {
	p := n.peer(in.Peer)
	if p == nil {
		n.desk.NoPeer(in)
		return
	}
	var line *fetch.Line
	if l := n.quietLink(p); l != nil {
		line = l.Line
	}
	n.desk.Compare(in, line, p.Reason)
}

// quietLink is the link to a peer that carries fewer batches, or the one there is:
// an answer must not stand behind a window of them.
func (n *Node) quietLink(p *peer) *link {
	dialed, accepted := p.link, p.in
	if p.Phase < stream.PhaseSeek {
		dialed = nil
	}
	if accepted != nil && !accepted.open {
		accepted = nil
	}
	if dialed == nil || accepted != nil && n.role.Own() {
		return accepted
	}
	return dialed
}
