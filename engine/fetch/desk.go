package fetch

import (
	"fmt"
	"slices"
	"time"

	"github.com/claudefs/repl/engine/admission"
	"github.com/claudefs/repl/engine/step"
	"github.com/claudefs/repl/engine/stream"
	"github.com/claudefs/repl/wire"
)

// Heart is what the rest of the heart does for this room, and learns from it.
type Heart interface {
	// Holds is the durable tail of a log that may be given to others; else why not.
	Holds(log wire.LogID) (wire.Position, *step.Stop)
	// Mirror is where a mirrored log ends durably, and whether nothing proves it.
	Mirror(log wire.LogID) (tail wire.Position, suspect, ok bool)
	// Staged is where a mirrored log ends, what is on its way to the medium included, and the
	// stamp of the last entry there.
	Staged(log wire.LogID) (wire.Position, wire.Stamp)
	// Pulled: so much more of a mirrored log is staged under a ticket.
	Pulled(ticket uint64, log wire.LogID, end wire.Position, stamp wire.Stamp)
	// Opens has a mirrored log go on in the incarnation that a START of the frame at hand opens;
	// else why not.
	Opens(h *wire.BatchHeader) *step.Stop
	// MirrorProven: the log's own site goes on from our tail.
	MirrorProven(log wire.LogID)
	// Repaired: what damage took from an own log is here again.
	Repaired(log wire.LogID, from, to wire.Position)
	// Elsewhere queues an own log, by Want, at another peer that has more than beyond; if any.
	Elsewhere(s wire.Shard, beyond wire.Position) bool
	// Grow moves the durable tail of an own log.
	Grow(g *stream.Growth)
	// GaveBack: a peer gave an own log back up to goal, where it ends; so it does here.
	GaveBack(from wire.SiteID, s wire.Shard, goal wire.Position)
	// CannotGive: a peer does not have what it had told; its session goes on without the log.
	CannotGive(from wire.SiteID, s wire.Shard, why *step.Stop)
	// Diverged: a peer's history of an own log is not ours (I4).
	Diverged(from wire.SiteID, s wire.Shard, why *step.Stop)
	// NotKept: a site does not keep what follows our mirror of its log. true: the mirror goes
	// on behind the Store.
	NotKept(from wire.SiteID, log wire.LogID) bool
	// Needless: nobody lacks a log up to there, this site's Store included.
	Needless(log wire.LogID, to wire.Position) bool
	// Unpinned: the logs of a shard need not keep their floors any more.
	Unpinned(s wire.Shard)
	// NotTaken: the own journal does not take what a peer gives back: end its session.
	NotTaken(from wire.SiteID)
}

// Desk has all questions of one site.
type Desk struct {
	t     *step.Turn
	gate  *admission.Gate
	heart Heart
	lines []*Line // in the order they came up
	id    uint64  // of the newest question

	pulls   pulls
	holes   []hole    // waiting for a link that has them
	mending []mending // their last pieces are being written

	logs     []restore // by shard
	staged   []given   // own batches, oldest first
	waiting  int64     // bytes in staged
	again    time.Duration
	pause    time.Duration // before again
	compared compared
	pins     int // lines with a pinned shard
}

// New returns a desk without questions.
func New(t *step.Turn, gate *admission.Gate, heart Heart) *Desk {
	return &Desk{t: t, gate: gate, heart: heart, logs: make([]restore, t.C.Shards)}
}

// Add takes a link that came up.
func (d *Desk) Add(l *Line) { d.lines = append(d.lines, l) }

// Remove takes a link that is gone off the list.
func (d *Desk) Remove(l *Line) {
	d.lines = slices.DeleteFunc(d.lines, func(o *Line) bool { return o == l })
}

// Next asks the next questions on a link that has none out: as many at a time as the other
// end answers by one walk of its journal.
func (d *Desk) Next(l *Line) {
	if l.Closed || len(l.Open) > 0 || !l.Ready {
		return
	}
	for l.Dialed && len(l.wants) > 0 && len(l.Open) < stream.AnswerLogsMax {
		w := l.wants[0]
		l.wants = slices.Delete(l.wants, 0, 1)
		d.askRestore(l, w)
	}
	for i := 0; i < len(d.holes) && len(l.Open) < stream.AnswerLogsMax; {
		h := d.holes[i]
		if !d.mayGive(l, &h) {
			i++
			continue
		}
		d.holes = slices.Delete(d.holes, i, i+1)
		d.askRepair(l, h)
	}
	if l.owes && len(l.Open) > 0 {
		d.goOn(l, nil)
	}
}

