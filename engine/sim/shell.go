package sim

// The shell of a simulated process. engine/heart.go and engine/links.go are its counterparts.
//
//  1. An event of the world (frame, timer, flush, link) becomes an input of the heart: step.
//  2. step runs node.Step, checks the inequalities of the heart, then carries out the effects:
//     stage, adopt, operate (ops.go), persist, progress, admit, retain.
//  3. wakeAt schedules the tick that the heart asked for.
//
// What follows from journals is not decided here: see store/journal, stream, apply.

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/claudefs/repl/engine/event"
	"github.com/claudefs/repl/engine/node"
	"github.com/claudefs/repl/engine/role"
	"github.com/claudefs/repl/engine/sim/plan"
	"github.com/claudefs/repl/engine/store"
	"github.com/claudefs/repl/engine/store/journal"

	simstream "github.com/claudefs/repl/engine/stream"
	"github.com/claudefs/repl/wire"
)

// cpuTime is what a piece of work takes.
const cpuTime = 5 * time.Microsecond

func (p *process) wall() time.Time { return p.site.clock.wall(p.site.w.now) }

func (p *process) now() node.Now {
	c := &p.site.clock
	// A life's steady clock begins at one second: zero would look like "never".
	return node.Now{Mono: c.mono(p.site.w.now) - c.mono(p.born) + time.Second, Wall: p.wall()}
}

// step gives the heart one input and carries out what it asks for.
func (p *process) step(in node.Input, what string, a, b uint64) {
	w := p.site.w
	e := &p.effects
	e.Reset()
	p.node.Step(p.now(), in, e)
	if err := p.node.Check(); err != nil {
		w.fail("I14", "site %08x: %v", uint32(p.site.id), err)
	}
	_, idle := in.(*node.Tick)
	effects := len(e.Ops) + len(e.Stages) + len(e.Persists) + len(e.Progress) + len(e.Admits) + len(e.Reclaim) +
		len(e.Events)
	if !idle || effects > 0 {
		w.step(p.site.index, what, a, b)
	}
	p.clear()
	p.stage()
	p.adopt()
	p.operate()
	if e.Found {
		p.record(p.primary)
	}
	for i := range e.Persists {
		p.persist(&e.Persists[i])
	}
	if p.writes() {
		w.load.noticed(p.site, e.Events)
	}
	p.joined(e.Events)
	for i := range e.Progress {
		level, seq := uint64(e.Progress[i].Level), uint64(e.Progress[i].Position.Seq)
		w.trace.add(line{w.now, w.steps, int8(p.site.index), "progress", level, seq})
		if p.writes() {
			p.appliedTo(&e.Progress[i])
			w.load.progressed(p.site, &e.Progress[i])
		}
	}
	for i := range e.Admits {
		p.admit(&e.Admits[i])
	}
	for i := range e.Opens {
		p.openLog(&e.Opens[i])
	}
	for _, which := range e.Reclaim {
		p.retain(which)
	}
	for i := range e.Events {
		told := e.Events[i]
		w.mark("event " + string(told.Kind()))
		if back, ok := told.(*event.DataRestored); ok && p.askedInVain(back.Log) {
			w.mark("given back by another site")
		}
		w.note(p.site.index, "event "+string(told.Kind())+": "+told.Text(p.node.SiteName))
	}
	if idle && p.writes() {
		w.check.lag(p.site, p.node.Status(p.now()))
	}
	if e.Raise != 0 {
		p.raise(e.Raise)
		return
	}
	p.wakeAt(e.Wake)
}

// askedInVain says whether a peer could not give a log back.
func (p *process) askedInVain(log wire.LogID) bool {
	return slices.ContainsFunc(p.node.Status(p.now()).Peers, func(s node.PeerStatus) bool {
		return slices.ContainsFunc(s.Stopped, func(l node.StoppedLog) bool { return l.Log == log })
	})
}

// tick tells the heart that a timer may be due.
func (p *process) tick() { p.step(&node.Tick{Receiving: p.receiving()}, "tick", 0, 0) }

// receiving are silent links on which a frame comes, as the kernel would tell.
func (p *process) receiving() (ids []node.LinkID) {
	timeout := p.site.w.plan.Patience()
	for id, e := range p.links {
		silent := p.site.w.now - e.heard
		if silent < timeout/4 || len(e.peer.inflight) == 0 {
			continue
		}
		ids = append(ids, id)
		if silent > timeout {
			p.site.w.mark("slow frame keeps its link")
		}
	}
	slices.Sort(ids)
	return ids
}

