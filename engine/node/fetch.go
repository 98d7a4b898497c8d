package node

import (
	"fmt"
	"slices"

	"github.com/claudefs/repl/engine/internal/plant"
	"github.com/claudefs/repl/engine/stream"
	"github.com/claudefs/repl/wire"
)

// fetch is one question that is out on a link.
type fetch struct {
	id     uint64
	kind   StageKind // StageRestore, StageRepair; 0 = only the proof of a tail
	log    wire.LogID
	start  wire.Position
	from   wire.Position // the next batch continues it
	to     wire.Seq
	stamp  wire.Stamp // restore: of the entry at from
	repair repair     // what it is to repair, to be asked for again if it fails
}

// restored is what one stage of own batches will have added when it is durable.
type restored struct {
	ticket uint64
	shard  wire.Shard
	first  wire.Seq
	stamp  wire.Stamp // of first
	end    wire.Position
	last   wire.Stamp
	index  uint64
	bytes  int64
}

// fetchNext asks the next questions on a link that has none out: as many at a time as
// the other end answers by one walk of its journal.
func (n *Node) fetchNext(l *link) {
	p := l.peer
	if l.closing || len(l.fetches) > 0 || p == nil || !l.open && !(l.dialed && p.phase >= phaseSeek) {
		return
	}
	for l.dialed && len(p.restores) > 0 && len(l.fetches) < stream.AnswerLogsMax {
		s := p.restores[0]
		p.restores = slices.Delete(p.restores, 0, 1)
		n.askRestore(l, s)
	}
	for i := 0; i < len(n.repairs) && len(l.fetches) < stream.AnswerLogsMax; {
		r := n.repairs[i]
		if !n.mayGive(l, &r) {
			i++
			continue
		}
		n.repairs = slices.Delete(n.repairs, i, i+1)
		n.askRepair(l, r)
	}
}

// asked says whether a question about this log is out on any link: pieces of
// two answers would come mixed.
func (n *Node) asked(log wire.LogID) bool {
	return slices.ContainsFunc(n.order, func(l *link) bool {
		return slices.ContainsFunc(l.fetches, func(f *fetch) bool { return f.log == log })
	})
}

// find returns the question with this id that is out on the link, or nil.
func (l *link) find(id uint64) *fetch {
	for _, f := range l.fetches {
		if f.id == id {
			return f
		}
	}
	return nil
}

// drop takes a question off the link's list.
func (l *link) drop(f *fetch) {
	l.fetches = slices.DeleteFunc(l.fetches, func(o *fetch) bool { return o == f })
	if l.held == f {
		l.held = nil
	}
}

func (n *Node) ask(l *link, f fetch) {
	f.start = f.from
	l.fetches = append(l.fetches, &f)
	n.askOn(l, &f)
}

// askOn asks for what follows, the first time or the next.
func (n *Node) askOn(l *link, f *fetch) {
	n.fetchID++
	f.id, l.brought = n.fetchID, false
	n.msg.fetch = wire.Fetch{ID: f.id, Log: f.log, From: f.from, To: f.to}
	n.send(l, &n.msg.fetch)
}

// goOn asks for the next grant: for the log that ended the last one, or where that is
// not wanted any more for another, unless too much waits for the medium.
func (n *Node) goOn(l *link, f *fetch) {
	if f == nil && len(l.fetches) > 0 {
		f = l.fetches[0]
	}
	if f == nil {
		return
	}
	if !stream.Takes(n.restoreBytes, n.t.C.RestoreBytesMax) {
		l.held = f
		return
	}
	n.askOn(l, f)
}

// restoreTaken asks for the grants that were held back.
func (n *Node) restoreTaken(r *restored) {
	n.restoreBytes -= r.bytes
	if !stream.Takes(n.restoreBytes, n.t.C.RestoreBytesMax) {
		return
	}
	for _, l := range n.order {
		if f := l.held; f != nil && !l.closing {
			l.held = nil
			n.askOn(l, f)
		}
	}
}

func (n *Node) askRestore(l *link, s wire.Shard) {
	o := &n.own[s]
	goal := l.peer.logs[s].answer
	f := fetch{kind: StageRestore, log: n.t.LogID(s), from: o.Tail, to: goal.Seq, stamp: o.LastStamp}
	if o.restored.Seq > o.Tail.Seq {
		f.from, f.stamp = o.restored, o.restoredStamp
	}
	// Where all that another site had is on its way to the medium, that is waited for.
	if f.from.Seq < f.to || o.giver == nil || o.restored.Seq < o.goal.Seq {
		o.goal, o.giver = goal, l.peer
	}
	if f.from.Seq >= f.to {
		n.restoreReached(s) // or it will be, with the flush that is under way
		return
	}
	n.ask(l, f)
}

