package admission

import (
	"errors"
	"fmt"
	"time"

	"github.com/claudefs/repl/engine/event"
	"github.com/claudefs/repl/engine/internal/plant"
	"github.com/claudefs/repl/engine/role"
	"github.com/claudefs/repl/engine/step"
	"github.com/claudefs/repl/wire"
)

// Gate is the admission of all logs of this site.
type Gate struct {
	Logs []Log // by shard
	// Whole are logs that are whole again: whoever was left without them may be served.
	// Its reader empties it.
	Whole []wire.Shard

	t       *step.Turn
	role    *role.Role
	ends    Ends
	count   [step.AdmitStandby + 1]int // of logs, by state
	waited  bool                       // VerifyWait has passed, or nobody is waited for
	startAt time.Duration
}

// Ends knows where the logs of a shard end that were written before the epoch held.
type Ends interface {
	// Ready: what other sites have of those logs is here, and the Store stands at each end.
	Ready(s wire.Shard) bool
	// Opening is how the shard's log begins in the epoch held; nil = as a new one.
	Opening(s wire.Shard) *step.Open
}

// New returns the gate of a site that has just opened its journals: every log waits.
func New(t *step.Turn, r *role.Role, ends Ends) *Gate {
	g := &Gate{Logs: make([]Log, t.C.Shards), t: t, role: r, ends: ends}
	g.count[step.AdmitWaiting] = len(g.Logs)
	for s := range g.Logs {
		g.Logs[s].ID, g.Logs[s].t = t.LogID(wire.Shard(s)), t
	}
	return g
}

// Count is how many logs are in a state.
func (g *Gate) Count(a step.Admission) int { return g.count[a] }

// Waited says that VerifyWait has passed, or nobody is waited for.
func (g *Gate) Waited() bool { return g.waited }

// Due is when the gate wants to be woken.
func (g *Gate) Due() time.Duration {
	if g.waited || !g.role.Settled() {
		return step.Never
	}
	return g.startAt + g.t.C.VerifyWait
}

// Tick lets what is due happen.
func (g *Gate) Tick() {
	if g.t.Now.Mono >= g.Due() {
		g.over()
	}
}

// Check says which inequality does not hold, of every log and of the counts.
func (g *Gate) Check() error {
	var count [len(g.count)]int
	for s := range g.Logs {
		l := &g.Logs[s]
		count[l.State]++
		if err := l.check(); err != nil {
			return fmt.Errorf("admission of %s: %w", g.t.OwnName(wire.Shard(s)), err)
		}
		if l.Open() && !g.role.Own() {
			return fmt.Errorf("admission of %s: open, and site %08x writes", g.t.OwnName(wire.Shard(s)), g.role.Primary)
		}
	}
	if count != g.count {
		return fmt.Errorf("admission: %v logs by state, counted %v", count, g.count)
	}
	return nil
}

// Reopen: a peer that had contradicted agrees. What was refused for it is waiting again.
func (g *Gate) Reopen() {
	for s := range g.Logs {
		if l := &g.Logs[s]; !l.Stopped && !l.Suspect {
			g.admit(wire.Shard(s), step.AdmitWaiting, nil)
		}
	}
}

// Ahead: who has entries of a log that are not here. Before anything was appended they are
// to be fetched, if nobody is giving them back already; afterwards two histories exist.
func (g *Gate) Ahead(s wire.Shard, at wire.Position, who string) (ask bool, why *step.Stop) {
	l := &g.Logs[s]
	switch {
	case l.Stopped:
		return false, &step.Stop{Code: wire.RefuseChain, Text: "the log is stopped here"}
	case l.Open():
		return false, step.Stopf(wire.RefuseChain,
			"acknowledged data was lost: the peer has seq %d, chain %s, the journal ended at seq %d, chain %s, "+
				"when appends were admitted", at.Seq, at.Chain, l.Tail.Seq, l.Tail.Chain)
	}
	l.Needs(at, "site "+who)
	ask, l.Fetching = !l.Fetching, true
	return ask, nil
}

