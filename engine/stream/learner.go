package stream

import (
	"time"

	"github.com/claudefs/repl/wire"
)

// A learner is a peer that an operator took in while this site works. It is served as any
// other, and nothing that it confirms counts (Outbound.progress) until it holds everything:
//
//	learner ── live, no log is out, every chain compared, durable lag small ──▶ goals: the tails here
//	goals ── its journal and its Store have them, and the lag is small still ──▶ full
//
// Each answer to a heartbeat looks. The next session begins at the top.

// learnerLagMax is how far behind a learner may be, durably, to become full.
const learnerLagMax = time.Second

// holdsAll says whether a learner has all that this site has, but for what is on its way.
func (o *Outbound) holdsAll() bool {
	if o.Phase != PhaseLive || !o.Registered || len(o.stops)+len(o.unready) > 0 {
		return false
	}
	if durable := o.lag(o.own.t.Now, o.durable); !durable.Known || durable.Time > learnerLagMax {
		return false
	}
	for i := range o.Logs {
		s := wire.Shard(i)
		if !o.Sender.In(s) || o.Sender.Unproven(s) || o.own.gate.Logs[s].Fetching {
			return false
		}
	}
	if o.goals == nil {
		for i := range o.own.gate.Logs {
			o.goals = append(o.goals, o.own.gate.Logs[i].Tail)
		}
	}
	for i := range o.Logs {
		log, l := o.own.t.LogID(wire.Shard(i)), &o.Logs[i]
		if t := o.own.t; !t.Covers(log, l.Durable, o.goals[i]) || !t.Covers(log, l.Applied, o.goals[i]) {
			return false
		}
	}
	return true
}

// full has a learner count, with all that it has confirmed so far.
func (o *Outbound) full() {
	o.Learner, o.goals = false, nil
	for i := range o.Logs {
		s, l := wire.Shard(i), &o.Logs[i]
		if l.Durable.Seq != 0 {
			o.progress(wire.LevelDurable, s, l.Durable)
		}
		if l.Applied.Seq != 0 {
			o.progress(wire.LevelApplied, s, l.Applied)
		}
	}
	o.own.heart.Full(o)
}

// Needs says whether a log is kept for a peer. What follows its position may be gone already,
// and a learner gets the state then: nothing is kept for it meanwhile.
func (o *Outbound) Needs(s wire.Shard) bool {
	why := o.Logs[s].Stop
	return !o.Learner || why == nil || why.Code != wire.RefuseNotRetained
}
