package fetch

import (
	"slices"

	"github.com/claudefs/repl/engine/event"
	"github.com/claudefs/repl/engine/step"
	"github.com/claudefs/repl/engine/stream"
	"github.com/claudefs/repl/wire"
)

// restore is an own log that is given back.
//
//	goal covers staged, and staged covers tail, while there is a holder and anything is staged
type restore struct {
	staged wire.Position // end of what is staged to restore it; zero = nothing
	stamp  wire.Stamp    // there
	goal   wire.Position // what holder had when it was asked to give it back
	holder wire.SiteID   // 0 = none
	name   string        // of holder
}

// given is what one stage of own batches will have added when it is durable.
type given struct {
	stream.Growth
	ticket uint64
	bytes  int64
}

func (g *given) add(h *wire.BatchHeader) {
	g.bytes += int64(h.Bytes())
	if g.First == 0 {
		g.First, g.Stamp = h.FirstSeq, h.FirstStamp
	}
	g.Index = max(g.Index, h.LastIndex)
}

// Want queues an own log to be given back by the other end of a dialed link, up to goal.
func (d *Desk) Want(l *Line, s wire.Shard, goal wire.Position) {
	l.wants = append(l.wants, want{s, goal})
}

// Unwant drops what is queued on a link; it is asked for elsewhere.
func (d *Desk) Unwant(l *Line) {
	wants := l.wants
	l.wants = nil
	for _, w := range wants {
		d.elsewhere(w.shard)
	}
}

// Staged says whether batches of an own log are on their way back into the journal.
func (d *Desk) Staged(s wire.Shard) bool { return d.logs[s].staged.Beyond(d.gate.Logs[s].Tail) }

// Restoring says whether own logs are on their way back.
func (d *Desk) Restoring() bool {
	return len(d.staged) > 0 || slices.ContainsFunc(d.lines, (*Line).restoring)
}

func (d *Desk) askRestore(l *Line, w want) {
	o, r := &d.gate.Logs[w.shard], &d.logs[w.shard]
	q := Question{Kind: Restore, Log: d.t.LogID(w.shard), from: o.Tail, to: w.goal, stamp: o.LastStamp}
	if d.Staged(w.shard) {
		q.from, q.stamp = r.staged, r.stamp
	}
	// Where all that another site had is on its way to the medium, that is waited for.
	if !q.reached() || r.holder == 0 || !r.staged.Covers(r.goal) {
		r.goal, r.holder, r.name = w.goal, l.Site, l.Name
	}
	if q.reached() {
		d.reached(w.shard) // or it will be, with the flush that is under way
		return
	}
	d.ask(l, q)
}

func (d *Desk) stageRestore(g *given) {
	r := &d.logs[g.Shard]
	r.staged, r.stamp = g.End, g.Last
	d.gate.Clear(g.Shard) // the peer's copy goes on from our tail: that proves it
	d.staged = append(d.staged, *g)
	d.waiting += g.bytes
}

// taken asks for the grants that were held back.
func (d *Desk) taken(g *given) {
	d.waiting -= g.bytes
	if !stream.Takes(d.waiting, d.t.C.RestoreBytesMax) {
		return
	}
	for _, l := range d.lines {
		for _, q := range l.Open {
			if q.held && !l.Closed {
				q.held = false
				d.askOn(l, q)
			}
		}
	}
}

// notGivenBack: a peer cannot give what it had told, or gives another history.
func (d *Desk) notGivenBack(l *Line, q *Question, why *step.Stop) {
	s := q.Log.Shard
	o, r := &d.gate.Logs[s], &d.logs[s]
	o.Fetching = false
	cannot := step.Stopf(why.Code,
		"the journal ends at seq %d, chain %s, the peer has seq %d, chain %s, and cannot give it back: %s",
		o.Tail.Seq, o.Tail.Chain, r.goal.Seq, r.goal.Chain, why.Text)
	if !why.Missing() {
		d.heart.Diverged(l.Site, s, cannot)
		return
	}
	d.heart.CannotGive(l.Site, s, cannot)
	r.holder = 0
	d.elsewhere(s)
}

