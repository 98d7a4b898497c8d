package fetch

import (
	"slices"
	"time"

	"github.com/claudefs/repl/engine/event"
	"github.com/claudefs/repl/engine/step"
	"github.com/claudefs/repl/wire"
)

// pauseMin and pauseMax: what no link could give is asked for again after a pause that
// doubles. A copy that was damaged, too, may be repaired meanwhile.
const (
	pauseMin = time.Second
	pauseMax = time.Minute
)

// hole is a piece of a journal, (from, to], that damage took; any site that has the log
// may give it. proof asks only whether the log's own site goes through from, kept whether
// that keeps what follows.
type hole struct {
	log   wire.LogID
	from  wire.Position
	to    wire.Position
	proof bool
	kept  bool
	pull  bool          // it is the end of a closed log: from does not matter, see pull.go
	tried []uint64      // the links, by number, that could not give it
	again time.Duration // when they are asked again; 0 = none was tried
	pause time.Duration // before that
	gone  bool          // it is missing no more, and not asked for again
}

// mending is a repair whose last piece is being written.
type mending struct {
	ticket uint64
	hole   hole
}

// mayGive says whether a link is worth asking for a repair.
func (d *Desk) mayGive(l *Line, h *hole) bool {
	if (h.proof || h.kept) && h.log.Site != l.Site {
		return false
	}
	return !slices.Contains(h.tried, l.Number) && !d.asked(h.log)
}

// missed notes that a link, or all there are, could not help.
func (d *Desk) missed(h *hole, by ...*Line) {
	h.tried = slices.DeleteFunc(h.tried, func(number uint64) bool {
		return !slices.ContainsFunc(d.lines, func(l *Line) bool { return l.Number == number })
	})
	for _, l := range by {
		h.tried = append(h.tried, l.Number)
	}
	h.pause = min(max(2*h.pause, pauseMin), pauseMax)
	h.again = d.t.Now.Mono + h.pause
}

// notGiven: the other end of a link cannot give a repair, or gives another history. One
// site's word is not that of all, and what it lacks now it may have later: the hole is asked
// for until it is filled, or its segment is given back.
func (d *Desk) notGiven(l *Line, q *Question, why *step.Stop) {
	gone := why.Code == wire.RefuseNotRetained
	if gone && d.heart.NotKept(l.Site, q.Log) || q.hole.kept {
		return
	}
	if !q.hole.gone {
		if !d.idly(&q.hole) {
			d.t.Tell(&event.RepairRefused{
				Place: event.Place{Peer: l.Site, Log: q.Log}, Stretch: d.stretch(q.Log, q.start, q.to),
				Code: why.Code, Reason: why.Text,
			})
		}
		d.missed(&q.hole, l)
	}
	d.repairAgain(&q.hole)
	switch {
	case d.needless(&q.hole):
		d.unnote(q.Log)
	// An own log goes on, but for sites that are missing the piece.
	case d.t.JournalOf(q.Log) == step.Mirror && !q.hole.gone && !d.asked(q.Log):
		d.t.NoteStopped(q.Log, why.Code, step.NotRepaired+why.Text)
	}
}

// needless says whether nobody lacks what is missing: it only is a copy less.
func (d *Desk) needless(h *hole) bool {
	return !h.proof && !h.kept && !h.pull && d.heart.Needless(h.log, h.to)
}

// idly says whether a hole that nobody needs was asked for in vain before: then there is no event.
func (d *Desk) idly(h *hole) bool { return h.pause != 0 && d.needless(h) }

// repairAgain queues a repair that was asked for in vain, and asks for it wherever it was
// not yet.
func (d *Desk) repairAgain(h *hole) {
	if !h.gone {
		d.holes = append(d.holes, *h)
	}
	d.all()
}

// retryHoles asks all links again for what none could give.
func (d *Desk) retryHoles() {
	retried := false
	for i := range d.holes {
		if h := &d.holes[i]; h.again != 0 && d.t.Now.Mono >= h.again {
			h.tried, h.again, retried = nil, 0, true
		}
	}
	if retried {
		d.all()
	}
}

// stretch is (from, to] of a log, for people.
func (d *Desk) stretch(log wire.LogID, from, to wire.Position) event.Stretch {
	return event.Stretch{From: from, To: to, Own: d.t.JournalOf(log) == step.Own}
}

// Suspect queues the question whether the log's own site goes through the tail of a mirror.
func (d *Desk) Suspect(log wire.LogID, tail wire.Position) {
	d.holes = append(d.holes, hole{log: log, from: tail, to: after(tail), proof: true})
}

// after is the place behind a position.
func after(at wire.Position) wire.Position {
	return wire.Position{Incarnation: at.Incarnation, Seq: at.Seq + 1}
}

