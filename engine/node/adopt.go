package node

import (
	"slices"

	"github.com/claudefs/repl/engine/event"
	"github.com/claudefs/repl/engine/internal/plant"
	"github.com/claudefs/repl/engine/step"
	"github.com/claudefs/repl/engine/stream"
	"github.com/claudefs/repl/wire"
)

// Where a journal is lost and every site has given back what was in it, the Store is the
// last that has it, as state. Its cursor names incarnation, seq and chain, so the log goes
// on behind that, in the same history (I4); whatever lies beyond comes back from who has
// it. What lies before is nowhere any more: a site that still needs it has to get the state.
//
//	own log:      refused everywhere ─▶ tail := Store's cursor ─▶ sessions again ─▶ restored or equal
//	suspect log:  nobody has more    ─▶ it ends where it does  ─▶ sessions again ─▶ compared, shipped
//	mirrored log: the writer keeps nothing behind our tail ─▶ tail := Store's cursor ─▶ session again

// adoptable: the Store is ahead of the journal, every peer is linked and has told where
// it ends, and whoever has more than the journal does not keep what follows there.
func (n *Node) adoptable(s wire.Shard) bool {
	o := &n.own[s]
	if !n.role.Own() || n.t.Relate(o.ID, o.Tail, o.store) != step.Ahead {
		return false
	}
	return n.lastWord(s, func(pl *stream.SentLog) bool {
		return n.t.Relate(o.ID, o.Tail, pl.Answer) != step.Ahead ||
			pl.Stop != nil && pl.Stop.Code == wire.RefuseNotRetained
	})
}

// endable: damage left a log suspect, and every peer is linked and has told that it ends no
// further. What the damage may have taken was here only.
func (n *Node) endable(s wire.Shard) bool {
	o := &n.own[s]
	return o.Suspect && n.lastWord(s, func(pl *stream.SentLog) bool {
		relation := n.t.Relate(o.ID, o.Tail, pl.Answer)
		return relation != step.Ahead && relation != step.Differ && n.t.Covers(o.ID, o.Tail, pl.Applied)
	})
}

// lastWord says whether nothing of an own log is on its way back, every peer is linked and
// has told where it ends, and all of them agree.
func (n *Node) lastWord(s wire.Shard, agrees func(*stream.SentLog) bool) bool {
	o := &n.own[s]
	if n.t.Down[Own] != nil || o.Stopped || o.Fetching || n.desk.Staged(s) {
		return false
	}
	return !slices.ContainsFunc(n.peers, func(p *peer) bool {
		switch {
		case !p.Awaited():
			return false // it has nothing
		case !p.Answered || p.Phase < stream.PhaseSeek:
			return true
		}
		return !agrees(&p.Logs[s])
	})
}

// goOn ends what nobody can bring back of an own log, if that is known.
func (n *Node) goOn(s wire.Shard) {
	switch {
	case n.adoptable(s):
		n.adoptStore(s)
	case n.endable(s):
		n.gate.End(s)
	}
}

// adoptStore has an own log go on behind the Store. It admits nothing by itself: the
// sessions that begin again compare with every peer, and fetch what lies beyond.
func (n *Node) adoptStore(s wire.Shard) {
	n.gate.GoOn(s, n.own[s].store)
	n.renew = true
}

// allHeard tries every log once the last peer has told where it ends, then the gate.
func (n *Node) allHeard() {
	for s := range n.own {
		n.goOn(wire.Shard(s))
	}
	n.gate.AllHeard()
}

// askKept asks the writer, which leaves logs out of its session, whether it keeps what
// follows the mirrors that the Store is ahead of.
func (n *Node) askKept(p *peer) {
	for s := range p.Mirror.Logs {
		if m := &p.Mirror.Logs[s]; !m.Refused() && m.Adoptable() {
			n.desk.AskKept(wire.LogID{Site: p.Site, Shard: wire.Shard(s)}, m.Durable)
		}
	}
}

// mended: the Store's state of a shard is that of another site, at its cursors. Mirrors that
// end before those go on behind them: covered, but no source below. Own logs do where
// nobody keeps what leads there; else that comes back first.
func (n *Node) mended(in *Mended) {
	if uint32(in.Shard) >= n.t.C.Shards {
		return
	}
	at := func(log wire.LogID) (at wire.Position) {
		for i := range in.Cursors {
			if in.Cursors[i].Log == log {
				at = in.Cursors[i].Position
			}
		}
		return at
	}
	own := n.t.LogID(in.Shard)
	n.own[in.Shard].store = at(own)
	n.own[in.Shard].Needs(at(own), "the Store")
	n.t.UnnoteStopped(own, applierStopped)
	n.ownFloor(in.Shard)
	n.goOn(in.Shard)
	for _, site := range n.mirrors.Sites {
		log, m := wire.LogID{Site: site.Site, Shard: in.Shard}, &site.Logs[in.Shard]
		n.t.UnnoteStopped(log, applierStopped)
		n.mirrors.Mended(log, m, at(log))
		n.mirrorFloor(log, m)
		if p := n.peer(log.Site); p != nil {
			n.adoptMirror(p, log)
		}
	}
}

// adoptMirror has a mirrored log go on behind the Store, because its writer does not keep
// what follows the mirror. Its session begins again when the last such log is through.
func (n *Node) adoptMirror(p *peer, log wire.LogID) bool {
	m := n.mirrorLog(log)
	if m == nil || !m.Adoptable() || plant.MirrorStuck {
		return false
	}
	n.t.Tell(&event.MirrorAdopted{Place: event.Place{Peer: p.Site, Log: log}, Tail: m.Durable, Store: m.Store})
	n.mirrors.Adopt(log, m)
	n.mirrorFloor(log, m)
	if l := p.in; l != nil && !l.Closed && !n.desk.AsksKept(p.Site) {
		n.close(l, "mirrors go on behind the Store")
	}
	return true
}
