package fetch

import (
	"fmt"
	"slices"
	"time"

	"github.com/claudefs/repl/engine/step"
	"github.com/claudefs/repl/engine/stream"
	"github.com/claudefs/repl/wire"
)

// A grant is a piece of the answers to a peer's questions for batches. Between two of
// them a link carries what else it has to, and the peer must have taken the first
// before it gets the second: so whatever the path's rate, nothing waits behind more
// than one.
//
//	fetch, fetch … ─▶ OpAnswer …, OpGrant ─▶ Granted ─▶ fetch end "more"
//	                     ▲                                    │
//	                     └──────────── fetch, from there ◀────┘
//
// GrantBytesMin and GrantBytesMax bound one: between them it is what the path takes
// in two round trips.
const (
	GrantBytesMin = 128 << 10
	GrantBytesMax = 4 << 20
)

// GrantIdleMax is how long a grant waits to be taken. Then its questions end, because
// the walk that answers them holds a segment.
const GrantIdleMax = time.Minute

// grants is what a link's other end asks for. paused != 0 only while out.
type grants struct {
	open   []granted // in the order asked
	out    bool      // a grant is under way, or the peer has yet to take one
	window stream.Window
	frame  stream.Frame // the grant that the peer has yet to take
	paused uint64       // the question that ended it; 0 = the shell is at it
}

// granted is an open question.
type granted struct {
	id  uint64
	log wire.LogID
	was []uint64 // about the same log, which it replaced while a grant was under way
}

// named is the open question that the shell knows by an id: the walk may not have met the one yet
// that replaced it.
func (g *grants) named(id uint64) uint64 {
	for i := range g.open {
		if q := &g.open[i]; slices.Contains(q.was, id) {
			return q.id
		}
	}
	return id
}

// Asked takes a question for batches: it is answered from a log that this site holds and
// that is whole (I9).
func (d *Desk) Asked(l *Line, f *wire.Fetch, until wire.Position) {
	why, opens := d.judgeAsked(l, f, until)
	was := l.taken(d.t.Now.Mono, f.Log, opens)
	if opens {
		l.grants.open = append(l.grants.open, granted{f.ID, f.Log, was})
		d.t.E.Ops = append(d.t.E.Ops, step.Op{
			Kind: step.OpAnswer, Link: l.Link, Journal: d.t.JournalOf(f.Log), Fetch: *f, Until: until,
		})
		d.grant(l)
		return
	}
	end := wire.FetchEnd{ID: f.ID}
	if why != nil {
		end.Code, end.Text = why.Code, why.Text
	}
	d.t.E.Send(l.Link, l.Session, &end)
	d.grant(l)
}

// judgeAsked says whether a question opens, or why it cannot be answered; neither: all that
// follows is there.
func (d *Desk) judgeAsked(l *Line, f *wire.Fetch, until wire.Position) (why *step.Stop, opens bool) {
	tail, why := d.heart.Holds(f.Log)
	switch {
	case why != nil:
	case until.Seq != 0 && !d.room(l, f.Log):
		why = d.noRoom()
	case until.Seq != 0: // the walk knows its incarnations
		return nil, true
	case !f.From.Same(tail), f.From.Order(tail) == wire.OrderLevel && f.From.Seq != 0 && f.From.Chain != tail.Chain:
		why = step.Differing(tail, f.From)
	case f.From.Beyond(tail):
		why = step.Stopf(wire.RefuseGap, "site %s has %s up to seq %d, asked from seq %d",
			d.t.C.SiteName, d.t.LogName(f.Log), tail.Seq, f.From.Seq)
	case tail.Beyond(f.From):
		if !d.room(l, f.Log) {
			return d.noRoom(), false
		}
		return nil, true
	}
	return why, false
}

// room says whether another question may be open on a link.
func (d *Desk) room(l *Line, log wire.LogID) bool {
	return len(l.grants.open) < stream.AnswerLogsMax || l.grants.has(log)
}