// AskKept queues the question whether the log's own site keeps what follows the tail of a
// mirror, unless another one about that log is queued or out.
func (d *Desk) AskKept(log wire.LogID, tail wire.Position) {
	if !d.asked(log) && !slices.ContainsFunc(d.holes, func(h hole) bool { return h.log == log }) {
		d.holes = append(d.holes, hole{log: log, from: tail, to: after(tail), kept: true})
		d.all()
	}
}

// AsksKept says whether such questions to a site are queued or out.
func (d *Desk) AsksKept(site wire.SiteID) bool {
	asks := func(h *hole) bool { return h.kept && h.log.Site == site }
	return slices.ContainsFunc(d.holes, func(h hole) bool { return asks(&h) }) ||
		slices.ContainsFunc(d.lines, func(l *Line) bool {
			return slices.ContainsFunc(l.Open, func(q *Question) bool { return asks(&q.hole) })
		})
}

// Damaged queues a repair. Holes of one log are asked for one at a time; one that nobody has
// holds up no other.
func (d *Desk) Damaged(in *step.LogDamaged) {
	if in.Gone {
		d.repairGone(in)
		return
	}
	d.t.Tell(&event.LogDamaged{
		Place: event.Place{Peer: in.Log.Site, Log: in.Log}, Stretch: d.stretch(in.Log, in.From, in.To),
	})
	d.holes = append(d.holes, hole{log: in.Log, from: in.From, to: in.To})
	d.all()
}

// is says whether a hole is that one.
func (h *hole) is(in *step.LogDamaged) bool {
	return h.log == in.Log && h.from == in.From && h.to == in.To && !h.proof && !h.kept && !h.pull
}

// repairGone: a hole is none any more, and what was missing is not needed.
func (d *Desk) repairGone(in *step.LogDamaged) {
	d.holes = slices.DeleteFunc(d.holes, func(h hole) bool { return h.is(in) })
	d.each(func(h *hole) { h.gone = h.gone || h.is(in) })
	d.unnote(in.Log)
}

// each calls f with each hole that is queued, asked for, or being written.
func (d *Desk) each(f func(*hole)) {
	for i := range d.holes {
		f(&d.holes[i])
	}
	for _, l := range d.lines {
		for _, q := range l.Open {
			f(&q.hole)
		}
	}
	for i := range d.mending {
		f(&d.mending[i].hole)
	}
}

// unnote: a log is not stopped for want of a repair, if nothing of it is missing that
// somebody needs.
func (d *Desk) unnote(log wire.LogID) {
	lacks := false
	d.each(func(h *hole) {
		lacks = lacks || h.log == log && !h.gone && !h.proof && !h.kept && !d.needless(h)
	})
	if !lacks {
		d.t.UnnoteStopped(log, step.NotRepaired)
	}
}

func (d *Desk) askRepair(l *Line, h hole) {
	if h.pull {
		d.askPull(l, h)
		return
	}
	q := Question{Kind: Repair, Log: h.log, from: h.from, to: h.to, hole: h}
	if h.proof || h.kept {
		tail, suspect, _ := d.heart.Mirror(h.log)
		if h.proof && !suspect || h.kept && tail != h.from {
			return
		}
		q.Kind, q.from, q.to = Proof, tail, after(tail)
	} else if !d.idly(&h) {
		d.t.Tell(&event.RepairBegun{
			Place: event.Place{Peer: l.Site, Log: h.log}, Stretch: d.stretch(h.log, h.from, h.to),
		})
	}
	d.ask(l, q)
}

// Repaired: the last piece of a repair was written, or could not be.
func (d *Desk) Repaired(in *step.Repaired) {
	i := slices.IndexFunc(d.mending, func(m mending) bool { return m.ticket == in.Ticket })
	if i < 0 {
		return
	}
	h := d.mending[i].hole
	d.mending = slices.Delete(d.mending, i, i+1)
	if in.Err != nil {
		d.notWritten(&h, in.Err)
		return
	}
	d.t.Tell(&event.LogRepaired{
		Place: event.Place{Peer: h.log.Site, Log: h.log}, Stretch: d.stretch(h.log, h.from, h.to),
	})
	if d.t.JournalOf(h.log) == step.Mirror {
		d.unnote(h.log)
		return
	}
	d.gate.Whole = append(d.gate.Whole, h.log.Shard)
	d.heart.Repaired(h.log, h.from, h.to)
}

func (d *Desk) notWritten(h *hole, err error) {
	if h.gone {
		return
	}
	d.t.Tell(&event.RepairNotWritten{
		Place: event.Place{Peer: h.log.Site, Log: h.log}, Stretch: d.stretch(h.log, h.from, h.to), Err: err,
	})
	d.missed(h, d.lines...)
	d.repairAgain(h)
}
