package node

import (
	"github.com/claudefs/repl/engine/internal/plant"
	"github.com/claudefs/repl/wire"
)

// Floor returns the position of a log that everyone who is registered has
// durably, and that the own Store will not need again: what lies before may go.
// A registered peer holds it whether it is configured or not (I12); an
// unregistered one does not.
func (n *Node) Floor(j Journal, log wire.LogID) wire.Position {
	if uint32(log.Shard) >= n.c.Shards {
		return wire.Position{}
	}
	if j == Own {
		if log.Site != n.c.Site {
			return wire.Position{}
		}
		floor := n.own[log.Shard].store
		if plant.RetainPastStore {
			floor = n.own[log.Shard].tail
		}
		for _, p := range n.peers {
			if plant.RetainPastAbsent && p.link == nil {
				continue
			}
			at := p.logs[log.Shard].durable
			if plant.RetainBySent {
				at = p.sender.Sent(log.Shard)
			}
			if p.registered && at.Seq < floor.Seq {
				floor = at
			}
		}
		return floor
	}
	m := n.mirrorLog(log)
	if m == nil {
		return wire.Position{}
	}
	floor := m.store
	for _, p := range n.peers {
		if !p.registered || p.Site == log.Site {
			continue
		}
		if at := p.copyOf(log); at.Seq < floor.Seq {
			floor = at
		}
	}
	return floor
}

// ownFloor notes that the floor of an own log may have risen.
func (n *Node) ownFloor(s wire.Shard) {
	o := &n.own[s]
	if floor := n.Floor(Own, n.logID(s)).Seq; floor != o.floor {
		n.rose[Own] = n.rose[Own] || floor > o.floor
		o.floor = floor
	}
}

func (n *Node) mirrorFloor(log wire.LogID, m *mirrorLog) {
	if floor := n.Floor(Mirror, log).Seq; floor != m.floor {
		n.rose[Mirror] = n.rose[Mirror] || floor > m.floor
		m.floor = floor
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
			m.store = c.Position
			n.mirrorFloor(c.Log, m)
		}
	}
}

// retain has segments below the floors given back.
func (n *Node) retain() {
	n.retainAt = n.now.Mono + retainEvery
	for j := Own; j <= Mirror; j++ {
		if n.rose[j] {
			n.rose[j] = false
			n.e.Retain = append(n.e.Retain, j)
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
		ends = make([]wire.Position, n.c.Shards)
		p.copies = append(p.copies, &copied{row.Log.Site, ends})
	}
	ends[row.Log.Shard] = row.Durable
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
