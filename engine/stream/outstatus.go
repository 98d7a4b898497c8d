package stream

import (
	"fmt"
	"slices"
	"time"

	"github.com/claudefs/repl/engine/internal/plant"
	"github.com/claudefs/repl/engine/lag"
	"github.com/claudefs/repl/engine/step"
	"github.com/claudefs/repl/wire"
)

// WaitingOn is what keeps a peer from being caught up. A closed list.
type WaitingOn string

const (
	WaitNothing WaitingOn = "nothing"
	WaitDisk    WaitingOn = "disk"
	WaitWindow  WaitingOn = "window"
	WaitPeer    WaitingOn = "peer"
	WaitApply   WaitingOn = "apply"
	WaitLink    WaitingOn = "link"
	WaitStopped WaitingOn = "stopped log"
)

// OutboundStatus is what a peer has of our logs, and how the session that we dial is.
type OutboundStatus struct {
	Link                    string // "down", "connecting", "hello", "catching up", "live", "refused"
	Reason                  string // why down or refused; "" else
	Learner                 bool   // it counts for nothing yet
	RTT                     time.Duration
	Session                 uint32
	Dialed                  step.LinkID // 0 = none
	Sessions                uint64      // that the peer answered since open
	Durable, Applied        lag.Lag
	WaitingOn               WaitingOn
	WindowBytes, WindowUsed int64
	FramesSent              uint64
	BytesSent               int64
	CatchUpRate             float64           // bytes a second that it confirmed lately; 0 = not known
	CatchUpSeconds          float64           // what it is missing, at that rate
	Pinned                  int64             // bytes of the own journal that it has not confirmed; -1 = unknown
	Stopped                 []step.StoppedLog // logs that this peer refuses or whose histories differ
}

// Status returns a snapshot that shares nothing. Its cost is that of the logs that are
// behind or stopped; of a peer that is not configured, that of all logs.
func (o *Outbound) Status(now step.Now) OutboundStatus {
	s := OutboundStatus{Link: o.Phase.String(), Reason: o.Reason, RTT: o.rtt, Dialed: o.Link, Learner: o.Learner}
	if !o.Configured {
		s.Reason = "registered, but not configured: what it lacks is kept for it; name it as a peer again, " +
			"or give it up: cfs admin replication forget " + o.Name + " --gone"
		s.WaitingOn, s.Pinned = WaitLink, -1
		for i := range o.Logs {
			s.Durable.Entries += o.own.gate.Logs[i].Tail.EntriesAfter(o.Logs[i].Durable)
		}
		if o.measured {
			s.Pinned = o.backlog
		}
		s.Durable.Bytes, s.Applied = s.Pinned, s.Durable
		return s
	}
	s.Sessions, s.FramesSent, s.BytesSent = o.Sessions, o.frames, o.bytes
	s.WindowBytes, s.WindowUsed = o.Sender.Window.Bytes(), o.Sender.Used()
	s.Durable, s.Applied = o.lag(now, o.durable), o.lag(now, o.applied)
	s.Pinned = o.outstandingBytes()
	s.Durable.Bytes, s.Applied.Bytes = s.Pinned, o.unappliedBytes()
	if o.unmeasured() {
		s.Durable.Bytes, s.Applied.Bytes = -1, -1
	}
	if o.Phase == PhaseLive {
		s.CatchUpRate, s.CatchUpSeconds = o.pace.CatchUp(now.Mono, s.Durable)
	}
	if plant.AppliedLagByDurable {
		s.Applied = s.Durable
	}
	for _, shard := range o.stops {
		why := o.Logs[shard].Stop
		s.Stopped = append(s.Stopped, step.StoppedLog{Log: o.own.t.LogID(shard), Code: why.Code, Reason: why.Text})
	}
	slices.SortFunc(s.Stopped, func(a, b step.StoppedLog) int { return a.Log.Compare(b.Log) })
	switch {
	case o.Removed != "":
		s.Link, s.Reason = "refused", o.Removed
	case o.Phase == PhaseLive && o.backlog > s.WindowBytes && s.Durable.Entries > 0:
		s.Link = "catching up"
	case o.Phase == PhaseDown && o.Refused:
		s.Link = "refused"
	}
	if o.Link != 0 {
		s.Session = o.Session
	}
	s.WaitingOn = o.waitingOn(&s)
	return s
}

