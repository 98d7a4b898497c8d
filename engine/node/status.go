package node

import (
	"cmp"
	"slices"
	"time"

	"github.com/claudefs/repl/engine/fetch"
	"github.com/claudefs/repl/engine/internal/plant"
	"github.com/claudefs/repl/engine/stream"
	"github.com/claudefs/repl/wire"
)

// PeerStatus is one peer as the node sees it.
type PeerStatus struct {
	Peer
	Link                    string    // "down", "connecting", "hello", "catching up", "live", "refused"
	Reason                  string    // why down or refused; "" else
	LastHeard               time.Time // zero = never since open
	RTT                     time.Duration
	Session                 uint32
	Dialed, Accepted        LinkID // of its sessions; 0 = none
	Sessions                uint64 // that the peer answered since open
	Durable                 stream.Lag
	Applied                 stream.Lag
	WaitingOn               stream.WaitingOn
	WindowBytes, WindowUsed int64
	FramesSent              uint64
	BytesSent               int64
	FramesReceived          uint64
	BytesReceived           int64
	SessionsAccepted        uint64
	Staged                  int64        // bytes received from it that wait for a flush
	Behind                  Behind       // how far this site is behind it
	CatchUpRate             float64      // bytes a second that it confirmed lately, while it lacks some; 0 = not known
	CatchUpSeconds          float64      // what it lacks, at that rate
	Writes                  bool         // else Behind means nothing
	Pinned                  int64        // bytes of the own journal that it has not confirmed; -1 = unknown
	Stopped                 []StoppedLog // logs that this peer refuses or whose histories differ
	LeftOut                 uint32       // logs of its own that it says it leaves out of the session accepted from it
}

// Status is one snapshot.
type Status struct {
	At        time.Time
	Term      wire.Term
	Admission map[Admission]int // shards in each state
	Peers     []PeerStatus      // sorted by name
	Stopped   []StoppedLog      // logs that stopped here
	// Withheld is why no log of this site takes appends, whatever its own state: "" = none
	// of these reasons.
	Withheld string
}

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
		At: now.Wall, Term: n.t.Term, Admission: make(map[Admission]int, AdmitStandby+1),
		Stopped: slices.Clone(n.t.Stopped()), Withheld: n.role.Withheld(),
	}
	for a := AdmitWaiting; a <= AdmitStandby; a++ {
		s.Admission[a] = n.gate.Count(a)
	}
	for _, p := range n.peers {
		if !p.Configured && !p.Registered {
			continue // forgotten
		}
		s.Peers = append(s.Peers, n.peerStatus(now, p))
	}
	slices.SortStableFunc(s.Peers, func(a, b PeerStatus) int { return cmp.Compare(a.Name, b.Name) })
	return s
}

