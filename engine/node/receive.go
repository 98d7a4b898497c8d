package node

import (
	"fmt"
	"slices"
	"time"

	"github.com/claudefs/repl/engine/internal/plant"
	"github.com/claudefs/repl/engine/stream"
	"github.com/claudefs/repl/wire"
)

// batches decides on a frame of batches by their headers, stages what
// continues its log and acknowledges the frame as received.
func (n *Node) batches(l *link) error {
	in := &n.msg.in
	p := l.peer
	if err := p.receiver.Open(in.Envelope.Number); err != nil {
		return err
	}
	lo := n.t.E.Mark()
	size := int64(0)
	p.received.frames++
	for i := range in.Headers {
		h := &in.Headers[i]
		p.received.bytes += int64(h.Bytes())
		if n.take(p, l, h) {
			n.t.E.Pick(i)
			size += int64(h.Bytes())
		}
		if l.Closed { // nothing of the frame is staged: its tails go back
			for _, taken := range n.t.E.Picked(lo) {
				p.failed = append(p.failed, in.Headers[taken].Shard)
			}
			n.t.E.Unpick(lo)
			return nil
		}
	}
	ticket := uint64(0)
	if n.t.E.Mark() > lo {
		ticket = n.t.Ticket()
		n.t.E.Stages = append(n.t.E.Stages, Stage{Kind: StageMirror, Ticket: ticket, Batches: n.t.E.Picked(lo)})
	}
	waits := p.receiver.Close(n.t.Now.Mono, ticket, size)
	n.ack(l, wire.LevelReceived, in.Envelope.Number)
	if !waits || plant.AckOnReceipt {
		n.ack(l, wire.LevelDurable, in.Envelope.Number)
	}
	return nil
}

func (n *Node) ack(l *link, level wire.AckLevel, number uint64) {
	n.msg.ack = wire.Ack{Level: level, Number: number}
	n.send(l, &n.msg.ack)
}

// take says whether a batch goes into the mirror. A batch that is not of this
// cluster, or not of the peer, ends the session; what is wrong with one log
// takes that log out of it, and is told before any ack of the frame.
func (n *Node) take(p *peer, l *link, h *wire.BatchHeader) bool {
	log := h.Log()
	var m *mirrorLog
	var tail stream.Tail
	if log.Site == p.Site && uint32(log.Shard) < n.t.C.Shards {
		m = &p.mirror.logs[log.Shard]
		if m.refused != nil {
			return false
		}
		tail = m.tail
	}
	take, why := l.rules.Judge(&tail, h)
	switch {
	case why != nil && why.Code < wire.RefuseUnknownIncarnation:
		n.event(EventRefused, p.Site, log, true, fmt.Sprintf("session of site %s ended: %s", p.Name, why.Text))
		n.refuse(l, why.Code, why.Text)
	case why != nil && m == nil:
		n.takeForeign(p, l, log, why)
	case why != nil:
		m.refused = why
		p.refusals = append(p.refusals, log.Shard)
		n.t.NoteStopped(log, why.Code, why.Text)
		n.refuseBatch(p, l, log, m.tail.Position, why)
	}
	if !take {
		return false
	}
	if m.suspect { // the log's own writer continues it: the tail is proven
		n.clearMirror(log, m)
	}
	m.tail.Follow(h)
	m.end = p.receiver.Add(h, m.end)
	return true
}

func (n *Node) refuseBatch(p *peer, l *link, log wire.LogID, tail wire.Position, why *stream.Stop) {
	n.event(EventLogStopped, p.Site, log, true,
		fmt.Sprintf("refused %s from site %s: %s", n.t.LogName(log), p.Name, why.Text))
	n.msg.batchRefusal = wire.BatchRefusal{Code: why.Code, Log: log, Position: tail, Text: why.Text}
	n.send(l, &n.msg.batchRefusal)
}

