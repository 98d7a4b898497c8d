package node

// Our side of a session that we dial:
//
//  1. sayHello opens it, welcomed takes the answer.
//  2. paged collects the peer's positions; resume compares each log with them.
//  3. seek places the reader before what the peer lacks; sought goes live.
//  4. ship.go reads, ships and takes acks; pageRow compares positions meanwhile.
//  5. sourceDown ends it, and what was under way is sent again by the next one.

import (
	"fmt"
	"time"

	"github.com/claudefs/repl/engine/internal/plant"
	"github.com/claudefs/repl/engine/stream"
	"github.com/claudefs/repl/wire"
)

// sayHello opens the session on a link that just came up.
func (n *Node) sayHello(p *peer) {
	l := p.link
	if p.counter++; p.counter == 0 { // 0 is a hello's, and the peer may have seen the highest
		if p.term++; p.term > termTop {
			p.term = n.t.Term
		}
		p.counter = 1
	}
	p.phase, p.reason, p.refused = phaseHello, "", false
	l.term = p.term
	h := &n.msg.hello
	*h = n.ourHello()
	h.Peer, h.PeerName, h.Term, h.Counter = p.Site, p.Name, p.term, p.counter
	n.send(l, &n.msg.hello) // a hello's session is 0
	l.Session = p.counter
}

// welcomed takes the peer's welcome; its positions follow.
func (n *Node) welcomed(l *link) error {
	w, p := &n.msg.welcome, l.peer
	if w.Version != wire.Version {
		return fmt.Errorf("welcome in version %d, version %d was offered: %w",
			w.Version, wire.Version, wire.ErrProtocol)
	}
	if w.Site != p.Site || w.SiteName != p.Name {
		return fmt.Errorf("site %q (%08x) answers where site %q (%08x) was dialed, check the address: %w",
			w.SiteName, w.Site, p.Name, p.Site, wire.ErrProtocol)
	}
	p.phase, p.refused = phaseResume, false
	p.heardOnce, p.seekHeld = true, false
	if p.toRegister() {
		n.persistNext()
	}
	n.agree(p)
	l.beatAt = n.t.Now.Mono
	p.sender.Reset()
	p.readStamp, p.reader, p.readErrs = 0, readerStopped, 0
	p.fresh = false
	for s := range p.logs {
		pl := &p.logs[s] // it may have lost what it told before
		if !pl.appliedBefore.Covers(pl.applied) {
			pl.appliedBefore = pl.applied
		}
		pl.answer, pl.applied = wire.Position{}, wire.Position{}
	}
	for _, c := range p.copies { // its pages name only what it has: it may have lost some
		clear(c.ends)
	}
	n.beat(l)
	return nil
}

// refused takes the other end's last word.
func (n *Node) refused(l *link) error {
	r, p := &n.msg.refusal, l.peer
	if !l.Dialed {
		n.close(l, r.Text)
		return nil
	}
	alarm := r.Code != wire.RefuseGoodbye && r.Code != wire.RefuseSession
	if r.Code == wire.RefuseSession && r.Term <= termTop && !sessionLess(r.Term, r.Counter, p.term, p.counter) {
		if r.Term > n.t.Term {
			n.event(EventSessionSurpassed, p.Site, wire.LogID{}, true, fmt.Sprintf(
				"site %s has seen session %d/%d under our name, our journal's term is %d: "+
					"another node with our identity, or our journal is an older copy",
				p.Name, r.Term, r.Counter, n.t.Term))
		}
		p.term, p.counter = r.Term, r.Counter // the next session comes after it
	}
	if r.Code == wire.RefuseSuperseded { // we dial again only when we have given a session up
		n.event(EventSessionSurpassed, p.Site, wire.LogID{}, true, fmt.Sprintf(
			"site %s took a session under our name that is not ours: another node has our identity", p.Name))
	}
	if r.Code == wire.RefusePrimary {
		n.contradict(p, r.Text)
	}
	n.event(EventRefused, p.Site, wire.LogID{}, alarm, fmt.Sprintf("site %s refused us: %s", p.Name, r.Text))
	p.refused = alarm
	n.close(l, r.Text)
	return nil
}

// sessionLess orders sessions: term first, then counter.
func sessionLess(t wire.Term, c uint32, u wire.Term, d uint32) bool { return t < u || t == u && c < d }

// sourceDown ends the session that we dialed.
func (n *Node) sourceDown(p *peer, reason string) {
	if p.phase >= phaseResume {
		n.event(EventLinkDown, p.Site, wire.LogID{}, false, fmt.Sprintf("session to site %s ended: %s", p.Name, reason))
	}
	l := p.link
	p.link, p.rtt, p.seekHeld = nil, 0, false
	p.backlog += p.sender.Drop() // to be sent again
	n.desk.Unwant(l.Line)
	n.redial(p, reason)
}