// fetchLost: the link went before the answer was complete.
func (n *Node) fetchLost(l *link) {
	lost := l.fetches
	l.fetches, l.held = nil, nil
	for _, f := range lost {
		if f.kind == StageRestore {
			n.restoreElsewhere(f.log.Shard)
		} else {
			n.repairAgain(&f.repair)
		}
	}
}

// fetched takes a piece of an answer. What does not continue is no answer:
// nothing of it is staged (I4).
func (n *Node) fetched(l *link, in *FrameIn) error {
	f := l.find(in.Envelope.Number)
	l.brought = true
	if f == nil {
		return n.strayAnswer(in.Envelope.Number)
	}
	lo, start := n.t.E.Mark(), f.from
	pending := restored{shard: f.log.Shard}
	for i := range in.Headers {
		h := &in.Headers[i]
		if why := f.check(h, n.t.C.Cluster); why != nil {
			n.t.E.Unpick(lo)
			n.fetchFailed(l, f, why)
			n.fetchNext(l)
			return nil
		}
		pending.bytes += int64(h.Bytes())
		if pending.first == 0 {
			pending.first, pending.stamp = h.FirstSeq, h.FirstStamp
		}
		f.from, f.stamp = h.End(), h.LastStamp
		pending.index = max(pending.index, h.LastIndex)
		n.t.E.Pick(i)
	}
	if f.kind == 0 {
		n.t.E.Unpick(lo)
		return nil
	}
	stage := Stage{Kind: f.kind, Ticket: n.t.Ticket(), Batches: n.t.E.Picked(lo), Log: f.log}
	pending.ticket, pending.end, pending.last = stage.Ticket, f.from, f.stamp
	if f.kind == StageRestore {
		o := &n.own[f.log.Shard]
		o.restored, o.restoredStamp = f.from, f.stamp
		n.gate.Clear(f.log.Shard) // the peer's copy goes on from our tail: that proves it
		n.restoring = append(n.restoring, pending)
		n.restoreBytes += pending.bytes
	} else {
		stage.From, stage.Last = start, f.from.Seq >= f.to
		if stage.Last {
			n.repairing = append(n.repairing, repairing{stage.Ticket, f.repair})
		}
	}
	n.t.E.Stages = append(n.t.E.Stages, stage)
	return nil
}

// strayAnswer tells an answer to a question that was given up from one to a
// question that was never asked.
func (n *Node) strayAnswer(id uint64) error {
	if id == 0 || id > n.fetchID {
		return fmt.Errorf("answer to fetch %d, asked up to %d: %w", id, n.fetchID, wire.ErrProtocol)
	}
	return nil
}

// check says whether a batch continues what was fetched so far.
func (f *fetch) check(h *wire.BatchHeader, cluster wire.ClusterID) *stream.Stop {
	no := func(code wire.RefusalCode, format string, args ...any) *stream.Stop {
		return &stream.Stop{Code: code, Text: fmt.Sprintf(format, args...)}
	}
	switch {
	case h.Cluster != cluster || h.Log() != f.log:
		return no(wire.RefuseMalformed, "log %s of cluster %016x came for log %s", h.Log(), uint64(h.Cluster), f.log)
	case f.from.Seq != 0 && h.Incarnation != f.from.Incarnation:
		return no(wire.RefuseUnknownIncarnation, "seq %d: incarnation %s came, %s is held up to seq %d",
			h.FirstSeq, h.Incarnation, f.from.Incarnation, f.from.Seq)
	case h.FirstSeq != f.from.Seq+1:
		return no(wire.RefuseGap, "seqs %d to %d came, seq %d is next", h.FirstSeq, h.LastSeq(), f.from.Seq+1)
	case h.Prev != f.from.Chain:
		return no(wire.RefuseChain,
			"histories differ: the batch of seqs %d to %d follows chain %s, seq %d has chain %s here",
			h.FirstSeq, h.LastSeq(), h.Prev, f.from.Seq, f.from.Chain)
	case f.kind == StageRestore && (h.LastSeq() > f.to || h.FirstStamp <= f.stamp):
		return no(wire.RefuseOrder, "seqs %d to %d, stamped from %d, came behind stamp %d for up to seq %d",
			h.FirstSeq, h.LastSeq(), h.FirstStamp, f.stamp, f.to)
	}
	return nil
}