// takeForeign refuses a log that the cluster does not have, once; too many of
// them end the session.
func (n *Node) takeForeign(p *peer, l *link, log wire.LogID, why *stream.Stop) {
	switch {
	case slices.Contains(p.foreign, log):
	case len(p.foreign) == foreignLogMax:
		n.malformed(l, fmt.Errorf("log %s, after %d others that site %s does not have: %w",
			log, foreignLogMax, p.Name, wire.ErrProtocol))
	default:
		p.foreign = append(p.foreign, log)
		n.refuseBatch(p, l, log, wire.Position{}, why)
	}
}

// durable takes the end of flushes.
func (n *Node) durable(in *Durable) {
	if in.Journal == Own {
		n.desk.Durable(in.Ticket)
		return
	}
	for _, p := range n.peers {
		n.flushed(p, in.Ticket)
	}
	n.pageIfDue()
}

// flushed accounts for a peer's frames up to ticket and acknowledges the last.
func (n *Node) flushed(p *peer, ticket uint64) {
	number, lost := uint64(0), false
	for {
		f, ends, ok := p.receiver.Next(ticket)
		if !ok {
			break
		}
		for i := range ends {
			end := &ends[i]
			if f.Failed {
				p.failed = append(p.failed, end.Shard)
				continue
			}
			m := &p.mirror.logs[end.Shard]
			n.unclean -= behind(m)
			m.durable, m.stamp = end.Position, end.Stamp
			p.mirror.stamp = max(p.mirror.stamp, end.Stamp)
			n.unclean += behind(m)
			n.owe(wire.LogID{Site: p.Site, Shard: end.Shard}, m)
		}
		lost = lost || f.Failed
		if !lost {
			number = f.Number
		}
	}
	if number != 0 && p.in != nil && p.in.open {
		n.ack(p.in, wire.LevelDurable, number)
	}
	n.welcome(p)
}

// stageFailed: the batches of a ticket are nowhere. The session that brought
// them ends; the next one begins at what is durable.
func (n *Node) stageFailed(in *StageFailed) {
	if n.desk.StageFailed(in) {
		return
	}
	for _, p := range n.peers {
		if !p.receiver.Fail(in.Ticket) {
			continue
		}
		n.event(EventJournalDown, p.Site, wire.LogID{}, true,
			fmt.Sprintf("batches of site %s could not be mirrored: %v", p.Name, in.Err))
		if p.in != nil {
			n.refuse(p.in, wire.RefuseInternal, fmt.Sprintf("site %s cannot mirror: %v", n.t.C.SiteName, in.Err))
		}
		n.flushed(p, 0)
	}
}

// leftOut notes how many logs the peer leaves out of its session: what it cannot give,
// this end cannot see. Those that this end refused it knows.
func (n *Node) leftOut(p *peer, logs uint32) {
	logs -= min(logs, uint32(len(p.refusals)))
	if p.leftOut == 0 && logs > 0 {
		n.event(EventLogStopped, p.Site, wire.LogID{}, true, fmt.Sprintf(
			"site %s leaves %d of its logs out of the session: its status tells why", p.Name, logs))
	}
	if logs > p.leftOut {
		n.askKept(p)
	}
	p.leftOut = logs
}

// heartbeat is answered at once.
func (n *Node) heartbeat(l *link) error {
	n.leftOut(l.peer, n.msg.in.Envelope.Stopped)
	if h := &n.msg.heartbeat; l == l.peer.in {
		l.peer.behind.heartbeat(n.t.Now.Mono, h.LastStamp, time.UnixMicro(int64(h.Clock)), l.peer.mirror.stamp)
	}
	n.msg.echo = wire.HeartbeatEcho{Clock: uint64(n.t.Now.Wall.UnixMicro()), Number: n.msg.heartbeat.Number}
	n.send(l, &n.msg.echo)
	return nil
}

// applied takes what the Store has applied. Pages tell the peers of their own
// logs; ours concern nobody but us.
func (n *Node) applied(in *Applied) {
	for i := range in.Cursors {
		c := &in.Cursors[i]
		m := n.mirrorLog(c.Log)
		if m == nil || n.t.Covers(c.Log, m.applied, c.Position) {
			continue
		}
		n.unclean -= behind(m)
		m.applied = c.Position
		n.unclean += behind(m)
		n.owe(c.Log, m)
	}
	n.pageIfDue()
}