// paged takes a cursor page.
func (n *Node) paged(l *link) error {
	p, page := l.peer, &n.msg.page
	resume := page.Flags&wire.PageResume != 0
	if resume != (p.phase == phaseResume) {
		return fmt.Errorf("cursor page with flags %02x in phase %s: %w", page.Flags, p.phase, wire.ErrProtocol)
	}
	for i := range page.Entries {
		row := &page.Entries[i]
		if uint32(row.Log.Shard) >= n.t.C.Shards {
			return fmt.Errorf("cursor page names shard %d of %d: %w", row.Log.Shard, n.t.C.Shards, wire.ErrProtocol)
		}
		if row.Log.Site != n.t.C.Site {
			n.copyRow(p, row)
			continue
		}
		if !resume {
			if err := n.pageRow(p, row); err != nil {
				return err
			}
			continue
		}
		pl := &p.logs[row.Log.Shard]
		pl.answer, pl.applied = row.Durable, row.AppliedAt()
		if sent := p.sender.Sent(row.Log.Shard); plant.ResumeFromSent && sent.Beyond(pl.answer) {
			pl.answer = sent
		}
	}
	if page.Flags&wire.PageLast != 0 {
		n.resume(p)
	}
	return nil
}

// pageRow compares a position of a live session with what we know (I4).
func (n *Node) pageRow(p *peer, row *wire.PageEntry) error {
	s := row.Log.Shard
	pl, at := &p.logs[s], row.Durable
	if pl.stop != nil || n.own[s].Fetching || !p.sender.In(s) {
		return nil
	}
	sent := p.sender.Sent(s)
	if !at.Same(pl.durable) || !at.Same(sent) {
		n.diverged(p, s, stream.Differing(sent, at))
		return nil
	}
	if !at.Covers(pl.durable) {
		return fmt.Errorf("cursor page: shard %d at seq %d after seq %d was acknowledged: %w",
			s, at.Seq, pl.durable.Seq, wire.ErrProtocol)
	}
	switch known := n.known(p, s, at); {
	case at.Order(known) == wire.OrderLevel && at != known:
		n.diverged(p, s, &stream.Stop{Code: wire.RefuseChain, Text: fmt.Sprintf(
			"histories differ: seq %d has chain %s here, %s at the peer", at.Seq, known.Chain, at.Chain)})
		return nil
	case at.Beyond(sent):
		n.diverged(p, s, &stream.Stop{Code: wire.RefuseChain, Text: fmt.Sprintf(
			"the peer names seq %d, chain %s, it was sent up to seq %d", at.Seq, at.Chain, sent.Seq)})
		return nil
	}
	if applied := row.AppliedAt(); applied.Beyond(pl.applied) {
		pl.applied = applied
		n.toldApplied(p, s)
	}
	return nil
}

// known returns what the peer is known to have or be sent at a position, as far as we
// remember a chain there.
func (n *Node) known(p *peer, s wire.Shard, at wire.Position) wire.Position {
	if d := p.logs[s].durable; d.Order(at) == wire.OrderLevel {
		return d
	}
	return p.sender.Sent(s)
}

// toldApplied passes on how far the peer's Store is.
func (n *Node) toldApplied(p *peer, s wire.Shard) {
	at := p.logs[s].applied
	p.observe(wire.LevelApplied, n.t.Now.Mono, p.applied.Reached(s, at.Seq))
	n.progress(p, wire.LevelApplied, s, at)
}

func (n *Node) progress(p *peer, level wire.AckLevel, s wire.Shard, at wire.Position) {
	n.t.E.Progress = append(n.t.E.Progress, Progress{Peer: p.Site, Level: level, Log: n.t.LogID(s), Position: at})
}

// resume has the peer's whole answer and compares every log. Only now the last
// session's stops go: until then what they contradicted is not known (I14).
func (n *Node) resume(p *peer) {
	p.phase, p.Answered, p.measured = phaseSeek, true, false
	p.link.Ready = true
	n.retention.rose[Mirror] = true // what its pages do not name is not waited for any more
	n.role.Agreed()
	for _, s := range p.stops {
		p.logs[s].stop = nil
	}
	p.stops = p.stops[:0]
	p.sessions++
	n.event(EventLinkUp, p.Site, wire.LogID{}, false,
		fmt.Sprintf("site %s answered, session %d/%d", p.Name, p.link.term, p.link.Session))
	for i := range p.logs {
		s, proven := wire.Shard(i), true
		if n.own[s].Tail.Seq != 0 || p.logs[s].answer.Seq != 0 || p.logs[s].durable.Seq != 0 ||
			n.own[s].State == AdmitWaiting || n.own[s].State == AdmitUnverified {
			proven = n.resumeLog(p, s)
		}
		p.sender.Begin(s, p.logs[s].answer, n.own[s].Tail, proven)
		if p.logs[s].stop != nil {
			p.sender.Out(s)
		}
	}
	n.allHeard()
	n.seek(p)
	n.desk.Next(p.link.Line)
}