// end is where a log ends for its writer.
func (g *Gate) end(s wire.Shard) step.Log {
	if o := &g.Logs[s]; o.opened && !g.current(s) { // the writer has begun an incarnation already
		return step.Log{ID: o.ID}
	}
	return g.Logs[s].Log
}

// current says that the log's last incarnation is of the epoch held: appends continue it.
func (g *Gate) current(s wire.Shard) bool { return max(g.Logs[s].Epoch, role.First) == g.role.Epoch }

// Ready tries again to open a log whose shard was not ready.
func (g *Gate) Ready(s wire.Shard) {
	o := &g.Logs[s]
	if o.grant != step.AdmitWaiting && o.State == step.AdmitWaiting && !o.Stopped && !o.Suspect && !o.Short() {
		g.settle(s, o.grant)
	}
}

// Unready lists the logs that would be open if their shards were ready.
func (g *Gate) Unready() (shards []wire.Shard) {
	for s := range g.Logs {
		if o := &g.Logs[s]; o.grant != step.AdmitWaiting && o.State == step.AdmitWaiting {
			shards = append(shards, wire.Shard(s))
		}
	}
	return shards
}

// Start decides what can be decided without anybody's word.
func (g *Gate) Start() {
	g.startAt = g.t.Now.Mono
	g.waited = !g.role.Own()
	switch {
	case g.role.Alone():
		g.Alone()
		return
	case g.role.Left():
		g.Withhold()
		return
	}
	for i := range g.Logs {
		s, o := wire.Shard(i), &g.Logs[i]
		switch {
		case !g.role.Own():
			g.admit(s, step.AdmitStandby, nil)
		case o.Suspect:
			g.admit(s, step.AdmitRefused, g.suspectError(s))
		case plant.AppendUnproven:
			g.admit(s, step.AdmitVerified, nil)
		}
	}
}

// Alone decides about every log of a site without peers, at its start or as the last one is
// forgotten: nobody's word is waited for.
func (g *Gate) Alone() {
	g.waited = true
	g.role.Found()
	for i := range g.Logs {
		s, o := wire.Shard(i), &g.Logs[i]
		if errors.Is(o.Err, step.ErrDataLost) {
			g.t.UnnoteStopped(g.t.LogID(s), o.Err.Error())
		}
		o.Fetching = false
		switch {
		case !g.role.Own():
			g.admit(s, step.AdmitStandby, nil)
		case o.Stopped:
		case g.t.C.PrimaryNamed && !o.differs() && (o.Suspect || o.Short()):
			g.alone(s)
		case o.Suspect:
			g.admit(s, step.AdmitRefused, g.suspectError(s))
		case o.Short():
			g.t.NoteStopped(g.t.LogID(s), wire.RefuseInternal, g.lostError(s).Error())
			g.admit(s, step.AdmitRefused, g.lostError(s))
		default:
			g.settle(s, step.AdmitVerified)
		}
	}
}

// Unneed takes back what a peer that is forgotten was known to have: needs tells what the
// Store and the others have.
func (g *Gate) Unneed(s wire.Shard, needs func(*Log)) {
	o := &g.Logs[s]
	o.needs = nil
	needs(o)
	if !errors.Is(o.Err, step.ErrDataLost) {
		return
	}
	g.t.UnnoteStopped(g.t.LogID(s), o.Err.Error())
	g.admit(s, step.AdmitWaiting, nil)
	if g.waited {
		g.StopWaiting(s)
	}
}

func (g *Gate) suspectError(s wire.Shard) error {
	next := "a peer must prove or give back what follows"
	if g.role.Alone() {
		next = fmt.Sprintf("start with the peers that may have what follows, or name site %s as the primary "+
			"to go on behind that", g.t.C.SiteName)
	}
	return fmt.Errorf("%s: ends at seq %d as far as it can be read, %s: %w",
		g.t.OwnName(s), g.Logs[s].Tail.Seq, next, step.ErrSuspect)
}

// alone has a log go on behind what the Store and the journal show, where there is no peer
// that could give back what is lost, and an operator has named this site as the writer.
func (g *Gate) alone(s wire.Shard) {
	if g.Logs[s].Suspect {
		g.End(s)
	}
	if g.Logs[s].Short() {
		g.adopt(s)
	}
	g.settle(s, step.AdmitVerified)
}

