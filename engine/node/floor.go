package node

import (
	"slices"
	"time"

	"github.com/claudefs/repl/engine/internal/plant"
	"github.com/claudefs/repl/engine/step"
	"github.com/claudefs/repl/engine/stream"
	"github.com/claudefs/repl/wire"
)

// retainEvery is between two rounds of giving segments back.
const retainEvery = time.Second

// retention is which journals may have segments that nobody needs (floors rose, an earlier life
// began them, newer control records lie behind them), and when they may go.
type retention struct {
	n      *Node
	raised [Mirror + 1]bool
	at     time.Duration
}

// Due is when segments may go.
func (r *retention) Due() time.Duration {
	if !r.raised[Own] && !r.raised[Mirror] {
		return step.Never
	}
	return r.at
}

// Tick has segments below the floors given back, if that is due.
func (r *retention) Tick() {
	t := r.n.t
	if t.Now.Mono < r.Due() {
		return
	}
	r.at = t.Now.Mono + retainEvery
	for j := Own; j <= Mirror; j++ {
		if r.raised[j] {
			r.raised[j] = false
			t.E.Reclaim = append(t.E.Reclaim, j)
		}
	}
}

// Floor returns the position of a log that everyone who holds it has durably, and that
// the own Store will not need again: what lies before may go (I12).
func (n *Node) Floor(j Journal, log wire.LogID) wire.Position {
	at, _ := n.floor(j, log)
	return at
}

// Holder names who keeps the floor of a log where it is: a site, or 0 for the own Store.
func (n *Node) Holder(j Journal, log wire.LogID) wire.SiteID {
	_, p := n.floor(j, log)
	if p == nil {
		return 0
	}
	return p.Site
}

// floor is the least position that somebody has, and who: nil = the Store.
func (n *Node) floor(j Journal, log wire.LogID) (floor wire.Position, holder *peer) {
	if uint32(log.Shard) >= n.t.C.Shards || plant.FloorsStuck {
		return wire.Position{}, nil
	}
	if site := n.desk.Pinned(log.Shard); site != 0 {
		return n.pinned(log), n.peer(site)
	}
	if j == Mirror {
		return n.floorOfMirror(log)
	}
	if log.Site != n.t.C.Site {
		return wire.Position{}, nil
	}
	floor = n.own[log.Shard].store
	if plant.RetainPastStore {
		floor = n.own[log.Shard].Tail
	}
	for _, p := range n.peers {
		if plant.RetainPastAbsent && p.link == nil {
			continue
		}
		at := p.Logs[log.Shard].Durable
		if plant.RetainBySent {
			at = p.Sender.Sent(log.Shard)
		}
		if plant.SeqOfAnyLife {
			at.Incarnation = floor.Incarnation
		}
		if p.Needs(log.Shard) && !n.t.Covers(log, at, floor) {
			floor, holder = n.t.Lineage(log).Lower(at, floor), p
		}
	}
	return floor, holder
}

// pinned is the floor of a log as it was when its shard was pinned.
func (n *Node) pinned(log wire.LogID) wire.Position {
	if o := n.ownLog(log); o != nil {
		return o.floor
	}
	if m := n.mirrorLog(log); m != nil {
		return m.Floor
	}
	return wire.Position{}
}

// floorOfMirror also waits for the sites that mirror the log as we do: each can give it
// to the others.
func (n *Node) floorOfMirror(log wire.LogID) (floor wire.Position, holder *peer) {
	m := n.mirrorLog(log)
	if m == nil {
		return wire.Position{}, nil
	}
	floor = m.Store
	for _, p := range n.peers {
		if !p.mirrors(log.Site) || plant.MirrorFloorAlone {
			continue
		}
		if at := p.copyOf(log); !n.t.Covers(log, at, floor) {
			floor, holder = n.t.Lineage(log).Lower(at, floor), p
		}
	}
	return floor, holder
}

// mirrors says whether a peer's copy of a third site's logs is waited for: only where its
// pages can come, and not while they come and name none of that site's. Such a peer has
// no link to that site, or is new to it: what it lacks is kept there.
func (p *peer) mirrors(site wire.SiteID) bool {
	if !p.Configured || p.NoAddress || p.Site == site {
		return false
	}
	return p.Phase < stream.PhaseSeek || slices.ContainsFunc(p.copies, func(c *copied) bool { return c.site == site })
}

// ownFloor notes that the floor of an own log may have risen.
func (n *Node) ownFloor(s wire.Shard) {
	o := &n.own[s]
	n.moveFloor(Own, n.t.LogID(s), &o.floor)
}

func (n *Node) mirrorFloor(log wire.LogID, m *stream.MirrorLog) {
	n.moveFloor(Mirror, log, &m.Floor)
}

// moveFloor notes where a floor is now. One that does not lie below the last one gives
// segments back.
func (n *Node) moveFloor(j Journal, log wire.LogID, last *wire.Position) {
	if floor := n.Floor(j, log); floor != *last {
		n.retention.raised[j] = n.retention.raised[j] || !n.t.Covers(log, *last, floor)
		*last = floor
	}
}

// storeDurable takes what the Store will not need again.
func (n *Node) storeDurable(in *StoreDurable) {
	for i := range in.Cursors {
		c := &in.Cursors[i]
		if o := n.ownLog(c.Log); o != nil {
			o.store = c.Position
			n.ownFloor(c.Log.Shard)
		} else if m := n.mirrorLog(c.Log); m != nil {
			m.Store = c.Position
			n.mirrorFloor(c.Log, m)
		}
	}
}

// copyRow notes where a peer's mirror of a third site's log ends.
func (n *Node) copyRow(p *peer, row *wire.PageEntry) {
	m := n.mirrorLog(row.Log)
	if m == nil {
		return // not mirrored here, so nothing is kept for it
	}
	var ends []wire.Position
	for _, c := range p.copies {
		if c.site == row.Log.Site {
			ends = c.ends
		}
	}
	if ends == nil {
		ends = make([]wire.Position, n.t.C.Shards)
		p.copies = append(p.copies, &copied{row.Log.Site, ends})
	}
	ends[row.Log.Shard] = row.Durable
	n.fill(p, row)
	n.mirrorFloor(row.Log, m)
}

// copyOf returns where a peer's mirror of a third site's log ends, as far as
// it has told since we opened.
func (p *peer) copyOf(log wire.LogID) wire.Position {
	for _, c := range p.copies {
		if c.site == log.Site {
			return c.ends[log.Shard]
		}
	}
	return wire.Position{}
}