// wakeAt asks for the tick that the heart wants, unless one comes earlier.
func (p *process) wakeAt(mono time.Duration) {
	if mono == 0 {
		return
	}
	c := &p.site.clock
	at := max(c.worldAt(mono-time.Second+c.mono(p.born)), p.site.w.now+time.Microsecond)
	if p.wake != 0 && p.wake <= at {
		return
	}
	p.wake = at
	p.later(plan.PhaseAny, at-p.site.w.now, func() {
		if p.wake == at {
			p.wake = 0
			p.tick()
		}
	})
}

func (p *process) linkUp(e *end, to wire.SiteID) {
	switch {
	case e.open:
		e.told, e.heard = true, p.site.w.now
		p.step(&node.LinkUp{Link: e.id, Peer: to}, "link up", uint64(e.id), 0)
	case to != 0:
		p.dialFailed(to, errReset) // gone before anybody saw it
	}
}

func (p *process) dialFailed(to wire.SiteID, err error) {
	p.step(&node.LinkDown{Peer: to, Err: err}, "dial failed", 0, 0)
}

func (p *process) linkDown(e *end, err error) {
	if r := p.readers[e.id]; r != nil {
		r.close()
		delete(p.readers, e.id)
	}
	for which := node.Own; which <= node.Mirror; which++ {
		if x := p.answering[answering{e.id, which}]; x != nil {
			x.close()
			delete(p.answering, answering{e.id, which})
		}
	}
	delete(p.links, e.id)
	if !e.told {
		return
	}
	p.step(&node.LinkDown{Link: e.id, Err: err}, "link down", uint64(e.id), 0)
}

// receive takes bytes off a link and handles the whole frames among them. What
// does not hold ends the link, as a real one does.
func (p *process) receive(e *end, bytes []byte) {
	if len(bytes) > 0 {
		e.heard = p.site.w.now
		e.rx = append(e.rx, bytes...)
	}
	for e.open && !p.dead && len(e.rx) >= wire.EnvelopeBytes {
		var envelope wire.Envelope
		if err := wire.DecodeEnvelope(e.rx, &envelope); err != nil {
			p.site.w.step(p.site.index, "bad envelope", uint64(e.id), 0)
			p.site.w.net.broken(e, err)
			return
		}
		size := envelope.FrameBytes()
		if len(e.rx) < size {
			return
		}
		if k := envelope.Kind; k == wire.FrameBatches || k == wire.FrameFetched {
			if !p.room(k) {
				p.site.w.mark("link not read")
				return // until something is flushed
			}
		}
		frame := append([]byte(nil), e.rx[:size]...)
		e.rx = e.rx[size:]
		if err := wire.CheckFrame(&envelope, frame); err != nil {
			p.site.w.step(p.site.index, "bad frame", uint64(e.id), 0)
			p.site.w.net.broken(e, err)
			return
		}
		p.frame(e, envelope, frame)
	}
}

// room says whether the journals take more of what links bring in frames of a kind.
func (p *process) room(kind wire.FrameKind) bool {
	takes := func(f *flusher) bool { return simstream.Takes(int64(f.j.StagedBytes()), stagedBytesMax) }
	return takes(p.mirror) && (kind == wire.FrameBatches || takes(p.own))
}

// readOn goes on with frames that waited for room, in the order of the links.
func (p *process) readOn() {
	for _, id := range slices.Sorted(maps.Keys(p.links)) {
		if e := p.links[id]; e != nil && e.open && len(e.rx) >= wire.EnvelopeBytes {
			p.receive(e, nil)
		}
	}
}

// frame hands a whole frame to the heart: control frames by their body, batches
// by their headers.
func (p *process) frame(e *end, envelope wire.Envelope, frame []byte) {
	in := &node.FrameIn{Link: e.id, Envelope: envelope, Ext: wire.ExtensionsOf(&envelope, frame)}
	if s := p.site; envelope.Kind == wire.FrameFetched && s.armed != nil && s.armed.Phase == plan.PhaseFetched {
		s.w.mark("killed with fetched batches at hand")
		s.dieNow()
		return
	}
	p.refs, p.headers = p.refs[:0], p.headers[:0]
	if envelope.Kind == wire.FrameBatches || envelope.Kind == wire.FrameFetched {
		p.refs, in.BatchErr = wire.Unpack(&envelope, frame, p.refs)
		for i := range p.refs {
			p.headers = append(p.headers, p.refs[i].Header)
		}
		in.Headers = p.headers
		if in.BatchErr == nil {
			in.Starts, in.BatchErr = wire.StartsOf(p.refs)
		}
		p.repeated(envelope.Kind)
		if in.BatchErr != nil {
			p.site.w.mark("batch with a wrong digest")
		}
	} else {
		in.Body = wire.Body(&envelope, frame)
	}
	if envelope.Kind == wire.FrameCursorPage {
		p.heard[e.peer.p.site.place] = true
	}
	p.step(in, "frame "+envelope.Kind.String(), uint64(e.id), envelope.Number)
	p.refs = p.refs[:0]
}

