package fetch

import (
	"slices"

	"github.com/claudefs/repl/engine/step"
	"github.com/claudefs/repl/wire"
)

// A closed log is not shipped by its site any more. Who is missing some of its end asks for that,
// of any site that has it: a pull is a hole at the end of a mirrored log. What comes is staged
// behind the tail, piece by piece.

// pulls is which closed logs are asked for, and up to where.
type pulls struct {
	goals map[wire.LogID]wire.Position
	count map[wire.Shard]int // of goals
}

func (p *pulls) set(log wire.LogID, goal wire.Position) {
	if p.goals == nil {
		p.goals, p.count = make(map[wire.LogID]wire.Position), make(map[wire.Shard]int)
	}
	if _, known := p.goals[log]; !known {
		p.count[log.Shard]++
	}
	p.goals[log] = goal
}

func (p *pulls) drop(log wire.LogID) {
	if _, known := p.goals[log]; known {
		p.count[log.Shard]--
		delete(p.goals, log)
	}
}

// Pull queues the question for what follows the tail of a mirrored log, up to goal. It is asked
// with the next call of Ask.
func (d *Desk) Pull(log wire.LogID, goal wire.Position) {
	known, queued := d.pulls.goals[log]
	if queued && d.t.Covers(log, known, goal) {
		return
	}
	d.pulls.set(log, goal)
	if !queued || !d.pulling(log) { // what was asked for may have come, and not be durable yet
		d.holes = append(d.holes, hole{log: log, to: goal, pull: true})
	}
}

// pulling says whether a question for what a closed log lacks is queued or out.
func (d *Desk) pulling(log wire.LogID) (is bool) {
	d.each(func(h *hole) { is = is || h.pull && h.log == log && !h.gone })
	return is
}

// Ask has every link that has no question out ask its next ones.
func (d *Desk) Ask() { d.all() }

// Pulls says whether something of a shard's closed logs is asked for, or is to be.
func (d *Desk) Pulls(s wire.Shard) bool { return d.pulls.count[s] > 0 }

// Came: a mirrored log has so much durably.
func (d *Desk) Came(log wire.LogID, durable wire.Position) {
	if goal, asked := d.pulls.goals[log]; asked && d.t.Covers(log, durable, goal) {
		d.pulls.drop(log)
		d.unnote(log)
	}
}

// Unpull gives up what is asked for of a shard's closed logs.
func (d *Desk) Unpull(s wire.Shard) {
	for log := range d.pulls.goals {
		if log.Shard == s {
			d.pulls.drop(log)
		}
	}
	d.holes = slices.DeleteFunc(d.holes, func(h hole) bool { return h.pull && h.log.Shard == s })
	d.each(func(h *hole) { h.gone = h.gone || h.pull && h.log.Shard == s })
}

// PullAgain asks again for a log of which something was not staged: all of what its questions
// bring lies behind that.
func (d *Desk) PullAgain(log wire.LogID) {
	if _, asked := d.pulls.goals[log]; !asked {
		return
	}
	for _, l := range d.lines {
		for _, q := range slices.Clone(l.Open) {
			if q.Kind == Pull && q.Log == log {
				l.giveUp(q)
			}
		}
	}
	d.holes = slices.DeleteFunc(d.holes, func(h hole) bool { return h.pull && h.log == log })
	h := hole{log: log, to: d.pulls.goals[log], pull: true}
	d.missed(&h, d.lines...)
	d.repairAgain(&h)
}

// askPull asks for what is missing of a log now.
func (d *Desk) askPull(l *Line, h hole) {
	goal, asked := d.pulls.goals[h.log]
	from, stamp := d.heart.Staged(h.log)
	if !asked || d.t.Covers(h.log, from, goal) {
		return // not wanted any more, or on its way to the medium
	}
	h.from, h.to = from, goal
	d.ask(l, Question{Kind: Pull, Log: h.log, from: from, to: goal, stamp: stamp, hole: h})
}

// pullOn follows a pull that was answered: more may be wanted by now.
func (d *Desk) pullOn(q *Question) {
	if goal, asked := d.pulls.goals[q.Log]; asked && !q.hole.gone && !d.t.Covers(q.Log, q.from, goal) {
		d.holes = append(d.holes, hole{log: q.Log, to: goal, pull: true})
	}
}

// stagePull has a piece of a pull staged.
func (d *Desk) stagePull(q *Question, batches []int) {
	s := step.Stage{Kind: step.StageMirror, Ticket: d.t.Ticket(), Batches: batches, Log: q.Log}
	d.heart.Pulled(s.Ticket, q.Log, q.from, q.stamp)
	d.t.E.Stages = append(d.t.E.Stages, s)
}
