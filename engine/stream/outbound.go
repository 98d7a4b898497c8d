package stream

// The session that this site dials: its logs on their way to one peer.
//
//  1. Dial, Hello: a dial, then the hello on the link that came up.
//  2. Welcomed, Page: the peer's answer, and where its copies of our logs end.
//  3. Resume compares each log with those positions (compare.go); Seek has the reader of
//     our journal placed before what the peer is missing; Sought goes live.
//  4. ship.go reads, ships and takes acks; the pages of a live session are compared too.
//  5. Ended gives up what was under way, and the next session sends it again. Redial
//     plans the next dial.

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/claudefs/repl/engine/event"
	"github.com/claudefs/repl/engine/internal/plant"
	"github.com/claudefs/repl/engine/lag"
	"github.com/claudefs/repl/engine/role"
	"github.com/claudefs/repl/engine/step"
	"github.com/claudefs/repl/wire"
)

// Phase is how far a session that we dial has come.
type Phase uint8

const (
	PhaseDown Phase = iota
	PhaseDialing
	PhaseHello  // link up, hello sent
	PhaseResume // welcomed, pages are coming
	PhaseSeek   // all pages are in, the reader is being placed
	PhaseLive
)

func (p Phase) String() string {
	switch p {
	case PhaseDialing:
		return "connecting"
	case PhaseHello, PhaseResume:
		return "hello"
	case PhaseSeek:
		return "catching up"
	case PhaseLive:
		return "live"
	}
	return "down"
}

// SentLog is an own log at a peer.
type SentLog struct {
	Durable wire.Position // confirmed
	Answer  wire.Position // as the resume pages of this session said
	Applied wire.Position // in its Store; without a chain where that is not known
	Stop    *step.Stop    // why it is out of the session; nil = it is not
	// appliedBefore is Applied of the sessions before, until this one's answer is in.
	appliedBefore wire.Position
	dirty         bool // Durable is not in the control state; the log is listed in changed
}

// Outbound is our logs towards one peer: the source's side of the session that we dial. Of
// a peer that is not configured it only knows what it once confirmed.
type Outbound struct {
	*role.Peer
	Sender *Sender    // nil: the peer is not configured
	Logs   []SentLog  // by shard
	Beats  Heartbeats // of the session
	Dialing
	reading
	sent

	own              *OwnLogs
	durable, applied *lag.Meter
	changed          []wire.Shard    // with dirty cursors
	unready          []wire.Shard    // whose START it cannot take yet, see opens.go
	stops            []wire.Shard    // logs with a Stop
	seekHeld         bool            // the session waits for its registration to be written
	goals            []wire.Position // by shard: what a learner has to hold, see learner.go; nil = not yet known
}

// Dialing is how the session comes up.
//
//	Link != 0 exactly while Phase >= PhaseHello
type Dialing struct {
	Phase   Phase
	Link    step.LinkID
	Session uint32
	Refused bool   // the peer refused the last one
	Removed string // the peer knows this site no more: what it said; "" = it does
	Reason  string // why it is down; "" else
	Term    wire.Term
	counter uint32
	dialAt  time.Duration
	dials   int // in a row without a session
}

// sent is what the peer was sent and said, since open.
type sent struct {
	Sessions uint64 // answered
	frames   uint64
	bytes    int64
	entries  int64 // in those bytes
	acks     lag.Acks
	pace     lag.Pace
	rtt      time.Duration
	proven   time.Duration // when the newest answered heartbeat left, if answered
	fresh    bool          // proven is of this session
}

// Add takes a peer.
func (w *OwnLogs) Add(p *role.Peer) *Outbound {
	o := &Outbound{Peer: p, own: w, Logs: make([]SentLog, w.t.C.Shards)}
	o.Beats.of = o
	at, _ := slices.BinarySearchFunc(w.Peers, p.Site,
		func(q *Outbound, s wire.SiteID) int { return cmp.Compare(q.Site, s) })
	w.Peers = slices.Insert(w.Peers, at, o)
	return o
}

