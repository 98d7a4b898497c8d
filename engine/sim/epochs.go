package sim

import (
	"errors"

	"maps"
	"time"

	"github.com/claudefs/repl/engine/node"
	"github.com/claudefs/repl/engine/role"
	"github.com/claudefs/repl/engine/sim/plan"
	"github.com/claudefs/repl/engine/store"
	"github.com/claudefs/repl/engine/store/journal"
	"github.com/claudefs/repl/engine/store/writer"
	"github.com/claudefs/repl/wire"
)

// The writer begins a new epoch: by an operator's word, or with a restart. All of its logs go
// on in new incarnations; the others hear of it by its hello. A site that takes a higher epoch
// over begins again from its journals. The engine does so within one process (engine/epoch.go),
// here it is a restart: neither keeps anything but what is durable.
//
// The model counts a log's entries over its incarnations (lineage): those of one with a higher
// epoch come behind all of an older one, at a distance, because what lies between the end of
// that and its tail are orphans.

// newEpoch has the writer begin another epoch, now or with its next start.
func (s *site) newEpoch(f *plan.Item) {
	if s.place != 0 || s.gone {
		return
	}
	s.epochWanted = true
	if s.p != nil && f.Stream().OneIn(2) {
		s.w.mark("epoch begun by an operator")
		s.die(false, f.Span, f.Stream())
	}
	s.w.fault(f.Kind)
}

// raise has a higher epoch taken over, which the heart has heard of.
func (p *process) raise(to wire.Epoch) {
	s := p.site
	s.epochHeard = max(s.epochHeard, to)
	s.w.mark("epoch taken over")
	s.die(false, s.draw.Between(cpuTime, 10*cpuTime), s.draw)
}

// holdEpoch begins a life in its epoch; false if the disk refuses that.
func (p *process) holdEpoch() bool {
	s := p.site
	if err := p.settleEpoch(); err != nil {
		if !struck(err) {
			s.w.fail("I14", "%s does not put its epoch on record, and its disk refuses nothing: %v",
				siteNames[s.index], err)
		}
		s.die(true, s.draw.Between(20*time.Millisecond, 400*time.Millisecond), s.draw)
		return false
	}
	for _, a := range p.appliers {
		p.again(a.Raise(s.id, p.epoch))
	}
	return true
}

// settleEpoch puts the epoch of this life on record, before anything of it is answered.
func (p *process) settleEpoch() error {
	s, control := p.site, p.own.j.Control()
	held := max(control.Epoch(0), role.First)
	next := max(held, s.epochHeard)
	if s.epochWanted && p.founded && p.primary == s.id {
		highest := next
		for _, start := range append(p.own.j.Starts(), p.mirror.j.Starts()...) {
			highest = max(highest, start.Epoch)
		}
		var err error
		if next, err = role.Next(highest, s.id); err != nil {
			return err
		}
	}
	if p.epoch = next; next == held {
		return nil
	}
	p.primary = role.WriterOf(next)
	if !p.founded {
		return nil // it is put on record when every peer has been heard
	}
	record := &journal.DomainEpoch{Epoch: next, Writer: p.primary}
	_, err := p.own.j.StageControl([]journal.ControlRecord{{Epoch: record}}, wire.StampOf(p.wall()))
	if err != nil {
		return err
	}
	f := p.own.j.BeginFlush()
	if err = f.Write(); err == nil {
		err = f.Sync()
	}
	if _, err = p.own.j.EndFlush(f, err); err == nil && p.primary == s.id {
		s.w.mark("epoch begun")
		s.epochWanted = false
	}
	return err
}

// openLog has an own log go on in a new incarnation.
func (p *process) openLog(o *node.Open) {
	before := wire.Position{}
	before.Incarnation, before.Seq = p.writer.Tail(o.Shard)
	err := p.writer.Open(&writer.Opening{
		Shard: o.Shard, Epoch: o.Epoch, Ends: o.Rows, GoesOn: o.GoesOn, After: o.After,
	})
	if errors.Is(err, writer.ErrBegun) {
		return
	}
	if err != nil {
		p.site.w.fail("world", "opening epoch %d of shard %d: %v", o.Epoch, o.Shard, err)
		return
	}
	in, _ := p.writer.Tail(o.Shard)
	p.site.w.lineage.opened(in, o.Epoch, before)
	p.site.w.mark("own log opened again")
	p.own.kick()
}

// lineage counts the entries of logs over their incarnations.
type lineage map[wire.Incarnation]begun

// begun is where an incarnation begins: behind that seq.
type begun struct {
	first wire.Incarnation // of the log
	after wire.Seq
}

// span is how many seqs an incarnation has room for.
const span = 1 << 32

// opened notes an incarnation of an epoch that goes on behind a position.
func (l lineage) opened(in wire.Incarnation, epoch wire.Epoch, before wire.Position) {
	before = l.at(before)
	b := begun{before.Incarnation, base(wire.Seq(epoch))}
	// One that begins at the same place was never flushed.
	maps.DeleteFunc(l, func(_ wire.Incarnation, other begun) bool { return other == b })
	if before.Seq == 0 {
		b.first = in
	}
	l[in] = b
}

// base is behind which seq the incarnation begins that a counted seq is in.
func base(counted wire.Seq) wire.Seq { return counted / span * span }

// at is a position counted over all incarnations of its log.
func (l lineage) at(p wire.Position) wire.Position {
	if b, found := l[p.Incarnation]; found && p.Seq != 0 {
		p.Incarnation, p.Seq = b.first, p.Seq+b.after
	}
	return p
}

// ref is an entry counted so.
func (l lineage) ref(r wire.Ref) wire.Ref {
	at := l.at(wire.Position{Incarnation: r.Incarnation, Seq: r.Seq})
	r.Incarnation, r.Seq = at.Incarnation, at.Seq
	return r
}

// header is a batch counted so.
func (l lineage) header(h *wire.BatchHeader) *wire.BatchHeader {
	b, found := l[h.Incarnation]
	if !found {
		return h
	}
	counted := *h
	counted.Incarnation, counted.FirstSeq = b.first, h.FirstSeq+b.after
	return &counted
}

// opens says whether a batch opens an incarnation of a later epoch: it continues no chain.
func opens(h *wire.BatchHeader) bool { return h.OpensEpoch() && h.Prev == wire.Chain{} }

// dot is an entry of a Store counted so.
func (l lineage) dot(d store.Dot) wire.Seq {
	return l.at(wire.Position{Incarnation: d.Incarnation, Seq: d.Seq}).Seq
}

// of is where a counted position lies in its log.
func (l lineage) of(p wire.Position) wire.Position {
	for in, b := range l { // at most one of them fits
		if b.first == p.Incarnation && b.after == base(p.Seq) {
			p.Incarnation, p.Seq = in, p.Seq-b.after
			break
		}
	}
	return p
}