// resumeLog compares the peer's position with ours. proven says whether the chain there
// is known to be ours.
func (n *Node) resumeLog(p *peer, s wire.Shard) (proven bool) {
	o, pl := &n.own[s], &p.logs[s]
	answer := pl.answer
	known := pl.durable // what it confirmed earlier, as a chain to compare with
	proven = answer.Seq == 0 || answer == o.Tail || answer == known && !o.Short()
	back := !answer.Covers(known)
	if back {
		n.event(EventPeerBehind, p.Site, n.t.LogID(s), true, fmt.Sprintf("%s: site %s came back with %s",
			n.t.OwnName(s), p.Name, lacking(answer, known)))
		// The floor must not trust what the peer no longer has, and what it has is not a
		// cursor before the chain there is compared.
		n.setCursor(p, s, wire.Position{})
	}
	if back || !pl.applied.Covers(pl.appliedBefore) {
		n.t.E.Progress = append(n.t.E.Progress, Progress{Peer: p.Site, Log: n.t.LogID(s), Lost: true})
	}
	pl.appliedBefore = wire.Position{}
	relation := stream.Relate(o.Tail, answer)
	if relation == stream.Differ {
		n.diverged(p, s, stream.Differing(o.Tail, answer))
		return false
	}
	if answer.Seq != 0 && answer.Order(known) == wire.OrderLevel && answer != known && relation != stream.Ahead {
		n.diverged(p, s, stream.Differing(known, answer))
		return false
	}
	p.durable.Set(s, o.Tail.Seq, answer.Seq, answer.Seq, o.LastStamp)
	p.applied.Set(s, o.Tail.Seq, pl.applied.Seq, answer.Seq, o.LastStamp)
	switch relation {
	case stream.Ahead:
		n.peerAhead(p, s)
	case stream.Equal:
		n.confirm(p, s, answer)
		n.gate.Proven(s)
	case stream.Behind:
		if o.Suspect { // a damaged copy is not a source (I9)
			n.takeOut(p, s, &stream.Stop{Code: wire.RefuseSuspect, Text: fmt.Sprintf(
				"the own journal is damaged, nothing proves its tail at seq %d; the peer has it up to seq %d",
				o.Tail.Seq, answer.Seq)})
			return false
		}
		if proven {
			n.confirm(p, s, answer)
			n.gate.Covered(s)
		}
	}
	return proven
}

// lacking words a position that does not cover what was confirmed once.
func lacking(answer, known wire.Position) string {
	if !answer.Same(known) {
		return fmt.Sprintf("seq %d of incarnation %s, it once confirmed seq %d of incarnation %s",
			answer.Seq, answer.Incarnation, known.Seq, known.Incarnation)
	}
	return fmt.Sprintf("seq %d, it once confirmed seq %d: an older image? sending again from there",
		answer.Seq, known.Seq)
}

// confirm notes a position that the peer has durably and that is in our history.
func (n *Node) confirm(p *peer, s wire.Shard, at wire.Position) {
	pl := &p.logs[s]
	if pl.durable != at {
		n.setCursor(p, s, at)
	}
	p.observe(wire.LevelDurable, n.t.Now.Mono, p.durable.Reached(s, at.Seq))
	if at.Seq != 0 {
		n.progress(p, wire.LevelDurable, s, at)
		if pl.applied.Seq != 0 {
			n.toldApplied(p, s)
		}
	}
}

// setCursor moves a peer's cursor and has it saved with the next Persist.
func (n *Node) setCursor(p *peer, s wire.Shard, at wire.Position) {
	pl := &p.logs[s]
	pl.durable = at
	if !pl.dirty && !plant.CursorsUnsaved {
		pl.dirty = true
		p.changed = append(p.changed, s)
	}
	n.ownFloor(s)
}

// seek places the reader before everything that the peer lacks.
func (n *Node) seek(p *peer) {
	if !p.Registered {
		p.seekHeld = true // nothing is sent that a crash would let be forgotten
		return
	}
	var have []wire.Cursor
	for i := range p.logs {
		s := wire.Shard(i)
		at := p.logs[s].answer
		if p.logs[s].stop != nil {
			at = n.own[s].Tail // needs nothing
		}
		if at.Seq != 0 {
			have = append(have, wire.Cursor{Log: n.t.LogID(s), Position: at})
		}
	}
	n.t.E.Ops = append(n.t.E.Ops, Op{Kind: OpSeek, Link: p.link.Link, Have: have})
}