// Remove gives a peer up whose session has ended: nothing that it confirmed counts any more.
func (w *OwnLogs) Remove(o *Outbound) {
	for i := range o.Logs {
		if l := &o.Logs[i]; l.Durable.Seq|l.Applied.Seq|l.appliedBefore.Seq != 0 {
			lost := step.Progress{Peer: o.Site, Log: w.t.LogID(wire.Shard(i)), Lost: true}
			w.t.E.Progress = append(w.t.E.Progress, lost)
		}
	}
	w.Peers = slices.DeleteFunc(w.Peers, func(p *Outbound) bool { return p == o })
}

// Configure makes a peer one that is dialed. counter is where its sessions begin.
func (o *Outbound) Configure(counter uint32) {
	c := &o.own.t.C
	o.Sender = NewSender(c.Shards, c.WindowBytesMin, c.WindowBytesMax)
	o.durable, o.applied = lag.NewMeter(c.Shards), lag.NewMeter(c.Shards)
	o.Term, o.counter = o.own.t.Term, counter
}

// Boot takes what the control state has of a peer: its cursors, and how many bytes of the
// own journal lie behind them, if measured.
func (o *Outbound) Boot(r *wire.RegisteredPeer, backlog int64, measured bool) {
	o.backlog, o.measured = backlog, measured
	for _, c := range r.Cursors {
		if o.own.holds(c.Log) {
			o.Logs[c.Log.Shard].Durable = c.Position
			o.own.gate.Logs[c.Log.Shard].Needs(c.Position, "site "+r.Name)
		}
	}
}

// BootMeters follows Boot of all peers and logs.
func (o *Outbound) BootMeters() {
	for i := range o.Logs {
		if s := wire.Shard(i); o.Configured {
			l := &o.own.gate.Logs[s]
			at, tail := o.own.count(s, o.Logs[s].Durable), o.own.count(s, l.Tail)
			o.durable.Set(s, tail, at, at, l.LastStamp)
			o.applied.Set(s, tail, 0, at, l.LastStamp)
		}
	}
}

// MayDial says that the peer is to be dialed, now or later.
func (o *Outbound) MayDial() bool {
	return o.Configured && o.Phase == PhaseDown && o.own.t.Down[step.Own] == nil
}

// Due is when the next dial is.
func (o *Outbound) Due() time.Duration {
	if !o.MayDial() {
		return step.Never
	}
	return o.dialAt
}

// Tick dials, if that is due.
func (o *Outbound) Tick() {
	if t := o.own.t; t.Now.Mono >= o.Due() {
		o.Phase = PhaseDialing
		t.E.Ops = append(t.E.Ops, step.Op{Kind: step.OpDial, Peer: o.Site})
	}
}

// Hello opens the session on the link that came up.
func (o *Outbound) Hello(link step.LinkID) {
	w := o.own
	if o.counter++; o.counter == 0 { // 0 is a hello's, and the peer may have seen the highest
		if o.Term++; o.Term > TermTop {
			o.Term = w.t.Term
		}
		o.counter = 1
	}
	o.Phase, o.Reason, o.Refused = PhaseHello, "", false
	o.Link, o.Session = link, o.counter
	o.Beats = Heartbeats{of: o}
	w.hello = OurHello(&w.t.C, w.role.Writers)
	w.hello.Peer, w.hello.PeerName, w.hello.Term, w.hello.Counter = o.Site, o.Name, o.Term, o.counter
	w.t.E.Send(link, 0, &w.hello) // a hello's session is 0
}

// Welcomed takes the peer's welcome; its positions follow.
func (o *Outbound) Welcomed(m *wire.Welcome) error {
	if m.Version != wire.Version {
		return fmt.Errorf("welcome in version %d, version %d was offered: %w",
			m.Version, wire.Version, wire.ErrProtocol)
	}
	if m.Site != o.Site || m.SiteName != o.Name {
		return fmt.Errorf("site %q (%08x) answers where site %q (%08x) was dialed, check the address: %w",
			m.SiteName, m.Site, o.Name, o.Site, wire.ErrProtocol)
	}
	o.Phase, o.Refused = PhaseResume, false
	o.seekHeld = false
	o.TakenIn()
	return nil
}

