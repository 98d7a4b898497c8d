package node

import (
	"fmt"
	"time"

	"github.com/claudefs/repl/wire"
)

// Step takes one input and appends what is to be done to e.
func (n *Node) Step(now Now, in Input, e *Effects) {
	n.t.Now, n.t.E = now, e
	if !n.started {
		n.start()
	}
	n.stamped(n.grown.lastStamp)
	switch in := in.(type) {
	case *Tick:
		n.tick(in.Moving)
	case *LinkUp:
		n.linkUp(in)
	case *LinkDown:
		n.linkDown(in)
	case *FrameIn:
		n.frameIn(in)
	case *Sought:
		n.sought(in)
	case *ReadDone:
		n.readDone(in)
	case *Forget:
		n.forgetPeer(in)
	case *Granted:
		if l := n.links[in.Link]; l != nil {
			n.desk.Granted(l.Line, in)
		}
	case *OwnDurable:
		n.ownDurable(in.Headers)
	case *Durable:
		n.durable(in)
	case *StageFailed:
		n.stageFailed(in)
	case *Repaired:
		n.desk.Repaired(in)
	case *Persisted:
		n.persisted(in)
	case *Applied:
		n.applied(in)
	case *StoreDurable:
		n.storeDurable(in)
	case *JournalDown:
		n.journalDown(in)
	case *ApplyStopped:
		n.applyStopped(in)
	case *MirrorDamaged:
		n.mirrorDamaged(in)
	case *VerifyAsk:
		n.verifyAsk(in)
	case *VerifyAnswer:
		if l := n.links[in.Link]; l != nil {
			n.desk.CompareAnswer(l.Line, in.Answer)
		}
	}
	n.resumeLacking()
	e.Wake = n.wake()
	n.t.E = nil
}

// start is the first step, whatever its input.
func (n *Node) start() {
	n.started, n.startAt = true, n.t.Now.Mono
	n.retention.at = n.t.Now.Mono + retainEvery
	n.gate.Start()
	n.persistNext()
}

func (n *Node) tick(moving []LinkID) {
	mono := n.t.Now.Mono
	for _, id := range moving {
		l := n.links[id]
		if l == nil || l.Closed || !l.open && !l.Dialed { // strangers get no more time
			continue
		}
		l.heard = mono
		if l.open { // its heartbeats wait behind the frame, and so would their echoes
			n.sendPages(l.peer)
		}
	}
	n.gate.Tick()
	if mono >= n.control.at {
		n.persistNext()
	}
	for _, p := range n.peers {
		if n.mayDial(p) && mono >= p.dialAt {
			p.phase = phaseDialing
			n.t.E.Ops = append(n.t.E.Ops, Op{Kind: OpDial, Peer: p.Site})
		}
		if p.in != nil && p.in.open && n.pageDue(p) <= mono {
			n.sendPages(p)
		}
	}
	for _, l := range n.order {
		if l.Closed {
			continue
		}
		if mono >= l.heard+n.t.C.HeartbeatTimeout {
			n.close(l, fmt.Sprintf("silent for %s", n.t.C.HeartbeatTimeout))
			continue
		}
		if l.Dialed && l.peer.phase >= phaseResume && mono >= l.beatAt {
			n.beat(l)
		}
		n.desk.TickLine(l.Line)
	}
	n.desk.Tick()
	if mono >= n.retention.at && (n.retention.rose[Own] || n.retention.rose[Mirror]) {
		n.retain()
	}
}

// wake is when the next timer is due.
func (n *Node) wake() time.Duration {
	next := time.Duration(1<<63 - 1)
	due := func(at time.Duration) { next = min(next, at) }
	due(n.gate.Due())
	if n.persistDue() {
		due(n.control.at)
	}
	for _, p := range n.peers {
		if n.mayDial(p) {
			due(p.dialAt)
		}
		if p.in != nil && p.in.open {
			due(n.pageDue(p))
		}
	}
	for _, l := range n.order {
		if l.Closed {
			continue
		}
		due(l.heard + n.t.C.HeartbeatTimeout)
		if half := l.heard + n.t.C.HeartbeatTimeout/2; n.t.Now.Mono < half {
			due(half) // to see whether bytes move
		}
		if l.Dialed && l.peer.phase >= phaseResume {
			due(l.beatAt)
		}
		due(l.Due())
	}
	due(n.desk.Due())
	if n.retention.rose[Own] || n.retention.rose[Mirror] {
		due(n.retention.at)
	}
	if next == 1<<63-1 {
		return 0
	}
	return max(next, 1)
}

