package stream

// The session that a peer dials: its logs on their way into the mirror.
//
//  1. Begin answers a hello, once the session before has nothing under way any more, by
//     all positions (pages.go).
//  2. Batches judges the batches of a frame, stages what continues its log, and
//     acknowledges the frame as received. A log that does not continue is refused.
//  3. Flushed acknowledges as durable what the mirror flushed; pages tell what the Store
//     has applied.
//  4. Heartbeat echoes, and notes how far this site is behind.
//  5. Ended gives the link up; the frames that wait for a flush stay.

import (
	"cmp"
	"fmt"
	"math/bits"
	"slices"
	"time"

	"github.com/claudefs/repl/engine/event"
	"github.com/claudefs/repl/engine/internal/plant"
	"github.com/claudefs/repl/engine/lag"
	"github.com/claudefs/repl/engine/role"
	"github.com/claudefs/repl/engine/step"
	"github.com/claudefs/repl/wire"
)

// ForeignLogMax is how many shards beyond the count are refused in one session.
const ForeignLogMax = 64

// Inbound is a peer's logs towards us: the receiver's side of the session that it dials.
type Inbound struct {
	*role.Peer
	Mirror *Mirror // nil: the peer is not configured, and says nothing

	mirrors  *Mirrors
	bit      uint64 // in MirrorLog.owed
	rules    Rules
	receiver Receiver
	link     step.LinkID // of the session; 0 = none
	session  uint32
	refusals []wire.Shard // logs refused in this session
	failed   []wire.Shard // logs whose staged batches were lost
	foreign  []wire.LogID // refused logs that are not the peer's
	owed     []wire.LogID // mirrored logs that changed since the last page
	paged    time.Duration
	behind   lag.Follower
	leftOut  uint32 // logs that the peer says it leaves out of this session
	received received
}

// received are sums since open of what a peer's sessions brought.
type received struct {
	sessions, frames uint64
	bytes            int64
}

// Add takes a peer. It has a bit that no other has, whenever peers come and go.
func (m *Mirrors) Add(p *role.Peer) *Inbound {
	taken := uint64(0)
	for _, q := range m.Peers {
		taken |= q.bit
	}
	in := &Inbound{Peer: p, mirrors: m, bit: 1 << bits.TrailingZeros64(^taken)}
	at, _ := slices.BinarySearchFunc(m.Peers, p.Site,
		func(q *Inbound, s wire.SiteID) int { return cmp.Compare(q.Site, s) })
	m.Peers = slices.Insert(m.Peers, at, in)
	return in
}

// Remove gives a peer up whose session has ended. Only the writer brings batches, and it is not
// given up: nothing of the peer is on its way to the medium.
func (m *Mirrors) Remove(p *Inbound) {
	for _, log := range p.owed {
		m.Log(log).owed &^= p.bit
	}
	if p.Mirror != nil {
		p.settle()
	}
	m.Peers = slices.DeleteFunc(m.Peers, func(q *Inbound) bool { return q == p })
}

// Configure makes a peer one whose sessions are accepted.
func (p *Inbound) Configure() {
	c := &p.mirrors.t.C
	p.Mirror = p.mirrors.Of(p.Site)
	p.rules = Rules{Cluster: c.Cluster, Site: p.Site, Shards: c.Shards, Writers: p.mirrors.role.Writers}
}

func (p *Inbound) send(m wire.Message) { p.mirrors.t.E.Send(p.link, p.session, m) }

// Busy says that frames wait for a flush.
func (p *Inbound) Busy() bool { return p.receiver.Busy() }

// Begin begins a session on a link; nothing of the former one is under way.
func (p *Inbound) Begin(link step.LinkID, session uint32) {
	p.link, p.session = link, session
	p.leftOut = 0
	p.receiver.Begin()
	p.behind = lag.Follower{}
	p.received.sessions++
	p.settle()
}

// settle takes back what became of logs by batches that were lost or refused; nothing is under
// way any more.
func (p *Inbound) settle() {
	for _, s := range p.failed {
		if plant.FailedTailKept {
			break
		}
		l := &p.Mirror.Logs[s]
		l.tail.Position, l.tail.Stamp = l.Durable, l.stamp
	}
	for _, s := range p.refusals {
		l := &p.Mirror.Logs[s]
		p.mirrors.t.UnnoteStopped(wire.LogID{Site: p.Site, Shard: s}, l.refused.Text)
		l.refused = nil
	}
	p.failed, p.refusals, p.foreign = p.failed[:0], p.refusals[:0], p.foreign[:0]
}