func (g *Gate) adopt(s wire.Shard) {
	o := &g.Logs[s]
	at, _ := o.Need()
	g.t.Tell(&event.LostBeforeStore{
		Place: event.Place{Log: g.t.LogID(s)}, Tail: o.Tail, Store: at, ByOperator: true,
	})
	o.Tail = at
	g.t.E.Adopts = append(g.t.E.Adopts, g.end(s))
}

// End has a suspect log end where it can be read: nobody has more of it. It is not verified by
// that: who calls begins the sessions again, which compare with every peer.
func (g *Gate) End(s wire.Shard) {
	o := &g.Logs[s]
	g.t.Tell(&event.LostInDamage{Place: event.Place{Log: g.t.LogID(s)}, Tail: o.Tail})
	g.Clear(s)
	if o.State != step.AdmitRefused {
		return
	}
	g.admit(s, step.AdmitWaiting, nil)
	if g.waited { // refused still, if a peer once confirmed more, and lost it as well
		g.StopWaiting(s)
	}
}

// GoOn has a log go on behind a position that the Store has durably, and no site keeps what
// leads there. It admits nothing: who calls begins the sessions again, which compare with
// every peer, and fetch what lies beyond.
func (g *Gate) GoOn(s wire.Shard, at wire.Position) {
	o := &g.Logs[s]
	g.Clear(s)
	g.t.Tell(&event.LostBeforeStore{Place: event.Place{Log: g.t.LogID(s)}, Tail: o.Tail, Store: at})
	o.Tail, o.Agreed = at, true
	g.t.E.Adopts = append(g.t.E.Adopts, g.end(s))
	if o.State == step.AdmitRefused && !o.Short() {
		g.t.UnnoteStopped(g.t.LogID(s), o.Err.Error())
		g.admit(s, step.AdmitWaiting, nil)
	}
	g.Whole = append(g.Whole, s)
}

func (g *Gate) lostError(s wire.Shard) error {
	o := &g.Logs[s]
	at, who := o.Need()
	if g.role.Alone() {
		return fmt.Errorf("%s: the journal ends at seq %d, %s has seq %d: restore the journal, or start with the "+
			"peers that have it, or name site %s as the primary to go on behind the Store: %w", g.t.OwnName(s),
			o.Tail.Seq, who, at.Seq, g.t.C.SiteName, step.ErrDataLost)
	}
	return fmt.Errorf("%s: the journal ends at seq %d, chain %s, %s has seq %d, chain %s: "+
		"restore the journal, start a site that has them, or copy the Store of one that has: %w", g.t.OwnName(s),
		o.Tail.Seq, o.Tail.Chain, who, at.Seq, at.Chain, step.ErrDataLost)
}

// admit changes a shard's admission and tells.
func (g *Gate) admit(s wire.Shard, a step.Admission, err error) {
	o := &g.Logs[s]
	if o.State == a && (o.Err == nil) == (err == nil) {
		o.Err = err
		return
	}
	g.count[o.State]--
	g.count[a]++
	o.State, o.Err = a, err
	admit := step.Admit{Shard: s, Admission: a, Err: err, Tail: g.end(s)}
	if o.Open() && !o.opened && !g.current(s) {
		admit.Open, o.opened = g.ends.Opening(s), true
	}
	g.t.E.Admits = append(g.t.E.Admits, admit)
}

// Proven: a peer ends exactly where we end.
func (g *Gate) Proven(s wire.Shard) {
	g.Clear(s)
	g.Covered(s)
}

// Clear: a peer's copy proves the tail of an own log.
func (g *Gate) Clear(s wire.Shard) {
	if o := &g.Logs[s]; o.Suspect {
		o.Suspect = false
		g.Whole = append(g.Whole, s)
		g.t.E.Clears = append(g.t.E.Clears, step.Clear{Journal: step.Own, Log: g.t.LogID(s)})
	}
}