// all has every link that has no question out ask its next one.
func (d *Desk) all() {
	for _, l := range d.lines {
		d.Next(l)
	}
}

// asked says whether a question about this log is out on any link: pieces of two answers
// would come mixed.
func (d *Desk) asked(log wire.LogID) bool {
	return slices.ContainsFunc(d.lines, func(l *Line) bool {
		return slices.ContainsFunc(l.Open, func(q *Question) bool { return q.Log == log })
	})
}

func (d *Desk) ask(l *Line, q Question) {
	q.start = q.from
	l.Open = append(l.Open, &q)
	d.askOn(l, &q)
}

// askOn asks for what follows, the first time or the next.
func (d *Desk) askOn(l *Line, q *Question) {
	d.id++
	q.ID, l.answered = d.id, false
	f := wire.Fetch{ID: q.ID, Log: q.Log, From: q.from, To: q.to.Seq}
	if q.crosses() && q.from.Seq != 0 || q.Kind == Pull {
		f.To = 0
		d.t.E.SendWith(l.Link, l.Session, &f, wire.Extensions{}.AppendUntil(q.to))
		return
	}
	d.t.E.Send(l.Link, l.Session, &f)
}

// goOn asks for the next grant: for the log that ended the last one, or where that is not
// wanted any more for another that was asked for, if need be later; unless too much waits
// for the medium.
func (d *Desk) goOn(l *Line, q *Question) {
	if l.owes = q == nil && len(l.Open) == 0; l.owes || l.Closed {
		return
	}
	if q == nil {
		q = l.Open[0]
		l.dropped = append(l.dropped, granted{id: q.ID, log: q.Log})
	}
	if q.held = !stream.Takes(d.waiting, d.t.C.RestoreBytesMax); !q.held {
		d.askOn(l, q)
	}
}

// Lost: the link went before the answers were complete.
func (d *Desk) Lost(l *Line) {
	lost := l.Open
	l.Open = nil
	for _, q := range lost {
		if q.Kind == Restore {
			d.elsewhere(q.Log.Shard)
		} else {
			d.repairAgain(&q.hole)
		}
	}
}

// Fetched takes a piece of an answer: the batches of the frame with this id. What does not
// continue is not an answer: nothing of it is staged (I4).
func (d *Desk) Fetched(l *Line, id uint64, headers []wire.BatchHeader) error {
	q := l.find(id)
	l.answered = true
	if q == nil {
		return d.stray(id)
	}
	e := d.t.E
	lo, start := e.Mark(), q.from
	piece := given{Growth: stream.Growth{Shard: q.Log.Shard}}
	for i := range headers {
		h := &headers[i]
		why := q.judge(h, d.t.C.Cluster)
		if why == nil && q.Kind == Pull && h.OpensEpoch() {
			why = d.heart.Opens(h)
		}
		if why != nil {
			e.Unpick(lo)
			l.giveUp(q)
			d.failed(l, q, why)
			d.Next(l)
			return nil
		}
		piece.add(h)
		q.from, q.stamp = h.End(), h.LastStamp
		e.Pick(i)
	}
	if q.Kind == Proof {
		e.Unpick(lo)
		return nil
	}
	if q.Kind == Pull {
		d.stagePull(q, e.Picked(lo))
		return nil
	}
	s := step.Stage{Kind: q.Kind.stage(), Ticket: d.t.Ticket(), Batches: e.Picked(lo), Log: q.Log}
	if q.Kind == Restore {
		piece.ticket, piece.End, piece.Last = s.Ticket, q.from, q.stamp
		d.stageRestore(&piece)
	} else {
		s.From, s.Last = start, q.reached()
		if s.Last {
			d.mending = append(d.mending, mending{s.Ticket, q.hole})
		}
	}
	e.Stages = append(e.Stages, s)
	return nil
}