// Welcome answers the hello of the session that began, with all positions.
func (p *Inbound) Welcome() {
	t := p.mirrors.t
	p.send(&wire.Welcome{
		Version: wire.Version, Site: t.C.Site, Node: t.C.Node, Term: t.Term, SiteName: t.C.SiteName,
	})
	p.sendAll()
}

// Ended gives the session's link up.
func (p *Inbound) Ended() { p.link = 0 }

// Batches decides on a frame of batches by their headers, stages what continues its log
// and acknowledges the frame as received.
func (p *Inbound) Batches(in *step.FrameIn) error {
	t, number := p.mirrors.t, in.Envelope.Number
	if err := p.receiver.Open(number); err != nil {
		return err
	}
	lo := t.E.Mark()
	size := int64(0)
	p.received.frames++
	for i := range in.Headers {
		h := &in.Headers[i]
		p.received.bytes += int64(h.Bytes())
		if p.take(h, in.Starts) {
			t.E.Pick(i)
			size += int64(h.Bytes())
		}
		if p.link == 0 { // nothing of the frame is staged: its tails go back
			for _, taken := range t.E.Picked(lo) {
				p.failed = append(p.failed, in.Headers[taken].Shard)
			}
			t.E.Unpick(lo)
			return nil
		}
	}
	ticket := uint64(0)
	if t.E.Mark() > lo {
		ticket = t.Ticket()
		t.E.Stages = append(t.E.Stages, step.Stage{Kind: step.StageMirror, Ticket: ticket, Batches: t.E.Picked(lo)})
	}
	waits := p.receiver.Close(t.Now.Mono, ticket, size)
	p.ack(wire.LevelReceived, number)
	if !waits || plant.AckOnReceipt {
		p.ack(wire.LevelDurable, number)
	}
	return nil
}

func (p *Inbound) ack(level wire.AckLevel, number uint64) {
	p.mirrors.says.ack = wire.Ack{Level: level, Number: number}
	p.send(&p.mirrors.says.ack)
}

// take says whether a batch goes into the mirror. A batch that is not of this
// cluster, or not of the peer, ends the session; what is wrong with one log
// takes that log out of it, and is refused before any ack of the frame.
func (p *Inbound) take(h *wire.BatchHeader, starts []wire.Start) bool {
	t, log := p.mirrors.t, h.Log()
	var l *MirrorLog
	var tail Tail
	if log.Site == p.Site && uint32(log.Shard) < t.C.Shards {
		l = &p.Mirror.Logs[log.Shard]
		if l.refused != nil {
			return false
		}
		tail = l.tail
	}
	opens := l != nil && p.mirrors.opens(&tail, h)
	if opens { // its stamp alone comes behind what is there
		tail.Position = wire.Position{}
	}
	take, why := p.rules.Judge(&tail, h)
	if take && opens {
		why = p.mirrors.goesOn(&l.tail, startOf(starts, h))
		take = why == nil
	}
	if why != nil && l != nil && p.mirrors.early(&l.tail, h) {
		why = step.Stopf(wire.RefuseGap, "seq %d of incarnation %s comes before its START", h.FirstSeq, h.Incarnation)
	}
	switch {
	case why != nil && why.Code < wire.RefuseUnknownIncarnation:
		t.Tell(&event.SessionEnded{Place: event.Place{Peer: p.Site, Log: log}, Code: why.Code, Reason: why.Text})
		p.mirrors.heart.Refuse(p.link, why.Code, why.Text)
	case why != nil && l == nil:
		p.takeForeign(log, why)
	case why != nil:
		l.refused = why
		p.refusals = append(p.refusals, log.Shard)
		t.NoteStopped(log, why.Code, why.Text)
		p.refuseBatch(log, l.tail.Position, why)
	}
	if !take {
		return false
	}
	if l.Suspect { // the log's own writer continues it: the tail is proven
		p.mirrors.Clear(log, l)
	}
	l.tail.Follow(h)
	l.end = p.receiver.Add(h, l.end)
	return true
}

func (p *Inbound) refuseBatch(log wire.LogID, tail wire.Position, why *step.Stop) {
	p.mirrors.t.Tell(&event.LogRefused{Place: event.Place{Peer: p.Site, Log: log}, Code: why.Code, Reason: why.Text})
	p.mirrors.says.refusal = wire.BatchRefusal{Code: why.Code, Log: log, Position: tail, Text: why.Text}
	p.send(&p.mirrors.says.refusal)
}