func (n *Node) peerStatus(now Now, p *peer) PeerStatus {
	s := PeerStatus{Peer: p.Peer.Peer, Link: p.phase.String(), Reason: p.reason, RTT: p.rtt}
	if p.heard != 0 {
		s.LastHeard = now.Wall.Add(p.heard - now.Mono)
	}
	if !p.Configured {
		s.Reason = "registered, but not configured: it holds the retention floor until it is removed"
		s.WaitingOn, s.Pinned = stream.WaitLink, -1
		for shard := range p.logs {
			s.Durable.Entries += n.own[shard].Tail.EntriesAfter(p.logs[shard].durable)
		}
		if p.measured {
			s.Pinned = p.backlog
		}
		s.Durable.Bytes, s.Applied = s.Pinned, s.Durable
		return s
	}
	s.Sessions, s.FramesSent, s.BytesSent = p.sessions, p.frames, p.bytes
	s.FramesReceived, s.BytesReceived, s.SessionsAccepted = p.received.frames, p.received.bytes, p.received.sessions
	s.Staged = p.receiver.Used()
	s.Behind, s.Writes = n.behind(now, p)
	s.WindowBytes, s.WindowUsed = p.sender.Window.Bytes(), p.sender.Used()
	s.Durable = n.lag(now, p, p.durable)
	s.Applied = n.lag(now, p, p.applied)
	s.Pinned = p.outstandingBytes()
	s.Durable.Bytes, s.Applied.Bytes = s.Pinned, n.unappliedBytes(p)
	if n.unmeasured(p) {
		s.Durable.Bytes, s.Applied.Bytes = -1, -1
	}
	s.CatchUpRate, s.CatchUpSeconds = p.catchUp(now.Mono, s.Durable)
	if plant.AppliedLagByDurable {
		s.Applied = s.Durable
	}
	for _, shard := range p.stops {
		why := p.logs[shard].stop
		s.Stopped = append(s.Stopped, StoppedLog{Log: n.t.LogID(shard), Code: why.Code, Reason: why.Text})
	}
	slices.SortFunc(s.Stopped, func(a, b StoppedLog) int { return a.Log.Compare(b.Log) })
	switch {
	case p.phase == phaseLive && p.backlog > s.WindowBytes && s.Durable.Entries > 0:
		s.Link = "catching up"
	case p.phase == phaseDown && p.refused:
		s.Link = "refused"
	}
	if p.link != nil {
		s.Session, s.Dialed = p.link.Session, p.link.Link
	}
	if p.in != nil {
		s.Accepted, s.LeftOut = p.in.Link, p.leftOut
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

// lag is what a meter knows, and whether a fresh answer of this session proves it. It is
// 0 only when nothing is outstanding and the peer has just answered; while that is not
// proven it is what the peer has not confirmed.
func (n *Node) lag(now Now, p *peer, m *stream.Meter) stream.Lag {
	age, stamped := m.Age(now.Mono, p.readStamp, func(q stream.Question) time.Duration { return n.age(now, q) })
	lag := stream.Lag{
		Known: p.phase >= phaseSeek && p.fresh && stamped && now.Mono-p.proven <= n.t.C.HeartbeatTimeout &&
			!p.contradicts() && !p.unserved(),
		Entries: m.Entries(),
	}
	if lag.Entries > 0 {
		lag.Time = max(age, time.Microsecond)
		if plant.LagTimeConstant {
			lag.Time = time.Second
		}
	}
	if plant.LagByIgnorance && !lag.Known {
		return stream.Lag{Known: true}
	}
	return lag
}

// contradicts says whether a log has another history at the peer: then nobody knows
// how much of ours it has.
func (p *peer) contradicts() bool {
	return slices.ContainsFunc(p.stops, func(s wire.Shard) bool {
		return p.logs[s].stop != nil && !fetch.Missing(p.logs[s].stop.Code)
	})
}

// unserved says whether what it lacks of a log is kept nowhere here: no reader tells how
// old that is.
func (p *peer) unserved() bool {
	return slices.ContainsFunc(p.stops, func(s wire.Shard) bool {
		return p.logs[s].stop != nil && p.logs[s].stop.Code == wire.RefuseNotRetained
	})
}

// outstandingBytes is what is under way and what the reader has before it; -1 while no
// reader has told.
func (p *peer) outstandingBytes() int64 {
	switch {
	case p.durable.Entries() == 0:
		return 0
	case !p.measured:
		return -1
	}
	return p.sender.Used() + p.backlog
}

// unmeasured: a log that is out of the session is ahead of the peer, and no reader tells
// by how many bytes.
func (n *Node) unmeasured(p *peer) bool {
	return slices.ContainsFunc(p.stops, func(s wire.Shard) bool {
		return !p.logs[s].durable.Covers(n.own[s].Tail)
	})
}

// unappliedBytes adds what the peer has durably and not applied: pages tell seqs, not
// bytes, so it is estimated from the mean size of what was written and sent in this run.
func (n *Node) unappliedBytes(p *peer) int64 {
	durable, entries := p.outstandingBytes(), p.applied.Entries()-p.durable.Entries()
	count := p.entries + n.grown.entries
	switch {
	case entries <= 0 || durable < 0:
		return durable
	case count == 0:
		return -1
	}
	return durable + entries*(p.bytes+n.grown.bytes)/count
}