// fetchEnded closes an answer.
func (n *Node) fetchEnded(l *link) error {
	e := &n.msg.fetchEnd
	f := l.find(e.ID)
	more := e.Code == 0 && e.Text != "" && (f == nil || f.from.Seq < f.to)
	switch {
	case f == nil:
		if err := n.strayAnswer(e.ID); err != nil {
			return err
		}
		if more {
			n.goOn(l, nil)
		}
		return nil
	case more && !l.brought: // or both ends would only talk
		n.fetchFailed(l, f, &stream.Stop{Code: wire.RefuseInternal, Text: "more is there, and none of it came"})
	case more:
		n.goOn(l, f)
		return nil
	case e.Code != 0:
		n.fetchFailed(l, f, &stream.Stop{Code: e.Code, Text: e.Text})
	case f.kind == 0:
		l.drop(f)
		n.mirrorProven(f.log)
	case f.from.Seq < f.to:
		n.fetchFailed(l, f, &stream.Stop{Code: wire.RefuseNotRetained, Text: fmt.Sprintf(
			"asked for seqs %d to %d, the answer ended at seq %d", f.start.Seq+1, f.to, f.from.Seq)})
	default:
		l.drop(f)
		if f.kind == StageRestore {
			n.restoreReached(f.log.Shard)
		}
	}
	n.fetchNext(l)
	return nil
}

// fetchFailed: the other end cannot give what was asked, or gives another history.
func (n *Node) fetchFailed(l *link, f *fetch, why *stream.Stop) {
	p := l.peer
	l.drop(f)
	if f.kind != StageRestore {
		n.notGiven(l, f, why)
		return
	}
	o := &n.own[f.log.Shard]
	o.Fetching = false
	cannot := &stream.Stop{Code: why.Code, Text: fmt.Sprintf(
		"the journal ends at seq %d, chain %s, the peer has seq %d, chain %s, and cannot give it back: %s",
		o.Tail.Seq, o.Tail.Chain, o.goal.Seq, o.goal.Chain, why.Text)}
	if lacks(why.Code) {
		n.takeOut(p, f.log.Shard, cannot)
		o.giver = nil
		n.restoreElsewhere(f.log.Shard)
	} else {
		n.diverged(p, f.log.Shard, cannot)
	}
}

// lacks says that a site has not got what it was asked for, or not whole: that is
// no word against our history, and another site may have it.
func lacks(code wire.RefusalCode) bool {
	return code == wire.RefuseSuspect || code == wire.RefuseNotRetained || code == wire.RefuseInternal
}

// restoreElsewhere asks another site for what one could not give back, or went before it
// had. Where none is linked that has it, one may come: until then nothing is appended.
func (n *Node) restoreElsewhere(s wire.Shard) {
	o := &n.own[s]
	o.Fetching = false
	for _, p := range n.peers {
		pl := &p.logs[s]
		if p.link == nil || p.link.closing || p.phase < phaseSeek || pl.stop != nil || o.Stopped {
			continue
		}
		more := o.restored.Seq <= o.Tail.Seq || pl.answer.Seq > o.restored.Seq // than what is staged
		if more && stream.Relate(o.Tail, pl.answer) == stream.Ahead {
			n.peerAhead(p, s)
			n.fetchNext(p.link)
			return
		}
	}
	if o.Short() && !o.Stopped && n.restoreAt == 0 {
		n.restorePause = min(max(2*n.restorePause, repairPauseMin), repairPauseMax)
		n.restoreAt = n.t.Now.Mono + n.restorePause
	}
	if n.gate.Waited() && o.State == AdmitWaiting {
		n.gate.StopWaiting(s)
	}
}

// retryRestores has the sites asked anew that could not give a log back: their copies,
// damaged in other places each, may have mended each other meanwhile.
func (n *Node) retryRestores() {
	if n.restoreAt == 0 || n.t.Now.Mono < n.restoreAt {
		return
	}
	n.restoreAt = 0
	for s := range n.own {
		if o := &n.own[s]; o.Short() && !o.Stopped && !o.Fetching {
			n.gate.Whole = append(n.gate.Whole, wire.Shard(s))
		}
	}
}

// resumeLacking begins a session anew with sites that were left out of one because a log
// was not whole, here or there, which is whole here now, or may be there: so that they
// are served, or asked again, once nothing more is on its way back. It ends a step,
// because it may end any link.
func (n *Node) resumeLacking() {
	if len(n.gate.Whole) == 0 || len(n.restoring) > 0 || slices.ContainsFunc(n.peers, func(p *peer) bool {
		return len(p.restores) > 0 || p.link != nil && slices.ContainsFunc(p.link.fetches, func(f *fetch) bool {
			return f.kind == StageRestore
		})
	}) {
		if plant.BackUntold {
			n.gate.Whole = n.gate.Whole[:0]
		}
		return
	}
	for _, p := range n.peers {
		left := func(s wire.Shard) bool { return p.logs[s].stop != nil && lacks(p.logs[s].stop.Code) }
		if p.phase >= phaseSeek && slices.ContainsFunc(n.gate.Whole, left) {
			n.close(p.link, "a log that was not whole is tried again")
		}
	}
	n.gate.Whole = n.gate.Whole[:0]
}