// TakenIn: the peer knows this site, and did not before if it said so.
func (o *Outbound) TakenIn() {
	if o.Removed != "" {
		o.Removed, o.dialAt, o.dials = "", o.own.t.Now.Mono, 0
	}
}

// Begin begins the session that was welcomed.
func (o *Outbound) Begin() {
	o.Sender.Reset()
	o.readStamp, o.reader, o.readErrs = 0, readerStopped, 0
	o.again, o.unready = false, o.unready[:0]
	o.fresh, o.goals = false, nil
	for s := range o.Logs {
		l := &o.Logs[s] // it may have lost what it said before
		if !o.own.t.Covers(o.own.t.LogID(wire.Shard(s)), l.appliedBefore, l.Applied) {
			l.appliedBefore = l.Applied
		}
		l.Answer, l.Applied = wire.Position{}, wire.Position{}
	}
	o.Beats.send()
}

// Surpassed takes the highest session that the peer has seen under our name: the next one
// comes after it.
func (o *Outbound) Surpassed(m *wire.Refusal) {
	if m.Term > TermTop || Newer(o.Term, o.counter, m.Term, m.Counter) {
		return
	}
	if t := o.own.t; m.Term > t.Term {
		t.Tell(&event.SessionSurpassed{
			Place: event.Place{Peer: o.Site}, Seen: event.Session{Term: m.Term, Counter: m.Counter}, Own: t.Term,
		})
	}
	o.Term, o.counter = m.Term, m.Counter
}

// Page takes a page of the peer's positions, and passes those of other sites' logs on.
// complete: the whole answer to the hello is in.
func (o *Outbound) Page(page *wire.CursorPage, others func(*wire.PageEntry)) (complete bool, err error) {
	resume := page.Flags&wire.PageResume != 0
	if resume != (o.Phase == PhaseResume) {
		return false, fmt.Errorf("cursor page with flags %02x in phase %s: %w", page.Flags, o.Phase, wire.ErrProtocol)
	}
	for i := range page.Entries {
		row := &page.Entries[i]
		if uint32(row.Log.Shard) >= o.own.t.C.Shards {
			return false, fmt.Errorf("cursor page names shard %d of %d: %w",
				row.Log.Shard, o.own.t.C.Shards, wire.ErrProtocol)
		}
		switch {
		case row.Log.Site != o.own.t.C.Site:
			others(row)
		case resume:
			o.answered(row)
		default:
			if err := o.compareRow(row); err != nil {
				return false, err
			}
		}
	}
	return page.Flags&wire.PageLast != 0, nil
}

// answered takes a position of the answer to a hello.
func (o *Outbound) answered(row *wire.PageEntry) {
	l := &o.Logs[row.Log.Shard]
	l.Answer, l.Applied = row.Durable, row.AppliedAt()
	if sent := o.Sender.Sent(row.Log.Shard); plant.ResumeFromSent && sent.Beyond(l.Answer) {
		l.Answer = sent
	}
}

// Resume has the peer's whole answer and compares every log. Only now the last session's
// stops go: until then what they contradicted is not known (I14).
func (o *Outbound) Resume() {
	w := o.own
	o.Phase, o.Answered, o.measured = PhaseSeek, true, false
	w.role.Agreed()
	for _, s := range o.stops {
		o.Logs[s].Stop = nil
	}
	o.stops = o.stops[:0]
	o.Sessions++
	w.t.Tell(&event.LinkUp{
		Place: event.Place{Peer: o.Site}, Session: event.Session{Term: o.Term, Counter: o.Session}, Dialed: true,
	})
	for i := range o.Logs {
		s, proven := wire.Shard(i), true
		own, l := &w.gate.Logs[s], &o.Logs[s]
		if own.Tail.Seq != 0 || l.Answer.Seq != 0 || l.Durable.Seq != 0 || own.Waits() {
			proven = o.resumeLog(s)
		}
		o.Sender.Begin(s, l.Answer, own.Tail, proven)
		if l.Stop != nil {
			o.Sender.Out(s)
		}
	}
}