// stray tells an answer to a question that was given up from one to a question that was
// never asked.
func (d *Desk) stray(id uint64) error {
	if id == 0 || id > d.id {
		return fmt.Errorf("answer to fetch %d, asked up to %d: %w", id, d.id, wire.ErrProtocol)
	}
	return nil
}

// Ended closes an answer, or a grant of it.
func (d *Desk) Ended(l *Line, e *wire.FetchEnd) error {
	q, again := l.find(e.ID), l.ended(e.ID)
	more := e.Code == 0 && e.Text != "" && (q == nil || !q.reached())
	switch {
	case q == nil:
		if err := d.stray(e.ID); err != nil {
			return err
		}
		if more && !again {
			d.goOn(l, nil)
		}
		return nil
	case more && !l.answered: // or both ends would only talk
		d.failed(l, q, &step.Stop{Code: wire.RefuseInternal, Text: "more is there, and none of it came"})
		d.goOn(l, nil)
	case more:
		d.goOn(l, q)
		return nil
	case e.Code != 0:
		d.failed(l, q, &step.Stop{Code: e.Code, Text: e.Text})
	case q.Kind == Proof:
		l.drop(q)
		if !q.hole.kept {
			d.heart.MirrorProven(q.Log)
		}
	case !q.reached():
		code := wire.RefuseGap // its log ends there
		if q.Kind == Restore {
			code = wire.RefuseNotRetained // it had more, by its word
		}
		d.failed(l, q, step.Stopf(code,
			"asked for seqs %d to %d, the answer ended at seq %d", q.start.Seq+1, q.to.Seq, q.from.Seq))
	default:
		l.drop(q)
		switch q.Kind {
		case Restore:
			d.reached(q.Log.Shard)
		case Pull:
			d.pullOn(q)
		}
	}
	d.Next(l)
	return nil
}

// failed: the other end cannot give what was asked, or gives another history.
func (d *Desk) failed(l *Line, q *Question, why *step.Stop) {
	l.drop(q)
	if q.Kind == Restore {
		d.notGivenBack(l, q, why)
	} else {
		d.notGiven(l, q, why)
	}
}

// Due is when the desk wants to be woken.
func (d *Desk) Due() time.Duration {
	due := step.Never
	for i := range d.holes {
		if at := d.holes[i].again; at != 0 {
			due = min(due, at)
		}
	}
	if d.again != 0 {
		due = min(due, d.again)
	}
	return due
}

// Tick lets what is due happen. Whoever ticks lines ticks them first.
func (d *Desk) Tick() {
	d.retryHoles()
	d.retryRestores()
}

// Counts are how many repairs wait, and how many stages of own batches.
func (d *Desk) Counts() (repairs, restores int) { return len(d.holes), len(d.staged) }

// Check says which of the room's inequalities does not hold.
func (d *Desk) Check() error {
	sum := int64(0)
	for i := range d.staged {
		sum += d.staged[i].bytes
	}
	if d.waiting != sum {
		return fmt.Errorf("fetch: %d bytes wait for the medium, counted %d", d.waiting, sum)
	}
	if d.pins < 0 || d.pins > len(d.lines) {
		return fmt.Errorf("fetch: %d links pin a shard, %d are there", d.pins, len(d.lines))
	}
	for _, l := range d.lines {
		if len(l.Open) > stream.AnswerLogsMax || len(l.grants.open) > stream.AnswerLogsMax {
			return fmt.Errorf("fetch: link %d has %d questions out and %d to answer, at most %d",
				l.Link, len(l.Open), len(l.grants.open), stream.AnswerLogsMax)
		}
		for _, q := range l.Open {
			if q.from.Order(q.start) == wire.OrderBefore || q.ID > d.id || q.ID == 0 || l.Closed {
				return fmt.Errorf("fetch: link %d: question %d of %d from seq %d is at seq %d, for seq %d",
					l.Link, q.ID, d.id, q.start.Seq, q.from.Seq, q.to.Seq)
			}
		}
		if g := &l.grants; g.paused != 0 && !g.out {
			return fmt.Errorf("fetch: link %d: question %d ended a grant, and none is out", l.Link, g.paused)
		}
	}
	return nil
}