// restoredDurable adds what came back to the own logs.
func (n *Node) restoredDurable(ticket uint64) {
	for len(n.restoring) > 0 && n.restoring[0].ticket <= ticket {
		r := n.restoring[0]
		n.restoring = slices.Delete(n.restoring, 0, 1)
		n.restoreTaken(&r)
		o := &n.own[r.shard]
		if r.end.Seq > o.Tail.Seq {
			n.grow(o, r.shard, r.first, r.end, r.stamp, r.last, r.index)
		}
		n.restoreReached(r.shard)
	}
}

// restoreReached admits the log once all that the peer had is back. What a site that had
// more gave before it went may lie behind that: then the session proves the peer's place.
func (n *Node) restoreReached(s wire.Shard) {
	o := &n.own[s]
	if o.giver == nil || o.Stopped || o.Tail.Seq < o.goal.Seq {
		return
	}
	p, goal := o.giver, o.goal
	o.giver, o.Fetching = nil, false
	if o.Tail.Seq == goal.Seq && o.Tail != goal {
		n.diverged(p, s, differ(o.Tail, goal))
		return
	}
	text := fmt.Sprintf("site %s gave back everything up to seq %d", p.Name, goal.Seq)
	if o.Tail != goal {
		text = fmt.Sprintf("seq %d is here again, site %s has it up to seq %d", o.Tail.Seq, p.Name, goal.Seq)
	}
	n.event(EventDataRestored, p.Site, n.t.LogID(s), false, n.t.OwnName(s)+": "+text)
	if o.Tail == goal && p.logs[s].answer == goal { // a peer that fell back since has it no more
		n.confirm(p, s, goal)
	}
	n.gate.Proven(s)
	if o.Short() {
		n.restoreElsewhere(s) // another site has more still
		return
	}
	n.restorePause = 0
	if n.gate.Waited() && o.State == AdmitWaiting {
		n.gate.StopWaiting(s)
	}
	n.gate.Whole = append(n.gate.Whole, s)
}

// restoreFailed: the own journal did not take what came back.
func (n *Node) restoreFailed(in *StageFailed) bool {
	i := slices.IndexFunc(n.restoring, func(r restored) bool { return r.ticket == in.Ticket })
	if i < 0 {
		return false
	}
	s := n.restoring[i].shard
	n.restoring = slices.DeleteFunc(n.restoring, func(r restored) bool {
		if r.shard == s {
			n.restoreTaken(&r)
		}
		return r.shard == s
	})
	o := &n.own[s]
	o.restored = wire.Position{}
	n.event(EventJournalDown, 0, n.t.LogID(s), true,
		fmt.Sprintf("%s: what a peer gave back could not be written: %v", n.t.OwnName(s), in.Err))
	p := o.giver
	o.giver, o.Fetching = nil, false
	if p != nil && p.link != nil {
		n.close(p.link, "the own journal does not take what was given back")
	}
	if !o.Fetching { // else the end of the link had another site asked
		n.restoreElsewhere(s)
	}
	return true
}

// fetchAll has every link that has no question out ask its next one.
func (n *Node) fetchAll() {
	for _, l := range n.order {
		n.fetchNext(l)
	}
}

// holds returns the durable tail of a log that may be given to others.
func (n *Node) holds(log wire.LogID) (wire.Position, *stream.Stop) {
	no := func(code wire.RefusalCode, what string) *stream.Stop {
		return &stream.Stop{Code: code, Text: fmt.Sprintf("site %s: %s %s", n.t.C.SiteName, n.t.LogName(log), what)}
	}
	if o := n.ownLog(log); o != nil {
		switch {
		case n.t.Down[Own] != nil:
			return o.Tail, no(wire.RefuseInternal, "lies in a journal that stopped")
		case o.Suspect:
			return o.Tail, no(wire.RefuseSuspect, "is damaged here as well")
		}
		return o.Tail, nil
	}
	m := n.mirrorLog(log)
	switch {
	case m == nil || m.durable.Seq == 0:
		return wire.Position{}, no(wire.RefuseNotRetained, "is not held here")
	case n.t.Down[Mirror] != nil:
		return m.durable, no(wire.RefuseInternal, "lies in a journal that stopped")
	case m.suspect:
		return m.durable, no(wire.RefuseSuspect, "is damaged here as well")
	}
	return m.durable, nil
}
