package node

import (
	"cmp"
	"slices"
	"time"

	"github.com/claudefs/repl/engine/internal/plant"
	"github.com/claudefs/repl/engine/stream"
	"github.com/claudefs/repl/wire"
)

func (p phase) String() string {
	switch p {
	case phaseDialing:
		return "connecting"
	case phaseHello, phaseResume:
		return "hello"
	case phaseSeek:
		return "catching up"
	case phaseLive:
		return "live"
	}
	return "down"
}

// Status returns a snapshot that shares nothing with the node. Its cost is
// that of the peers and of the logs that are behind or stopped, never that of
// all logs.
func (n *Node) Status(now Now) Status {
	s := Status{
		At: now.Wall, Term: n.term, Admission: make(map[Admission]int, len(n.admitted)),
		Stopped: slices.Clone(n.stopped),
	}
	for a, count := range n.admitted {
		s.Admission[Admission(a)] = count
	}
	for _, p := range n.peers {
		if !p.configured && !p.registered {
			continue // forgotten
		}
		s.Peers = append(s.Peers, n.peerStatus(now, p))
	}
	slices.SortStableFunc(s.Peers, func(a, b PeerStatus) int { return cmp.Compare(a.Name, b.Name) })
	return s
}

func (n *Node) peerStatus(now Now, p *peer) PeerStatus {
	s := PeerStatus{Peer: p.Peer, Link: p.phase.String(), Reason: p.reason, LastHeard: p.heard, RTT: p.rtt}
	if !p.configured {
		s.Reason = "registered, but not configured: it holds the retention floor until it is removed"
		s.WaitingOn = stream.WaitLink
		return s
	}
	s.Sessions, s.FramesSent, s.BytesSent = p.sessions, p.frames, p.bytes
	s.WindowBytes, s.WindowUsed = p.sender.Window.Bytes(), p.sender.Used()
	s.Durable = n.lag(now, p, p.durable)
	s.Applied = n.lag(now, p, p.applied)
	s.Durable.Bytes = p.outstandingBytes()
	s.Applied.Bytes = s.Durable.Bytes + p.unappliedBytes()
	for _, shard := range p.stops {
		why := p.logs[shard].stop
		s.Stopped = append(s.Stopped, StoppedLog{Log: n.logID(shard), Code: why.Code, Reason: why.Text})
	}
	slices.SortFunc(s.Stopped, func(a, b StoppedLog) int { return a.Log.Compare(b.Log) })
	switch {
	case p.phase == phaseLive && p.backlog > s.WindowBytes && s.Durable.Entries > 0:
		s.Link = "catching up"
	case p.phase == phaseDown && p.refused:
		s.Link = "refused"
	}
	if p.link != nil {
		s.Session, s.Dialed = p.link.session, p.link.id
	}
	if p.in != nil {
		s.Accepted = p.in.id
	}
	s.WaitingOn = p.waitingOn(&s)
	return s
}

// waitingOn names the first thing that keeps the peer from being caught up.
func (p *peer) waitingOn(s *PeerStatus) stream.WaitingOn {
	switch {
	case p.phase != phaseLive:
		return stream.WaitLink
	case s.Durable.Entries > 0 && p.sender.Free() <= 0:
		return stream.WaitWindow
	case s.Durable.Entries > 0 && p.sender.Frames() > 0:
		return stream.WaitPeer
	case len(p.stops) > 0:
		return stream.WaitStopped
	case s.Durable.Entries > 0:
		return stream.WaitDisk
	case s.Applied.Entries > 0:
		return stream.WaitApply
	case !s.Durable.Known:
		return stream.WaitPeer
	}
	return stream.WaitNothing
}

// lag is what a meter knows and whether a fresh answer proves it. It is 0 only
// when nothing is outstanding and the peer has just answered; while that is
// not proven the exposure counts on from the last proof.
func (n *Node) lag(now Now, p *peer, m *stream.Meter) stream.Lag {
	oldest, stamped := m.Oldest(p.readStamp)
	lag := stream.Lag{
		Known: p.answered && p.fresh && stamped && now.Mono-p.proven <= n.c.HeartbeatTimeout &&
			!p.contradicts(),
		Entries: m.Entries(),
	}
	if oldest != 0 {
		lag.Time = max(now.Wall.Sub(oldest.Time()), time.Microsecond)
	}
	if plant.LagByIgnorance && !lag.Known {
		return stream.Lag{Known: true}
	}
	if !lag.Known {
		since := n.startAt
		if p.fresh {
			since = p.proven
		}
		lag.Time = max(lag.Time, now.Mono-since)
	}
	return lag
}

// contradicts says whether a log has another history at the peer: then nobody knows
// how much of ours it has.
func (p *peer) contradicts() bool {
	return slices.ContainsFunc(p.stops, func(s wire.Shard) bool {
		return p.logs[s].stop != nil && !lacks(p.logs[s].stop.Code)
	})
}

// outstandingBytes is what is under way and what the reader has before it.
func (p *peer) outstandingBytes() int64 {
	if p.durable.Entries() == 0 {
		return 0
	}
	return p.sender.Used() + p.backlog
}

// unappliedBytes estimates what the peer has durably and not applied, from the
// mean size of what was sent in this run: pages tell seqs, not bytes.
func (p *peer) unappliedBytes() int64 {
	entries := p.applied.Entries() - p.durable.Entries()
	if entries <= 0 || p.entries == 0 {
		return 0
	}
	return entries * p.bytes / p.entries
}