// repeated marks batches that the mirror has already: a session that began behind
// its peer's tail.
func (p *process) repeated(kind wire.FrameKind) {
	if kind != wire.FrameBatches {
		return
	}
	for i := range p.headers {
		h := &p.headers[i]
		if t, _ := p.mirror.j.Tail(h.Log()); t.Position.Incarnation == h.Incarnation && h.LastSeq() <= t.Position.Seq {
			p.site.w.mark("batch that was there already")
			return
		}
	}
}

// clear takes logs off the journals' lists of suspects.
func (p *process) clear() {
	for _, c := range p.effects.Clears {
		p.site.w.mark("suspect log cleared")
		if c.Journal == node.Own {
			p.own.j.Clear(c.Log)
		} else {
			p.mirror.j.Clear(c.Log)
		}
	}
}

// stage puts batches of the frame at hand into the journals.
func (p *process) stage() {
	for i := range p.effects.Stages {
		s := &p.effects.Stages[i]
		p.site.w.check.staging(p)
		refs := make([]wire.BatchRef, 0, len(s.Batches))
		for _, n := range s.Batches {
			refs = append(refs, p.refs[n])
		}
		switch s.Kind {
		case node.StageMirror:
			for i := range refs {
				p.site.w.check.shipped(p.site.index, &refs[i].Header)
			}
			p.mirror.stage(refs, s.Ticket)
		case node.StageRestore:
			p.site.w.mark("own batches fetched back")
			p.own.stage(refs, s.Ticket)
		case node.StageRepair:
			p.repair(s, refs)
		}
	}
}

// repair gathers fetched batches until they are a whole stretch, and has them put in the
// place of what damage took.
func (p *process) repair(s *node.Stage, refs []wire.BatchRef) {
	log, ticket := s.Log, s.Ticket
	if whole := p.pieces.Add(log, s.From, refs, s.Last); s.Last {
		p.later(plan.PhaseAny, p.site.disk.flushTime(), func() { p.mended(log, whole, ticket) })
	}
}

// mended writes a whole repair, into the journal that the log is in, and goes on
// with it.
func (p *process) mended(log wire.LogID, pieces []wire.BatchRef, ticket uint64) {
	f, mark := p.mirror, "mirror repaired"
	if log.Site == p.site.id {
		f, mark = p.own, "own log repaired"
	}
	filled, failed := f.j.Fill(log, pieces)
	if err := f.j.Err(); err != nil {
		f.failed(err)
		return
	}
	switch {
	case filled:
		p.site.w.mark(mark)
		p.site.disk.repaired(pieces)
	case failed == nil:
		p.site.w.mark("repair not needed any more")
	default:
		p.site.w.note(p.site.index, failed.Error())
	}
	p.step(&node.Repaired{Ticket: ticket, Err: failed}, "repaired", ticket, errBit(failed))
	p.mend()
	p.feeds[f.which-node.Own].reopen()
}

// mend reports to the heart what the journals miss, and what they miss no more.
func (p *process) mend() {
	gone, ask := p.missing.Update(append(p.own.j.Holes(), p.mirror.j.Holes()...))
	for _, h := range gone {
		p.step(&node.LogDamaged{Log: h.Log, From: h.From, To: h.To, Gone: true}, "whole again",
			uint64(h.Log.Shard), uint64(h.To.Seq))
	}
	for _, h := range ask {
		p.step(&node.LogDamaged{Log: h.Log, From: h.From, To: h.To}, "damaged",
			uint64(h.Log.Shard), uint64(h.To.Seq))
	}
}

