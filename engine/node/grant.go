package node

import (
	"fmt"
	"slices"
	"time"

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
// grantBytesMin and grantBytesMax bound one: between them it is what the path takes
// in two round trips.
const (
	grantBytesMin = 128 << 10
	grantBytesMax = 4 << 20
)

// grantIdleMax is how long a grant waits to be taken. Then its questions end, because
// the walk that answers them holds a segment.
const grantIdleMax = time.Minute

// grants is what a link's other end asks for.
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
}

// fetchAsked takes a question for batches: it is answered from a log that we hold and
// that is whole (I9).
func (n *Node) fetchAsked(l *link) error {
	f := n.msg.fetch
	n.taken(l, f.Log)
	tail, why := n.holds(f.Log)
	switch {
	case why != nil:
	case f.From.Seq > tail.Seq:
		why = &stream.Stop{Code: wire.RefuseGap, Text: fmt.Sprintf(
			"site %s has %s up to seq %d, asked from seq %d", n.t.C.SiteName, n.t.LogName(f.Log), tail.Seq, f.From.Seq)}
	case f.From.Seq != 0 && f.From.Incarnation != tail.Incarnation,
		f.From.Seq == tail.Seq && f.From.Seq != 0 && f.From.Chain != tail.Chain:
		why = differ(tail, f.From)
	case f.From.Seq < tail.Seq:
		if len(l.grants.open) == stream.AnswerLogsMax {
			why = &stream.Stop{Code: wire.RefuseInternal, Text: fmt.Sprintf(
				"site %s answers %d questions at a time", n.t.C.SiteName, stream.AnswerLogsMax)}
			break
		}
		l.grants.open = append(l.grants.open, granted{f.ID, f.Log})
		n.t.E.Ops = append(n.t.E.Ops, Op{Kind: OpAnswer, Link: l.id, Journal: n.t.JournalOf(f.Log), Fetch: f})
		n.grant(l)
		return nil
	}
	n.msg.fetchEnd = wire.FetchEnd{ID: f.ID}
	if why != nil {
		n.msg.fetchEnd.Code, n.msg.fetchEnd.Text = why.Code, why.Text
	}
	n.send(l, &n.msg.fetchEnd)
	n.grant(l)
	return nil
}

// taken: a question shows that the peer has what was granted, and replaces the one that
// is open for its log.
func (n *Node) taken(l *link, log wire.LogID) {
	g := &l.grants
	g.open = slices.DeleteFunc(g.open, func(q granted) bool { return q.log == log || q.id == g.paused })
	if g.paused != 0 {
		g.window.Acked(n.t.Now.Mono, &g.frame)
		g.paused, g.out = 0, false
	}
}

func (n *Node) journalOf(log wire.LogID) Journal {
	if log.Site == n.t.C.Site {
		return Own
	}
	return Mirror
}

// grant has the shell send a piece of what is asked for.
func (n *Node) grant(l *link) {
	g := &l.grants
	if l.closing || g.out || len(g.open) == 0 {
		return
	}
	g.out = true
	g.window.Min, g.window.Max = grantBytesMin, grantBytesMax
	g.window.Sent(n.t.Now.Mono, &g.frame, true)
	bytes := g.window.Bytes()
	if n.t.C.Chance(PointGrantOfOne) {
		bytes = 1
	}
	n.t.E.Ops = append(n.t.E.Ops, Op{
		Kind: OpGrant, Link: l.id, Journal: n.t.JournalOf(g.open[0].log), Bytes: int(bytes),
		Envelope: wire.Envelope{Kind: wire.FrameFetched, Session: l.session},
	})
}

// granted tells the peer what is answered. It must take what was sent before more is;
// a walk that met nothing yet goes on.
func (n *Node) granted(in *Granted) {
	l := n.links[in.Link]
	if l == nil || l.closing || !l.grants.out {
		return
	}
	g := &l.grants
	for i := range in.Ended {
		g.open = slices.DeleteFunc(g.open, func(q granted) bool { return q.id == in.Ended[i].ID })
		n.msg.fetchEnd = in.Ended[i]
		n.send(l, &n.msg.fetchEnd)
	}
	if in.Bytes == 0 || in.Open == 0 {
		g.out = false
		n.grant(l)
		return
	}
	g.frame.Bytes, g.paused = int64(in.Bytes), in.Open
	n.msg.fetchEnd = wire.FetchEnd{ID: in.Open, Text: stream.AnswerMore}
	n.send(l, &n.msg.fetchEnd)
}

// grantDue is when a grant that nobody takes ends; not ok: none waits.
func (l *link) grantDue() (at time.Duration, ok bool) {
	return l.grants.frame.At + grantIdleMax, l.grants.paused != 0
}

// grantOver ends the questions of a grant that nobody takes. They may be asked anew.
func (n *Node) grantOver(l *link) {
	at, waits := l.grantDue()
	if !waits || n.t.Now.Mono < at {
		return
	}
	for _, q := range l.grants.open {
		n.msg.fetchEnd = wire.FetchEnd{ID: q.id, Code: wire.RefuseInternal, Text: fmt.Sprintf(
			"site %s was not asked on for %s", n.t.C.SiteName, grantIdleMax)}
		n.send(l, &n.msg.fetchEnd)
	}
	l.grants = grants{}
	for j := Own; j <= Mirror; j++ {
		n.t.E.Ops = append(n.t.E.Ops, Op{Kind: OpAnswer, Link: l.id, Journal: j})
	}
}