func (d *Desk) noRoom() *step.Stop {
	return step.Stopf(wire.RefuseInternal, "site %s answers %d questions at a time",
		d.t.C.SiteName, stream.AnswerLogsMax)
}

// has says whether a question about a log is open.
func (g *grants) has(log wire.LogID) bool {
	return slices.ContainsFunc(g.open, func(q granted) bool { return q.log == log })
}

// taken: a question replaces the one that is open for its log. If there is one, or it does
// not open itself, it shows that the peer has what was granted. The first question about a
// log does not: it may have left before the grant came. was: what it replaced, if the walk may
// still know that.
func (l *Line) taken(now time.Duration, log wire.LogID, opens bool) (was []uint64) {
	g := &l.grants
	if i := slices.IndexFunc(g.open, func(q granted) bool { return q.log == log }); i >= 0 && g.out && g.paused == 0 {
		was = append(g.open[i].was, g.open[i].id)
	}
	took := g.paused != 0 && (!opens || g.has(log))
	g.open = slices.DeleteFunc(g.open, func(q granted) bool { return q.log == log || took && q.id == g.paused })
	if took {
		g.window.Acked(now, &g.frame)
		g.paused, g.out = 0, false
	}
	return was
}

// grant has the shell send a piece of what is asked for.
func (d *Desk) grant(l *Line) {
	g := &l.grants
	if l.Closed || g.out || len(g.open) == 0 {
		return
	}
	g.out = true
	g.window.Min, g.window.Max = GrantBytesMin, GrantBytesMax
	g.window.Sent(d.t.Now.Mono, &g.frame, true)
	bytes := g.window.Bytes()
	if d.t.C.Chance(step.PointGrantOfOne) {
		bytes = 1
	}
	d.t.E.Ops = append(d.t.E.Ops, step.Op{
		Kind: step.OpGrant, Link: l.Link, Journal: d.t.JournalOf(g.open[0].log), Bytes: int(bytes),
		Envelope: wire.Envelope{Kind: wire.FrameFetched, Session: l.Session},
	})
}

// Granted tells the peer what is answered. It must take what was sent before more is; a
// walk that met nothing yet goes on.
func (d *Desk) Granted(l *Line, in *step.Granted) {
	if l.Closed || !l.grants.out {
		return
	}
	g := &l.grants
	for i := range in.Ended {
		end := &in.Ended[i]
		g.open = slices.DeleteFunc(g.open, func(q granted) bool { return q.id == end.ID })
		d.t.E.Send(l.Link, l.Session, end)
	}
	if in.Bytes == 0 || in.Open == 0 {
		g.out = false
		d.grant(l)
		return
	}
	g.frame.Bytes, g.paused = int64(in.Bytes), g.named(in.Open)
	d.t.E.Send(l.Link, l.Session, &wire.FetchEnd{ID: g.paused, Text: stream.AnswerMore})
}

// Due is when a grant on the link that nobody takes ends.
func (l *Line) Due() time.Duration {
	if l.grants.paused == 0 {
		return step.Never
	}
	return l.grants.frame.At + GrantIdleMax
}

// TickLine ends the questions of a grant that nobody takes. They may be asked again.
func (d *Desk) TickLine(l *Line) {
	if d.t.Now.Mono < l.Due() {
		return
	}
	for _, q := range l.grants.open {
		d.t.E.Send(l.Link, l.Session, &wire.FetchEnd{ID: q.id, Code: wire.RefuseInternal, Text: fmt.Sprintf(
			"site %s was not asked on for %s", d.t.C.SiteName, GrantIdleMax)})
	}
	l.grants = grants{}
	for j := step.Own; j <= step.Mirror; j++ {
		d.t.E.Ops = append(d.t.E.Ops, step.Op{Kind: step.OpAnswer, Link: l.Link, Journal: j})
	}
}