// Covered: a peer's position lies in our history, so what it has we have. Another
// one may have more: each that is configured is heard first, or VerifyWait passes.
func (g *Gate) Covered(s wire.Shard) {
	o := &g.Logs[s]
	if o.Stopped || o.Suspect || !g.role.Own() || g.t.Down[step.Own] != nil {
		return
	}
	if o.Short() {
		return // whoever gives it back is yet to come
	}
	o.Agreed = true
	switch {
	case g.role.Contradicted():
	case g.role.AllAnswered():
		g.settle(s, step.AdmitVerified)
	case g.waited:
		g.settle(s, step.AdmitUnverified)
	case o.State == step.AdmitRefused: // for damage that is proven to have taken nothing of what a peer has
		g.admit(s, step.AdmitWaiting, nil)
	}
}

// settle admits a log; what it was listed for as stopped is over.
func (g *Gate) settle(s wire.Shard, a step.Admission) {
	o := &g.Logs[s]
	if o.State == step.AdmitVerified {
		return
	}
	if o.grant = step.AdmitWaiting; !o.opened && !g.current(s) {
		if !g.ends.Ready(s) {
			o.grant = a
			return
		}
	}
	if o.Err != nil {
		g.t.UnnoteStopped(g.t.LogID(s), o.Err.Error())
	}
	g.admit(s, a, nil)
}

// AllHeard admits what the peers before it had agreed to, once the last one has
// told its positions. What was admitted before that is verified now.
func (g *Gate) AllHeard() {
	if !g.role.Own() || g.t.Down[step.Own] != nil || !g.role.AllAnswered() {
		return
	}
	for i := range g.Logs {
		o := &g.Logs[i]
		if o.Agreed && o.Waits() && !o.Stopped && !o.Suspect && !o.Short() {
			g.settle(wire.Shard(i), step.AdmitVerified)
		}
	}
}

// Stop stops an own log for good; nothing is overwritten.
func (g *Gate) Stop(s wire.Shard, code wire.RefusalCode, reason string) {
	o := &g.Logs[s]
	o.Stopped = true
	err := fmt.Errorf("%s: %w: %s", g.t.OwnName(s), step.ErrDiverged, reason)
	g.t.NoteStopped(g.t.LogID(s), code, reason)
	if g.role.Own() {
		g.admit(s, step.AdmitRefused, err)
	}
}

// over admits what nobody spoke for.
func (g *Gate) over() {
	g.waited = true
	g.role.Found() // an operator named the writer, or it was on record
	unverified := 0
	for i := range g.Logs {
		if g.Logs[i].State == step.AdmitWaiting && !g.Logs[i].Fetching {
			g.StopWaiting(wire.Shard(i))
		}
		if g.Logs[i].State == step.AdmitUnverified {
			unverified++
		}
	}
	if unverified > 0 {
		g.t.Tell(&event.Unverified{
			Site: g.t.C.Site, Logs: unverified, Shards: len(g.Logs), Waited: g.t.C.VerifyWait,
			Unheard: g.role.Unheard(),
		})
	}
}

// StopWaiting decides about a log as VerifyWait is over.
func (g *Gate) StopWaiting(s wire.Shard) {
	o := &g.Logs[s]
	switch {
	case o.Short():
		g.t.NoteStopped(g.t.LogID(s), wire.RefuseInternal, g.lostError(s).Error())
		g.admit(s, step.AdmitRefused, g.lostError(s))
	case o.Agreed && g.role.AllAnswered():
		g.settle(s, step.AdmitVerified)
	default:
		g.settle(s, step.AdmitUnverified)
	}
}

// RefuseAll ends all admissions: the own journal is gone.
func (g *Gate) RefuseAll(err error) {
	for i := range g.Logs {
		o := &g.Logs[i]
		o.Stopped = true
		if g.role.Own() {
			g.admit(wire.Shard(i), step.AdmitRefused, err)
		}
	}
}

// Withhold refuses all logs: it is not settled that this site writes.
func (g *Gate) Withhold() {
	if plant.FreshWriter {
		return
	}
	err := fmt.Errorf("%w: %s", step.ErrWithheld, g.role.Withheld())
	for s := range g.Logs {
		g.admit(wire.Shard(s), step.AdmitRefused, err)
	}
}
