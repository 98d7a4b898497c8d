package node

import (
	"fmt"

	"github.com/claudefs/repl/engine/internal/plant"
	"github.com/claudefs/repl/wire"
)

// read asks for the next batches, if the window takes any.
func (n *Node) read(p *peer) {
	if p.phase != phaseLive || p.reading || p.sender.Free() <= 0 || p.sender.Busy() && n.c.sometimes(PointWindowOfOne) {
		return
	}
	p.reading, p.readIdle, p.readAgain = true, false, false
	n.e.Ops = append(n.e.Ops, Op{Kind: OpRead, Link: p.link.id, Bytes: n.c.FrameBytesMax})
}

// readOn wakes a reader that stood at the end. One that is just looking may
// find the end as it was before: it looks again.
func (n *Node) readOn(p *peer) {
	p.readAgain = p.reading
	if p.readIdle {
		p.readIdle = false // Where the window is full, the next ack reads on.
		n.read(p)
	}
}

// readDone ships what the peer lacks of what was read.
func (n *Node) readDone(in *ReadDone) {
	l := n.links[in.Link]
	if l == nil || l.closing || !l.dialed || l.peer.phase != phaseLive || !l.peer.reading {
		return
	}
	p := l.peer
	p.reading = false
	if in.Err != nil {
		n.readFailed(p, in.Err)
		return
	}
	p.readErrs, p.backlog, p.measured = 0, in.Backlog, true
	n.ship(p, in.Headers)
	if count := len(in.Headers); count > 0 {
		p.readStamp = in.Headers[count-1].FirstStamp // what follows may be stamped before its last
	} else if !p.readAgain {
		p.readIdle = true
		return
	}
	n.read(p)
}

// readFailed reports damage. The reader stands behind it, so reading on is
// right: logs that miss a batch leave the session when their next one comes.
func (n *Node) readFailed(p *peer, err error) {
	n.event(EventCorruption, p.Site, wire.LogID{}, true, fmt.Sprintf("own journal of site %s: %v", n.c.SiteName, err))
	p.readErrs++
	if p.readErrs >= readErrorMax {
		n.refuse(p.link, wire.RefuseInternal, n.unreadable(err))
		return
	}
	n.read(p)
}

// ship puts the batches that the peer lacks into frames.
func (n *Node) ship(p *peer, headers []wire.BatchHeader) {
	lo := len(n.e.indexes)
	size := 0
	for i := range headers {
		h := &headers[i]
		if n.ownLog(h.Log()) == nil || h.Kind == wire.BatchControl {
			continue
		}
		p.durable.Passed(h.Shard, h.FirstSeq, h.LastSeq(), h.FirstStamp)
		p.applied.Passed(h.Shard, h.FirstSeq, h.LastSeq(), h.FirstStamp)
		unproven := p.sender.Unproven(h.Shard)
		ship, why := p.sender.Pass(h)
		if why != nil {
			n.outOfSession(p, h.Shard, why)
			continue
		}
		if unproven && !p.sender.Unproven(h.Shard) {
			n.proved(p, h.Shard)
		}
		if !ship {
			continue
		}
		count := len(n.e.indexes) - lo
		if count > 0 && (size+h.Bytes() > n.c.FrameBytesMax || count == frameBatchesMax ||
			n.c.sometimes(PointBatchAFrame)) {
			n.shipFrame(p, lo)
			lo, size, count = len(n.e.indexes), 0, 0
		}
		if count == 0 {
			p.sender.Open()
		}
		p.sender.Add(h)
		p.entries += int64(h.Count)
		n.e.indexes = append(n.e.indexes, i)
		size += h.Bytes()
	}
	if len(n.e.indexes) > lo {
		n.shipFrame(p, lo)
	}
}

// shipFrame sends the batches whose indexes begin at lo.
func (n *Node) shipFrame(p *peer, lo int) {
	hi := len(n.e.indexes)
	number, size := p.sender.Close(n.now.Mono)
	p.frames++
	p.bytes += size
	n.e.Ops = append(n.e.Ops, Op{
		Kind: OpShip, Link: p.link.id, Batches: n.e.indexes[lo:hi:hi],
		Envelope: wire.Envelope{
			Kind: wire.FrameBatches, BatchCount: uint16(hi - lo), WireBytes: uint32(size), PlainBytes: uint32(size),
			Session: p.link.session, Number: number,
		},
	})
}

// acked moves cursors.
func (n *Node) acked(l *link) error {
	p, a := l.peer, &n.msg.ack
	if a.Level == wire.LevelReceived {
		ends, err := p.sender.Received(a.Number)
		for i := range ends {
			if p.sender.In(ends[i].Shard) {
				n.progress(p, wire.LevelReceived, ends[i].Shard, ends[i].Position)
			}
		}
		return err
	}
	if err := p.sender.Durable(a.Number); err != nil {
		return err
	}
	used := p.sender.Used()
	for {
		ends, ok := p.sender.Next(n.now.Mono)
		if !ok {
			break
		}
		for i := range ends {
			if p.sender.In(ends[i].Shard) || plant.AckOverRefusal {
				n.confirm(p, ends[i].Shard, ends[i].Position)
			}
		}
	}
	p.pace.confirmed(n.now.Mono, used-p.sender.Used())
	if !p.readIdle {
		n.read(p)
	}
	return nil
}

// batchRefused takes a log out of frame acks. Where the peer holds another
// history, the log stops here too.
func (n *Node) batchRefused(l *link) error {
	p, r := l.peer, &n.msg.batchRefusal
	if n.ownLog(r.Log) == nil {
		return fmt.Errorf("refusal of log %s, which is not ours: %w", r.Log, wire.ErrProtocol)
	}
	why := refusalStop(r)
	if r.Code == wire.RefuseChain || r.Code == wire.RefuseUnknownIncarnation {
		n.diverged(p, r.Log.Shard, why)
	} else {
		n.takeOut(p, r.Log.Shard, why)
	}
	return nil
}