// ownDurable takes what the own journal flushed, restored batches included.
func (n *Node) ownDurable(headers []wire.BatchHeader) {
	for i := range headers {
		h := &headers[i]
		o := n.ownLog(h.Log())
		if o == nil || o.Tail.Fit(h).Holds() {
			continue
		}
		n.grow(o, h.Shard, h.FirstSeq, h.End(), h.FirstStamp, h.LastStamp, h.LastIndex)
		n.grown.bytes, n.grown.entries = n.grown.bytes+int64(h.Bytes()), n.grown.entries+int64(h.Count)
		for _, p := range n.peers {
			p.backlog += int64(h.Bytes())
		}
	}
	for _, p := range n.peers {
		n.readOn(p)
	}
}

// grow moves the durable tail of an own log.
func (n *Node) grow(o *ownLog, s wire.Shard, first wire.Seq, end wire.Position, stamp, last wire.Stamp, index uint64) {
	if !o.Tail.Same(end) { // what is known by seq is known of the incarnation before
		o.boot, o.growth = 0, growth{}
		for _, p := range n.peers {
			if p.Configured {
				p.durable.Set(s, 0, 0, 0, 0)
				p.applied.Set(s, 0, 0, 0, 0)
			}
		}
	}
	o.Tail, o.LastStamp = end, last
	o.growth.grew(first, max(n.t.Now.Mono, 1))
	if index != 0 {
		o.LastIndex = index
	}
	n.grown.lastStamp = max(n.grown.lastStamp, last)
	n.stamped(last)
	for _, p := range n.peers {
		if p.Configured {
			p.durable.Grew(s, first, end.Seq, stamp, max(n.t.Now.Mono, 1))
			p.applied.Grew(s, first, end.Seq, stamp, max(n.t.Now.Mono, 1))
			// A reader sees the end of a flush before the flush is reported, so an ack may be
			// here already.
			p.observe(wire.LevelDurable, n.t.Now.Mono, p.durable.Reached(s, p.logs[s].durable.SeqIn(end.Incarnation)))
			p.observe(wire.LevelApplied, n.t.Now.Mono, p.applied.Reached(s, p.logs[s].applied.SeqIn(end.Incarnation)))
		}
	}
}

func (n *Node) journalDown(in *JournalDown) {
	if in.Journal == Own {
		if n.t.Down[Own] == nil {
			n.t.Down[Own] = in.Err
			n.event(EventJournalDown, 0, wire.LogID{}, true, in.Err.Error())
			n.gate.RefuseAll(fmt.Errorf("site %s: %w", n.t.C.SiteName, in.Err))
		}
		return
	}
	if n.t.Down[Mirror] != nil {
		return
	}
	n.t.Down[Mirror] = in.Err
	n.event(EventJournalDown, 0, wire.LogID{}, true, in.Err.Error())
	for _, l := range n.order {
		if !l.Dialed && !l.Closed {
			n.refuse(l, wire.RefuseInternal, n.mirrorDownText())
		}
	}
}

func (n *Node) applyStopped(in *ApplyStopped) {
	if n.ownLog(in.Log) == nil && n.mirrorLog(in.Log) == nil {
		return
	}
	n.event(EventApplyStopped, 0, in.Log, true, fmt.Sprintf("%s: applier stopped: %v", n.t.LogName(in.Log), in.Err))
	n.t.NoteStopped(in.Log, wire.RefuseInternal, fmt.Sprintf("applier stopped: %v", in.Err))
}

func (n *Node) event(kind string, peer wire.SiteID, log wire.LogID, alarm bool, text string) {
	n.t.Event(kind, peer, log, alarm, text)
}