// waitingOn names the first thing that keeps the peer from being caught up.
func (o *Outbound) waitingOn(s *OutboundStatus) WaitingOn {
	switch {
	case o.Phase != PhaseLive:
		return WaitLink
	case s.Durable.Entries > 0 && o.Sender.Free() <= 0:
		return WaitWindow
	case s.Durable.Entries > 0 && o.Sender.Frames() > 0:
		return WaitPeer
	case len(o.stops) > 0:
		return WaitStopped
	case s.Durable.Entries > 0:
		return WaitDisk
	case s.Applied.Entries > 0:
		return WaitApply
	case !s.Durable.Known:
		return WaitPeer
	}
	return WaitNothing
}

// Acks is how long the peer took to confirm.
func (o *Outbound) Acks() lag.Acks { return o.acks }

// lag is what a meter knows, and whether a fresh answer of this session proves it. It is
// 0 only when nothing is outstanding and the peer has just answered; while that is not
// proven it is what the peer has not confirmed.
func (o *Outbound) lag(now step.Now, m *lag.Meter) lag.Lag {
	age, stamped := m.Age(now.Mono, o.readStamp, o.own.age(now))
	l := lag.Lag{
		Known: o.Phase >= PhaseSeek && o.fresh && stamped && now.Mono-o.proven <= o.own.t.C.HeartbeatTimeout &&
			!o.contradicts() && !o.unserved(),
		Entries: m.Entries(),
	}
	if l.Entries > 0 {
		l.Time = max(age, time.Microsecond)
		if plant.LagTimeConstant {
			l.Time = time.Second
		}
	}
	if plant.LagByIgnorance && !l.Known {
		return lag.Lag{Known: true}
	}
	return l
}

// contradicts says whether a log has another history at the peer: then it is not known
// how much of ours it has.
func (o *Outbound) contradicts() bool {
	return slices.ContainsFunc(o.stops, func(s wire.Shard) bool {
		return o.Logs[s].Stop != nil && !o.Logs[s].Stop.Missing()
	})
}

// unserved says whether what it is missing of a log is kept nowhere here: no reader tells
// how old that is.
func (o *Outbound) unserved() bool {
	return slices.ContainsFunc(o.stops, func(s wire.Shard) bool {
		return o.Logs[s].Stop != nil && o.Logs[s].Stop.Code == wire.RefuseNotRetained
	})
}

// outstandingBytes is what is under way and what the reader has before it; -1 while no
// reader has reported.
func (o *Outbound) outstandingBytes() int64 {
	switch {
	case o.durable.Entries() == 0:
		return 0
	case !o.measured:
		return -1
	}
	return o.Sender.Used() + o.backlog
}

// unmeasured: a log that is out of the session is ahead of the peer, and no reader tells
// by how many bytes.
func (o *Outbound) unmeasured() bool {
	return slices.ContainsFunc(o.stops, func(s wire.Shard) bool {
		return !o.own.t.Covers(o.own.t.LogID(s), o.Logs[s].Durable, o.own.gate.Logs[s].Tail)
	})
}

// unappliedBytes adds what the peer has durably and not applied: pages tell seqs, not
// bytes, so it is estimated from the mean size of what was written and sent in this run.
func (o *Outbound) unappliedBytes() int64 {
	grown := &o.own.grown
	durable, entries := o.outstandingBytes(), o.applied.Entries()-o.durable.Entries()
	count := o.entries + grown.entries
	switch {
	case entries <= 0 || durable < 0:
		return durable
	case count == 0:
		return -1
	}
	return durable + entries*(o.bytes+grown.bytes)/count
}

// check says which of the inequalities that stand beside the fields does not hold.
func (o *Outbound) check() error {
	switch {
	case (o.Link != 0) != (o.Phase >= PhaseHello):
		return fmt.Errorf("peer %s: phase %s, on link %d", o.Name, o.Phase, o.Link)
	case o.reader != readerStopped && (o.Phase == PhaseResume || o.Phase == PhaseSeek):
		return fmt.Errorf("peer %s: phase %s, and its reader does not rest: %d", o.Name, o.Phase, o.reader)
	case o.Sender == nil:
		return nil
	}
	if err := o.Sender.Check(); err != nil {
		return fmt.Errorf("peer %s: %w", o.Name, err)
	}
	for i := range o.Logs {
		s, l, t := wire.Shard(i), &o.Logs[i], o.own.t
		sent := o.Sender.Sent(s)
		if o.Phase == PhaseLive && o.Sender.In(s) && !t.Covers(t.LogID(s), sent, l.Durable) {
			return fmt.Errorf("peer %s, shard %d: confirmed seq %d, sent %d, durable here %d",
				o.Name, s, l.Durable.Seq, sent.Seq, o.own.gate.Logs[s].Tail.Seq)
		}
	}
	return nil
}