// takeForeign refuses a log that the cluster does not have, once; too many of
// them end the session.
func (p *Inbound) takeForeign(log wire.LogID, why *step.Stop) {
	switch {
	case slices.Contains(p.foreign, log):
	case len(p.foreign) == ForeignLogMax:
		p.mirrors.heart.Malformed(p.link, fmt.Errorf("log %s, after %d others that site %s does not have: %w",
			log, ForeignLogMax, p.Name, wire.ErrProtocol))
	default:
		p.foreign = append(p.foreign, log)
		p.refuseBatch(log, wire.Position{}, why)
	}
}

// Flushed accounts for the frames up to a ticket and acknowledges the last.
func (p *Inbound) Flushed(ticket uint64) {
	number, lost := uint64(0), false
	for {
		f, ends, ok := p.receiver.Next(ticket)
		if !ok {
			break
		}
		for i := range ends {
			if end := &ends[i]; f.Failed {
				p.failed = append(p.failed, end.Shard)
			} else {
				p.flushed(end)
			}
		}
		lost = lost || f.Failed
		if !lost {
			number = f.Number
		}
	}
	if number != 0 && p.link != 0 {
		p.ack(wire.LevelDurable, number)
	}
}

// flushed moves the durable tail of a log.
func (p *Inbound) flushed(end *End) { p.mirrors.flushed(p.Mirror, end) }

// Failed: the batches of a ticket are nowhere. The session that brought them ends; the
// next one begins at what is durable. It says whether they are this peer's.
func (p *Inbound) Failed(in *step.StageFailed) bool {
	if !p.receiver.Fail(in.Ticket) {
		return false
	}
	t := p.mirrors.t
	t.Tell(&event.NotMirrored{Place: event.Place{Peer: p.Site}, Err: in.Err})
	if p.link != 0 {
		p.mirrors.heart.Refuse(p.link, wire.RefuseInternal,
			fmt.Sprintf("site %s cannot mirror: %v", t.C.SiteName, in.Err))
	}
	p.Flushed(0)
	return true
}

// LeavesOut notes how many logs the peer leaves out of its session: what it cannot give,
// this end cannot see. Those that this end refused it knows. more: than before.
func (p *Inbound) LeavesOut(logs uint32) (more bool) {
	logs -= min(logs, uint32(len(p.refusals)))
	if p.leftOut == 0 && logs > 0 {
		p.mirrors.t.Tell(&event.LogsLeftOut{Place: event.Place{Peer: p.Site}, Logs: logs})
	}
	more = logs > p.leftOut
	p.leftOut = logs
	return more
}

// Heartbeat answers one at once.
func (p *Inbound) Heartbeat(h *wire.Heartbeat) {
	now := p.mirrors.t.Now
	p.behind.Heartbeat(now.Mono, h.LastStamp, time.UnixMicro(int64(h.Clock)), p.Mirror.stamp)
	p.mirrors.says.echo = wire.HeartbeatEcho{Clock: uint64(now.Wall.UnixMicro()), Number: h.Number}
	p.send(&p.mirrors.says.echo)
}

// Counts are how many logs were refused in this session: of the peer, and others.
func (p *Inbound) Counts() (refused, foreign int) { return len(p.refusals), len(p.foreign) }

// InboundStatus is what a peer's sessions brought.
type InboundStatus struct {
	Accepted         step.LinkID // of its session; 0 = none
	SessionsAccepted uint64
	FramesReceived   uint64
	BytesReceived    int64
	Staged           int64      // bytes received from it that wait for a flush
	Behind           lag.Behind // how far this site is behind it
	Writes           bool       // else Behind means nothing
	LeftOut          uint32     // logs of its own that it says it leaves out of the session
}

// Status returns a snapshot that shares nothing.
func (p *Inbound) Status(now step.Now) InboundStatus {
	s := InboundStatus{
		Accepted: p.link, SessionsAccepted: p.received.sessions, FramesReceived: p.received.frames,
		BytesReceived: p.received.bytes, Staged: p.receiver.Used(),
		Writes: p.mirrors.role.Writes(p.Site) && p.Mirror != nil,
	}
	whole := p.leftOut == 0 && len(p.refusals) == 0 && len(p.foreign) == 0
	if p.link != 0 {
		s.LeftOut = p.leftOut
		if s.Writes && whole {
			s.Behind = p.behind.Behind(now.Mono, p.Mirror.stamp, p.mirrors.t.C.HeartbeatTimeout)
		}
	}
	return s
}
