package stream

// What a peer says that it has of our logs, compared with them (I4).

import (
	"fmt"
	"slices"

	"github.com/claudefs/repl/engine/event"
	"github.com/claudefs/repl/engine/internal/plant"
	"github.com/claudefs/repl/engine/step"
	"github.com/claudefs/repl/wire"
)

// resumeLog compares the peer's position with ours. proven says whether the chain there
// is known to be ours.
func (o *Outbound) resumeLog(s wire.Shard) (proven bool) {
	t, gate := o.own.t, o.own.gate
	own, l := &gate.Logs[s], &o.Logs[s]
	answer := l.Answer
	known := l.Durable // what it confirmed earlier, as a chain to compare with
	// Of an older incarnation the chain is compared when what follows is pulled.
	proven = answer.Seq == 0 || answer == own.Tail || answer == known && !own.Short() || o.own.older(s, answer)
	back := !t.Covers(own.ID, answer, known)
	if back {
		t.Tell(&event.PeerBehind{Place: event.Place{Peer: o.Site, Log: t.LogID(s)}, Has: answer, Confirmed: known})
		// The floor must not trust what the peer no longer has, and what it has is not a
		// cursor before the chain there is compared.
		o.setCursor(s, wire.Position{})
	}
	if back || !t.Covers(own.ID, l.Applied, l.appliedBefore) {
		t.E.Progress = append(t.E.Progress, step.Progress{Peer: o.Site, Log: t.LogID(s), Lost: true})
	}
	l.appliedBefore = wire.Position{}
	relation := t.Relate(own.ID, own.Tail, answer)
	if relation == step.Differ {
		o.Diverged(s, step.Differing(own.Tail, answer))
		return false
	}
	if answer.Seq != 0 && answer.Order(known) == wire.OrderLevel && answer != known && relation != step.Ahead {
		o.Diverged(s, step.Differing(known, answer))
		return false
	}
	tail, at := o.own.count(s, own.Tail), o.own.count(s, answer)
	o.durable.Set(s, tail, at, at, own.LastStamp)
	o.applied.Set(s, tail, o.own.count(s, l.Applied), at, own.LastStamp)
	switch relation {
	case step.Ahead:
		o.own.heart.Ahead(o, s)
	case step.Equal:
		o.Confirm(s, answer)
		gate.Proven(s)
	case step.Behind:
		if own.Suspect { // a damaged copy is not a source (I9)
			o.TakeOut(s, step.Stopf(wire.RefuseSuspect,
				"the own journal is damaged, nothing proves its tail at seq %d; the peer has it up to seq %d",
				own.Tail.Seq, answer.Seq))
			return false
		}
		if proven {
			o.proved(s)
		}
	}
	return proven
}

// compareRow compares a position of a live session with what is known.
func (o *Outbound) compareRow(row *wire.PageEntry) error {
	s := row.Log.Shard
	l, at := &o.Logs[s], row.Durable
	if l.Stop != nil || o.own.gate.Logs[s].Fetching || !o.Sender.In(s) {
		return nil
	}
	sent, t, log := o.Sender.Sent(s), o.own.t, o.own.t.LogID(s)
	if t.Order(log, at, l.Durable) == wire.OrderUnknown || t.Order(log, at, sent) == wire.OrderUnknown {
		o.Diverged(s, step.Differing(sent, at))
		return nil
	}
	if !t.Covers(log, at, l.Durable) {
		return fmt.Errorf("cursor page: shard %d at seq %d after seq %d was acknowledged: %w",
			s, at.Seq, l.Durable.Seq, wire.ErrProtocol)
	}
	if o.own.older(s, at) {
		o.pulled(s, at)
		sent = o.Sender.Sent(s)
	}
	switch known := o.known(s, at); {
	case l.Stop != nil:
		return nil
	case at.Order(known) == wire.OrderLevel && at != known:
		o.Diverged(s, step.Stopf(wire.RefuseChain,
			"histories differ: seq %d has chain %s here, %s at the peer", at.Seq, known.Chain, at.Chain))
		return nil
	case t.Beyond(log, at, sent):
		o.Diverged(s, step.Stopf(wire.RefuseChain,
			"the peer names seq %d, chain %s, it was sent up to seq %d", at.Seq, at.Chain, sent.Seq))
		return nil
	}
	if applied := row.AppliedAt(); t.Beyond(log, applied, l.Applied) {
		l.Applied = applied
		o.saidApplied(s)
	}
	return nil
}