// elsewhere asks another site for what one could not give back, or went before it had.
// Where none is linked that has it, one may come: until then nothing is appended.
func (d *Desk) elsewhere(s wire.Shard) {
	o, r := &d.gate.Logs[s], &d.logs[s]
	o.Fetching = false
	beyond := wire.Position{} // what is staged, if it lies behind the tail
	if d.Staged(s) {
		beyond = r.staged
	}
	if d.heart.Elsewhere(s, beyond) {
		return
	}
	if o.Short() && !o.Stopped && d.again == 0 {
		d.pause = min(max(2*d.pause, pauseMin), pauseMax)
		d.again = d.t.Now.Mono + d.pause
	}
	if d.gate.Waited() && o.State == step.AdmitWaiting {
		d.gate.StopWaiting(s)
	}
}

// retryRestores has the sites asked again that could not give a log back: their copies,
// damaged in other places each, may have repaired each other meanwhile.
func (d *Desk) retryRestores() {
	if d.again == 0 || d.t.Now.Mono < d.again {
		return
	}
	d.again = 0
	for s := range d.gate.Logs {
		if o := &d.gate.Logs[s]; o.Short() && !o.Stopped && !o.Fetching {
			d.gate.Whole = append(d.gate.Whole, wire.Shard(s))
		}
	}
}

// Durable adds what came back to the own logs: all stages up to ticket are flushed.
func (d *Desk) Durable(ticket uint64) {
	for len(d.staged) > 0 && d.staged[0].ticket <= ticket {
		g := d.staged[0]
		d.staged = slices.Delete(d.staged, 0, 1)
		d.taken(&g)
		if g.End.Beyond(d.gate.Logs[g.Shard].Tail) {
			d.heart.Grow(&g.Growth)
		}
		d.reached(g.Shard)
	}
}

// reached admits the log once all that the peer had is back. What a site that had more
// gave before it went may lie behind that: then the session proves the peer's place.
func (d *Desk) reached(s wire.Shard) {
	o, r := &d.gate.Logs[s], &d.logs[s]
	if r.holder == 0 || o.Stopped || !o.Tail.Covers(r.goal) {
		return
	}
	holder, goal := r.holder, r.goal
	r.holder, o.Fetching = 0, false
	if o.Tail.Order(goal) == wire.OrderLevel && o.Tail != goal {
		d.heart.Diverged(holder, s, step.Differing(o.Tail, goal))
		return
	}
	d.t.Tell(&event.DataRestored{Place: event.Place{Peer: holder, Log: d.t.LogID(s)}, Tail: o.Tail, Goal: goal})
	if o.Tail == goal {
		d.heart.GaveBack(holder, s, goal)
	}
	d.gate.Proven(s)
	if o.Short() {
		d.elsewhere(s) // another site has more still
		return
	}
	d.pause = 0
	if d.gate.Waited() && o.State == step.AdmitWaiting {
		d.gate.StopWaiting(s)
	}
	d.gate.Whole = append(d.gate.Whole, s)
}

// StageFailed: the own journal did not take what came back. ok: the ticket was such a one.
func (d *Desk) StageFailed(in *step.StageFailed) (ok bool) {
	i := slices.IndexFunc(d.staged, func(g given) bool { return g.ticket == in.Ticket })
	if i < 0 {
		return false
	}
	s := d.staged[i].Shard
	d.staged = slices.DeleteFunc(d.staged, func(g given) bool {
		if g.Shard == s {
			d.taken(&g)
		}
		return g.Shard == s
	})
	o, r := &d.gate.Logs[s], &d.logs[s]
	r.staged = wire.Position{}
	d.t.Tell(&event.NotGivenBack{Place: event.Place{Log: d.t.LogID(s)}, Err: in.Err})
	holder := r.holder
	r.holder, o.Fetching = 0, false
	if holder != 0 {
		d.heart.NotTaken(holder)
	}
	if !o.Fetching { // else the end of the link had another site asked
		d.elsewhere(s)
	}
	return true
}