// sought goes live, or takes out the logs that are no longer kept and tries again.
func (n *Node) sought(in *Sought) {
	l := n.links[in.Link]
	if l == nil || l.Closed || !l.Dialed || l.peer.phase != phaseSeek {
		return
	}
	p := l.peer
	if in.Err != nil {
		out := 0
		for _, log := range in.NotRetained {
			if n.ownLog(log) != nil && p.logs[log.Shard].stop == nil {
				out++
				n.takeOut(p, log.Shard, &stream.Stop{Code: wire.RefuseNotRetained, Text: fmt.Sprintf(
					"the peer has it up to seq %d, what follows is no longer kept: bootstrap needed (%v)",
					p.logs[log.Shard].answer.Seq, in.Err)})
			}
		}
		if out == 0 {
			n.refuse(l, wire.RefuseInternal, n.unreadable(in.Err))
			return
		}
		n.seek(p)
		return
	}
	p.phase = phaseLive
	for i := range in.Tails {
		c := &in.Tails[i]
		if n.ownLog(c.Log) == nil {
			continue
		}
		s := c.Log.Shard
		unproven := p.sender.Unproven(s)
		if why := p.sender.Head(s, c.Position); why != nil {
			n.outOfSession(p, s, why)
		} else if unproven && !p.sender.Unproven(s) {
			n.proved(p, s)
		}
	}
	n.read(p)
}

func (n *Node) unreadable(err error) string {
	return fmt.Sprintf("own journal of site %s cannot be read: %v", n.t.C.SiteName, err)
}

// proved: a batch of ours ends where the peer stands, with the same chain.
func (n *Node) proved(p *peer, s wire.Shard) {
	n.confirm(p, s, p.logs[s].answer)
	n.gate.Covered(s)
}

// outOfSession sorts why the sender gave a log up: histories differ, or the
// batches are gone.
func (n *Node) outOfSession(p *peer, s wire.Shard, why *stream.Stop) {
	if why.Code == wire.RefuseNotRetained {
		n.takeOut(p, s, why)
		return
	}
	n.diverged(p, s, why)
}

// takeOut ends a log's part in the session; the others go on (I10).
func (n *Node) takeOut(p *peer, s wire.Shard, why *stream.Stop) {
	pl := &p.logs[s]
	if pl.stop == nil {
		p.stops = append(p.stops, s)
	}
	pl.stop = why
	p.sender.Out(s)
	n.event(EventLogStopped, p.Site, n.t.LogID(s), true,
		fmt.Sprintf("%s stopped towards site %s: %s", n.t.OwnName(s), p.Name, why.Text))
}

// diverged stops a log for good: the peer's history is not ours (I4).
func (n *Node) diverged(p *peer, s wire.Shard, why *stream.Stop) {
	n.takeOut(p, s, why)
	n.gate.Stop(s, why.Code, fmt.Sprintf("site %s: %s", p.Name, why.Text))
}

// beat sends a heartbeat and remembers when.
func (n *Node) beat(l *link) {
	l.beat++
	l.beats[l.beat%heartbeatsKept] = n.t.Now.Mono
	l.beatAt = n.t.Now.Mono + n.t.C.HeartbeatEvery
	n.msg.beat = wire.Heartbeat{
		Clock: uint64(n.t.Now.Wall.UnixMicro()), LastStamp: n.grown.lastStamp, Number: l.beat,
	}
	x := n.msg.ext[:0]
	if stopped := len(l.peer.stops); stopped > 0 {
		x = x.AppendStopped(uint32(stopped))
	}
	n.t.E.SendWith(l.Link, l.Session, &n.msg.beat, x)
	n.msg.ext = x
}

// echoed takes the answer to a heartbeat: it proves what we know as of when
// that heartbeat left.
func (n *Node) echoed(l *link) error {
	e, p := &n.msg.echo, l.peer
	if e.Number == 0 || e.Number > l.beat {
		return fmt.Errorf("echo of heartbeat %d, sent up to %d: %w", e.Number, l.beat, wire.ErrProtocol)
	}
	if l.beat-e.Number >= heartbeatsKept {
		return nil
	}
	left := l.beats[e.Number%heartbeatsKept]
	p.rtt = max(n.t.Now.Mono-left, time.Microsecond)
	if p.phase >= phaseSeek {
		p.proven, p.fresh = max(p.proven, left), true
		p.dials = 0 // only now: a peer that welcomes and then falls is not dialed in a tight loop
	}
	return nil
}