// known returns what the peer is known to have or be sent at a position, as far as we
// remember a chain there.
func (o *Outbound) known(s wire.Shard, at wire.Position) wire.Position {
	if d := o.Logs[s].Durable; d.Order(at) == wire.OrderLevel {
		return d
	}
	return o.Sender.Sent(s)
}

// saidApplied passes on how far the peer's Store is.
func (o *Outbound) saidApplied(s wire.Shard) {
	at := o.Logs[s].Applied
	o.observe(wire.LevelApplied, o.applied.Reached(s, o.own.count(s, at)))
	o.progress(wire.LevelApplied, s, at)
}

// progress passes on what counts: of a learner nothing does.
func (o *Outbound) progress(level wire.AckLevel, s wire.Shard, at wire.Position) {
	t := o.own.t
	if o.Learner && !plant.LearnerCounts {
		return
	}
	t.E.Progress = append(t.E.Progress, step.Progress{Peer: o.Site, Level: level, Log: t.LogID(s), Position: at})
}

// proved: a batch of ours ends where the peer stands, with the same chain.
func (o *Outbound) proved(s wire.Shard) {
	o.Confirm(s, o.Logs[s].Answer)
	o.own.gate.Covered(s)
}

// Confirm notes a position that the peer has durably and that is in our history.
func (o *Outbound) Confirm(s wire.Shard, at wire.Position) {
	l := &o.Logs[s]
	if l.Durable != at {
		o.setCursor(s, at)
	}
	o.observe(wire.LevelDurable, o.durable.Reached(s, o.own.count(s, at)))
	if at.Seq != 0 {
		o.progress(wire.LevelDurable, s, at)
		if l.Applied.Seq != 0 {
			o.saidApplied(s)
		}
	}
}

// setCursor moves the peer's cursor and has it saved with the next Persist.
func (o *Outbound) setCursor(s wire.Shard, at wire.Position) {
	o.Logs[s].Durable = at
	if !plant.CursorsUnsaved {
		o.unsaved(s)
	}
	o.own.heart.CursorMoved(s)
}

// unsaved lists a log whose cursor is to be saved.
func (o *Outbound) unsaved(s wire.Shard) {
	if l := &o.Logs[s]; !l.dirty {
		l.dirty = true
		o.changed = append(o.changed, s)
	}
}

// Unsaved says whether cursors moved since they were saved.
func (o *Outbound) Unsaved() bool { return len(o.changed) > 0 }

// Save returns the cursors that moved, sorted, and takes them for saved. heard: at least
// one, which says that the peer was heard.
func (o *Outbound) Save(heard bool) (cursors []wire.Cursor) {
	if heard && !o.Unsaved() {
		o.unsaved(0)
	}
	slices.Sort(o.changed)
	for _, s := range o.changed {
		l := &o.Logs[s]
		l.dirty = false
		if plant.CursorAhead && o.Sender.In(s) {
			l.Durable = o.Sender.Sent(s)
		}
		cursors = append(cursors, wire.Cursor{Log: o.own.t.LogID(s), Position: l.Durable})
	}
	o.changed = o.changed[:0]
	return cursors
}

// SaveAgain: those cursors were not saved.
func (o *Outbound) SaveAgain(cursors []wire.Cursor) {
	for _, c := range cursors {
		o.unsaved(c.Log.Shard)
	}
}

// outOfSession sorts why the sender gave a log up: histories differ, or the
// batches are gone.
func (o *Outbound) outOfSession(s wire.Shard, why *step.Stop) {
	if why.Code == wire.RefuseNotRetained {
		o.TakeOut(s, why)
		return
	}
	o.Diverged(s, why)
}

// TakeOut ends a log's part in the session; the others go on (I10).
func (o *Outbound) TakeOut(s wire.Shard, why *step.Stop) {
	t, l := o.own.t, &o.Logs[s]
	if l.Stop == nil {
		o.stops = append(o.stops, s)
	}
	l.Stop = why
	o.Sender.Out(s)
	t.Tell(&event.LogStopped{Place: event.Place{Peer: o.Site, Log: t.LogID(s)}, Code: why.Code, Reason: why.Text})
}

// Diverged stops a log permanently: the peer's history is not ours (I4).
func (o *Outbound) Diverged(s wire.Shard, why *step.Stop) {
	o.TakeOut(s, why)
	o.own.gate.Stop(s, why.Code, fmt.Sprintf("site %s: %s", o.Name, why.Text))
}
