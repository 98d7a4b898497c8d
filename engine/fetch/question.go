package fetch

import (
	"slices"

	"github.com/claudefs/repl/engine/step"
	"github.com/claudefs/repl/wire"
)

// Kind is what a question is for.
type Kind uint8

const (
	Proof   Kind = iota + 1 // does the log's own site go through our tail
	Repair                  // what damage took from a journal's middle
	Restore                 // what an own log lost of its end
	Pull                    // what a mirrored log that is closed lacks of its end
)

// stage is what becomes of a piece of the answer.
func (k Kind) stage() step.StageKind {
	if k == Restore {
		return step.StageRestore
	}
	return step.StageRepair
}

// Question is one that is out on a link.
type Question struct {
	ID    uint64
	Kind  Kind
	Log   wire.LogID
	start wire.Position
	from  wire.Position // it covers start: the next batch continues it
	to    wire.Position // without an incarnation: of that which comes; a chain where it is known
	stamp wire.Stamp    // restore, pull: of the entry at from
	hole  hole          // repair, proof: what it is for, to be asked for again if it fails
	held  bool          // to be asked on for, once less waits for the medium
}

// reached says whether all that was asked for came.
func (q *Question) reached() bool {
	to := q.to
	if to.Incarnation == (wire.Incarnation{}) {
		to.Incarnation = q.from.Incarnation
	}
	return q.from.Covers(to)
}

// crosses says that the answer goes on in a later incarnation. Repairs do: they are written
// when they are whole, so that where they end proves what lies before. Pulls do: a START opens
// behind what it names.
func (q *Question) crosses() bool {
	return (q.Kind == Repair || q.Kind == Pull) &&
		q.to.Incarnation != (wire.Incarnation{}) && q.from.Incarnation != q.to.Incarnation
}

// judge says whether a batch continues what was fetched so far.
func (q *Question) judge(h *wire.BatchHeader, cluster wire.ClusterID) *step.Stop {
	no := step.Stopf
	if h.Cluster != cluster || h.Log() != q.Log {
		return no(wire.RefuseMalformed, "log %s of cluster %016x came for log %s", h.Log(), uint64(h.Cluster), q.Log)
	}
	fit := q.from.Fit(h)
	switch {
	case fit == wire.FitOpens && h.Kind == wire.BatchStart && q.crosses():
	case fit == wire.FitOpens || fit == wire.FitStrange:
		return no(wire.RefuseUnknownIncarnation, "seq %d: incarnation %s came, %s is held up to seq %d",
			h.FirstSeq, h.Incarnation, q.from.Incarnation, q.from.Seq)
	case q.to.Incarnation != (wire.Incarnation{}) && h.Incarnation != q.to.Incarnation && !q.crosses():
		return no(wire.RefuseUnknownIncarnation, "seq %d: incarnation %s came, %s was asked for up to seq %d",
			h.FirstSeq, h.Incarnation, q.to.Incarnation, q.to.Seq)
	case fit != wire.FitNext && fit != wire.FitParts:
		return no(wire.RefuseGap, "seqs %d to %d came, seq %d is next", h.FirstSeq, h.LastSeq(), q.from.Seq+1)
	case fit == wire.FitParts:
		return no(wire.RefuseChain,
			"histories differ: the batch of seqs %d to %d follows chain %s, seq %d has chain %s here",
			h.FirstSeq, h.LastSeq(), h.Prev, q.from.Seq, q.from.Chain)
	case h.End().Order(q.to) == wire.OrderLevel && q.to.Chain != (wire.Chain{}) && h.Chain != q.to.Chain:
		return no(wire.RefuseChain, "histories differ: the batch that ends at seq %d came with chain %s, %s is missing",
			h.LastSeq(), h.Chain, q.to.Chain)
	case (q.Kind == Restore || q.Kind == Pull && fit == wire.FitNext) &&
		(h.End().Beyond(q.to) || h.FirstStamp <= q.stamp):
		return no(wire.RefuseOrder, "seqs %d to %d, stamped from %d, came behind stamp %d for up to seq %d",
			h.FirstSeq, h.LastSeq(), h.FirstStamp, q.stamp, q.to.Seq)
	}
	return nil
}

// Line is one link as far as questions go.
type Line struct {
	Link    step.LinkID
	Number  uint64 // rises with every link, from 1
	Session uint32
	Site    wire.SiteID // of the other end; 0 until its hello
	Name    string      // of that site
	Dialed  bool
	Ready   bool // questions may be asked on it
	Closed  bool // nothing more is sent on it

	Open     []*Question // what we asked on it, not answered to the end
	dropped  []granted   // what we gave up of that, and its end has not come
	wants    []want      // own logs that the other end is to give back
	answered bool        // batches came since the last question
	owes     bool        // a grant was taken while nothing was asked: the next question tells
	grants   grants      // what the other end asked for
	compare  answering   // its question of a verification
}

// want is an own log that a peer has more of: up to goal.
type want struct {
	shard wire.Shard
	goal  wire.Position
}

// find returns the question with this id that is out on the link, or nil.
func (l *Line) find(id uint64) *Question {
	for _, q := range l.Open {
		if q.ID == id {
			return q
		}
	}
	return nil
}

// drop takes a question off the link's list.
func (l *Line) drop(q *Question) {
	l.Open = slices.DeleteFunc(l.Open, func(o *Question) bool { return o == q })
}

// giveUp drops a question whose answer goes on.
func (l *Line) giveUp(q *Question) {
	l.drop(q)
	l.dropped = append(l.dropped, granted{id: q.ID, log: q.Log})
}

// ended: the other end has ended, for now or for good, what it answers to a question, and to those
// about its log that were given up before. again: one was given up, and was asked again since. Then
// that question goes on with the answer, because the other end has it.
func (l *Line) ended(id uint64) (again bool) {
	i := slices.IndexFunc(l.dropped, func(g granted) bool { return g.id == id })
	log := wire.LogID{}
	if q := l.find(id); q != nil {
		log = q.Log
	} else if i >= 0 {
		log = l.dropped[i].log
	} else {
		return false
	}
	l.dropped = slices.DeleteFunc(l.dropped, func(g granted) bool { return g.log == log && g.id <= id })
	return i >= 0 && slices.ContainsFunc(l.Open, func(q *Question) bool { return q.Log == log })
}

// restoring says whether own logs are wanted, or asked for, on this link.
func (l *Line) restoring() bool {
	return len(l.wants) > 0 || slices.ContainsFunc(l.Open, func(q *Question) bool { return q.Kind == Restore })
}
