package node

// Batches on their way to a peer:
//
//  1. read asks for the next ones, while the window takes any; readOn after a flush.
//  2. readDone passes them through the sender; ship cuts frames of what the peer lacks.
//  3. acked moves cursors and reads on; batchRefused takes a log out.

import (
	"fmt"

	"github.com/claudefs/repl/engine/internal/plant"
	"github.com/claudefs/repl/wire"
)

// read asks for the next batches, if the window takes any.
func (n *Node) read(p *peer) {
	if p.phase != phaseLive || p.reader.busy() || p.sender.Free() <= 0 ||
		p.sender.Busy() && n.t.C.Chance(PointWindowOfOne) {
		return
	}
	p.reader = readerReads
	n.t.E.Ops = append(n.t.E.Ops, Op{Kind: OpRead, Link: p.link.Link, Bytes: n.t.C.FrameBytesMax})
}

// readOn wakes a reader that stood at the end. One that is just looking may
// find the end as it was before: it looks again.
func (n *Node) readOn(p *peer) {
	switch p.reader {
	case readerReads:
		p.reader = readerAgain
	case readerAtEnd:
		p.reader = readerStopped // Where the window is full, the next ack reads on.
		n.read(p)
	}
}

// readDone ships what the peer lacks of what was read.
func (n *Node) readDone(in *ReadDone) {
	l := n.links[in.Link]
	if l == nil || l.Closed || !l.Dialed || l.peer.phase != phaseLive || !l.peer.reader.busy() {
		return
	}
	p := l.peer
	again := p.reader == readerAgain
	p.reader = readerStopped
	if in.Err != nil {
		n.readFailed(p, in.Err)
		return
	}
	p.readErrs, p.backlog, p.measured = 0, in.Backlog, true
	n.ship(p, in.Headers)
	if count := len(in.Headers); count > 0 {
		p.readStamp = in.Headers[count-1].FirstStamp // what follows may be stamped before its last
	} else if !again {
		p.reader = readerAtEnd
		return
	}
	n.read(p)
}

// readFailed reports damage. The reader stands behind it, so reading on is
// right: logs that miss a batch leave the session when their next one comes.
func (n *Node) readFailed(p *peer, err error) {
	n.event(EventCorruption, p.Site, wire.LogID{}, true, fmt.Sprintf("own journal of site %s: %v", n.t.C.SiteName, err))
	p.readErrs++
	if p.readErrs >= readErrorMax {
		n.refuse(p.link, wire.RefuseInternal, n.unreadable(err))
		return
	}
	n.read(p)
}

// ship puts the batches that the peer lacks into frames.
func (n *Node) ship(p *peer, headers []wire.BatchHeader) {
	lo := n.t.E.Mark()
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
		count := n.t.E.Mark() - lo
		if count > 0 && (size+h.Bytes() > n.t.C.FrameBytesMax || count == frameBatchesMax ||
			n.t.C.Chance(PointBatchAFrame)) {
			n.shipFrame(p, lo)
			lo, size, count = n.t.E.Mark(), 0, 0
		}
		if count == 0 {
			p.sender.Open()
		}
		p.sender.Add(h)
		p.entries += int64(h.Count)
		n.t.E.Pick(i)
		size += h.Bytes()
	}
	if n.t.E.Mark() > lo {
		n.shipFrame(p, lo)
	}
}

// shipFrame sends the batches whose indexes begin at lo.
func (n *Node) shipFrame(p *peer, lo int) {
	batches := n.t.E.Picked(lo)
	number, size := p.sender.Close(n.t.Now.Mono)
	p.frames++
	p.bytes += size
	n.t.E.Ops = append(n.t.E.Ops, Op{
		Kind: OpShip, Link: p.link.Link, Batches: batches,
		Envelope: wire.Envelope{
			Kind: wire.FrameBatches, BatchCount: uint16(len(batches)),
			WireBytes: uint32(size), PlainBytes: uint32(size),
			Session: p.link.Session, Number: number,
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
		ends, ok := p.sender.Next(n.t.Now.Mono)
		if !ok {
			break
		}
		for i := range ends {
			if p.sender.In(ends[i].Shard) || plant.AckOverRefusal {
				n.confirm(p, ends[i].Shard, ends[i].Position)
			}
		}
	}
	p.pace.confirmed(n.t.Now.Mono, used-p.sender.Used())
	if p.reader != readerAtEnd {
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