// damaged is told by a journal what a reader has met, whichever it was: it is a hole
// from then on, and the next unit begins a segment whose head tells so.
func (p *process) damaged(found []journal.Damage) {
	p.noteDamage("damage found in life", found)
	p.later(plan.PhaseAny, cpuTime, func() {
		for _, f := range [2]*flusher{p.own, p.mirror} {
			if f.j.StageIdle() {
				f.kick()
			}
		}
		p.mend()
	})
}

func (p *process) noteDamage(mark string, found []journal.Damage) {
	for _, d := range found {
		p.site.w.mark(mark)
		p.site.w.note(p.site.index, fmt.Sprintf("damage: %s offset %d unit %d: %s", d.File, d.Offset, d.Unit, d.Reason))
	}
}

// record puts on record which site writes, before anything that follows from it.
func (p *process) record(writer wire.SiteID) {
	first := &journal.DomainEpoch{Epoch: max(p.epoch, role.First), Writer: writer}
	if _, err := p.own.j.StageControl([]journal.ControlRecord{{Epoch: first}}, wire.StampOf(p.wall())); err != nil {
		p.site.w.note(p.site.index, "not put on record: "+err.Error())
		return
	}
	p.own.kick()
}

func (p *process) persist(e *node.Persist) {
	var records []journal.ControlRecord
	for _, site := range e.Forget {
		records = append(records, journal.ControlRecord{RemovePeer: site})
	}
	for i := range e.Removed {
		records = append(records, journal.ControlRecord{Removed: &e.Removed[i]})
	}
	for i := range e.Sites {
		records = append(records, journal.ControlRecord{Site: &e.Sites[i]})
	}
	for i := range e.Peers {
		records = append(records, journal.ControlRecord{Peer: &e.Peers[i]})
	}
	unit, err := p.own.j.StageControl(records, wire.StampOf(p.wall()))
	if err != nil {
		in := &node.Persisted{Ticket: e.Ticket, Err: err}
		p.later(plan.PhaseAny, cpuTime, func() { p.step(in, "persist failed", in.Ticket, 0) })
		return
	}
	p.own.tickets = append(p.own.tickets, ticket{number: e.Ticket, unit: unit, persist: true})
	p.own.kick()
}

func (p *process) admit(e *node.Admit) {
	w := p.site.w
	w.trace.add(line{w.now, w.steps, int8(p.site.index), "admit", uint64(e.Shard), uint64(e.Admission)})
	open := e.Admission == node.AdmitVerified || e.Admission == node.AdmitUnverified
	w.check.admitting(p, e)
	p.writer.GoOn(e.Shard, journal.Tail{
		Position: e.Tail.Tail, LastStamp: e.Tail.LastStamp, LastIndex: e.Tail.LastIndex,
	}, e.Tail.Epoch)
	if e.Open != nil {
		p.openLog(e.Open)
	}
	if e.Admission == node.AdmitUnverified {
		w.mark("admitted unverified")
	}
	if e.Admission == node.AdmitRefused {
		w.mark("admission refused")
	}
	fresh := open && !p.admitted[e.Shard]
	p.admitted[e.Shard], p.refused[e.Shard] = open, e.Admission == node.AdmitRefused
	if fresh && p.hosted() {
		w.load.host.admitted(e.Shard, e.Tail.LastIndex)
	}
}

func (p *process) retain(which node.Journal) {
	if !p.site.w.plan.Retain {
		return
	}
	j := p.own.j
	if which == node.Mirror {
		j = p.mirror.j
	}
	floor := func(log wire.LogID) wire.Position { return p.node.Floor(which, log) }
	n, err := j.Reclaim(floor)
	if err != nil || n == 0 {
		return
	}
	p.site.w.mark("segment given back")
	if which == node.Own && len(p.readers) > 0 {
		p.site.w.mark("segment given back under a reader")
	}
	p.site.w.check.retained(p, which)
	if p.missing.Any() {
		p.later(plan.PhaseAny, cpuTime, p.mend) // what went is missing no more
	}
}

// flushStoreLater flushes the Store from time to time: late, as hosts do.
func (p *process) flushStoreLater() {
	every := p.site.plan().StoreSync
	p.later(plan.PhaseApplied, every/2+p.site.draw.Exponential(every), func() {
		if err := p.site.store.mem.Sync(background); err != nil {
			p.site.w.fail("world", "flush of the memory Store: %v", err)
		}
		p.site.w.check.storeSynced(p.site.index)
		durable := p.site.store.cursors((*store.Mem).Durable)
		p.step(&node.StoreDurable{Cursors: durable}, "store durable", 0, 0)
		p.flushStoreLater()
	})
}