// Seek has the reader placed before everything that the peer is missing.
func (o *Outbound) Seek() {
	if !o.Registered {
		o.seekHeld = true // nothing is sent that a crash would let be forgotten
		return
	}
	o.seek(func(s wire.Shard) wire.Position { return o.Logs[s].Answer })
}

// seek has the reader placed before everything that lies beyond what the peer has or will have.
func (o *Outbound) seek(has func(wire.Shard) wire.Position) {
	t := o.own.t
	var have []wire.Cursor
	for i := range o.Logs {
		s := wire.Shard(i)
		at := o.begins(s, has(s))
		if o.Logs[s].Stop != nil {
			at = o.own.gate.Logs[s].Tail // needs nothing
		}
		if at.Seq != 0 {
			have = append(have, wire.Cursor{Log: t.LogID(s), Position: at})
		}
	}
	t.E.Ops = append(t.E.Ops, step.Op{Kind: step.OpSeek, Link: o.Link, Have: have})
}

// Written: the peer's registration is in the control state. A session that waited for it
// goes on.
func (o *Outbound) Written() {
	o.Registered = true
	if o.seekHeld {
		o.seekHeld = false
		o.Seek()
	}
}

// Sought goes live, or takes out the logs that are no longer kept and tries again.
func (o *Outbound) Sought(in *step.Sought) {
	if o.Phase != PhaseSeek && !(o.Phase == PhaseLive && o.reader == readerSeeks) {
		return
	}
	if in.Err != nil {
		out := 0
		for _, log := range in.NotRetained {
			if o.own.holds(log) && o.Logs[log.Shard].Stop == nil {
				out++
				o.TakeOut(log.Shard, step.Stopf(wire.RefuseNotRetained,
					"the peer has it up to seq %d, what follows is no longer kept: bootstrap needed (%v)",
					o.Logs[log.Shard].Answer.Seq, in.Err))
			}
		}
		if out == 0 {
			o.own.heart.Refuse(o.Link, wire.RefuseInternal, o.own.unreadable(in.Err))
			return
		}
		if o.Phase == PhaseLive {
			o.seekAgain()
		} else {
			o.Seek()
		}
		return
	}
	o.Phase, o.reader = PhaseLive, readerStopped
	for i := range in.Tails {
		c := &in.Tails[i]
		if !o.own.holds(c.Log) {
			continue
		}
		s := c.Log.Shard
		unproven := o.Sender.Unproven(s)
		if sent := o.Sender.Sent(s); o.own.older(s, sent) || !c.Position.Same(sent) &&
			o.own.t.Covers(c.Log, sent, c.Position) {
			continue // a START follows: one to ship, or one that the peer has
		}
		if why := o.Sender.Head(s, c.Position); why != nil {
			o.outOfSession(s, why)
		} else if unproven && !o.Sender.Unproven(s) {
			o.proved(s)
		}
	}
	o.read()
}

func (w *OwnLogs) unreadable(err error) string {
	return fmt.Sprintf("own journal of site %s cannot be read: %v", w.t.C.SiteName, err)
}

// Ended ends the session: its link is gone.
func (o *Outbound) Ended(reason string) {
	if o.Phase >= PhaseResume {
		o.own.t.Tell(&event.LinkDown{Place: event.Place{Peer: o.Site}, Dialed: true, Reason: reason})
	}
	o.Link, o.rtt, o.seekHeld = 0, 0, false
	o.backlog += o.Sender.Drop() // to be sent again
}

// removedPauses is how many times longer a site waits that its peer has removed: only an operator
// ends that, and then the peer dials.
const removedPauses = 16

// Redial plans the next dial: jittered, twice as long after every failure.
func (o *Outbound) Redial(reason string) {
	t := o.own.t
	wait := t.C.RedialMax
	if o.dials < 16 {
		wait = min(wait, t.C.RedialMin<<o.dials)
	}
	o.dials++
	wait = wait/2 + time.Duration(o.own.rng.Int64N(int64(wait/2)+1))
	if o.Removed != "" {
		wait *= removedPauses
	}
	o.Phase, o.dialAt, o.Reason = PhaseDown, t.Now.Mono+wait, reason
}
