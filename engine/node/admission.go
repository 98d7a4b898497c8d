package node

import (
	"fmt"

	"github.com/claudefs/repl/engine/internal/plant"
	"github.com/claudefs/repl/engine/stream"
	"github.com/claudefs/repl/wire"
)

func refusalStop(r *wire.BatchRefusal) *stream.Stop { return &stream.Stop{Code: r.Code, Text: r.Text} }

// startAdmission decides what can be decided without anybody's word.
func (n *Node) startAdmission() {
	n.waited = !n.role.Own() || len(n.peers) == 0
	if len(n.peers) == 0 {
		n.role.Found()
	}
	if n.role.Left() {
		n.withholdAll()
		return
	}
	for i := range n.own {
		s, o := wire.Shard(i), &n.own[i]
		switch {
		case !n.role.Own():
			n.admit(s, AdmitStandby, nil)
		case o.suspect:
			n.admit(s, AdmitRefused, n.suspectError(s))
		case len(n.peers) == 0 && o.short() && n.t.C.PrimaryNamed:
			n.adopt(s)
		case len(n.peers) == 0 && o.short():
			n.t.NoteStopped(n.t.LogID(s), wire.RefuseInternal, n.lostError(s).Error())
			n.admit(s, AdmitRefused, n.lostError(s))
		case len(n.peers) == 0 || plant.AppendUnproven:
			n.admit(s, AdmitVerified, nil)
		}
	}
}

// short says that the journal lacks what was acknowledged: the Store has
// applied it, or a peer once confirmed it.
func (o *ownLog) short() bool {
	r := stream.Relate(o.tail, o.need)
	return r == stream.Ahead || r == stream.Differ
}

// needs raises what the journal must hold before anything is appended.
func (o *ownLog) needs(at wire.Position, who string) {
	if at.Seq > o.need.Seq {
		o.need, o.needed = at, who
	}
}

func (n *Node) suspectError(s wire.Shard) error {
	return fmt.Errorf("%s: ends at seq %d as far as it can be read, a peer must prove or give back what follows: %w",
		n.t.OwnName(s), n.own[s].tail.Seq, ErrSuspect)
}

// adopt has a log go on behind what the Store shows, where there is no peer that could
// give back what the journal lost, and an operator has named this site as the writer.
func (n *Node) adopt(s wire.Shard) {
	o := &n.own[s]
	n.event(EventDataLost, 0, n.t.LogID(s), true, fmt.Sprintf(
		"%s: the journal ends at seq %d, the Store is at seq %d: the log goes on behind that, by the "+
			"operator's word; what was acknowledged and not applied is lost",
		n.t.OwnName(s), o.tail.Seq, o.need.Seq))
	o.tail = o.need
	n.t.E.Adopts = append(n.t.E.Adopts, Log{ID: n.t.LogID(s), Tail: o.tail, LastStamp: o.stamp, LastIndex: o.index})
	n.admit(s, AdmitVerified, nil)
}

func (n *Node) lostError(s wire.Shard) error {
	o := &n.own[s]
	if len(n.peers) == 0 {
		return fmt.Errorf("%s: the journal ends at seq %d, %s has seq %d: restore the journal, or start with the "+
			"peers that have it, or name site %s as the primary to go on behind the Store: %w", n.t.OwnName(s),
			o.tail.Seq, o.needed, o.need.Seq, n.t.C.SiteName, ErrDataLost)
	}
	return fmt.Errorf("%s: the journal ends at seq %d, chain %s, %s has seq %d, chain %s: "+
		"restore the journal, or start a site that has them: %w", n.t.OwnName(s),
		o.tail.Seq, o.tail.Chain, o.needed, o.need.Seq, o.need.Chain, ErrDataLost)
}

// admit changes a shard's admission and tells.
func (n *Node) admit(s wire.Shard, a Admission, err error) {
	o := &n.own[s]
	if o.admission == a && (o.err == nil) == (err == nil) {
		o.err = err
		return
	}
	n.admitted[o.admission]--
	n.admitted[a]++
	o.admission, o.err = a, err
	n.t.E.Admits = append(n.t.E.Admits, Admit{
		Shard: s, Admission: a, Err: err,
		Tail: Log{ID: n.t.LogID(s), Tail: o.tail, LastStamp: o.stamp, LastIndex: o.index},
	})
}

// tailProven: a peer ends exactly where we end.
func (n *Node) tailProven(s wire.Shard) {
	n.clearOwn(s)
	n.peerBehind(s)
}

// clearOwn: a peer's copy proves the tail of an own log.
func (n *Node) clearOwn(s wire.Shard) {
	if o := &n.own[s]; o.suspect {
		o.suspect = false
		n.whole = append(n.whole, s)
		n.t.E.Clears = append(n.t.E.Clears, Clear{Journal: Own, Log: n.t.LogID(s)})
	}
}

// peerBehind: a peer's position lies in our history, so what it has we have. Another
// one may have more: each that is configured is heard first, or VerifyWait passes.
func (n *Node) peerBehind(s wire.Shard) {
	o := &n.own[s]
	if o.stopped || o.suspect || !n.role.Own() || n.t.Down[Own] != nil {
		return
	}
	if o.short() {
		return // whoever gives it back is yet to come
	}
	o.agreed = true
	switch {
	case n.role.Contradicted():
	case n.role.AllAnswered():
		n.settle(s, AdmitVerified)
	case n.waited:
		n.settle(s, AdmitUnverified)
	case o.admission == AdmitRefused: // for damage that is proven to have taken nothing of what a peer has
		n.admit(s, AdmitWaiting, nil)
	}
}

// settle admits a log; what it was listed for as stopped is over.
func (n *Node) settle(s wire.Shard, a Admission) {
	o := &n.own[s]
	if o.admission == AdmitVerified {
		return
	}
	if o.err != nil {
		n.t.UnnoteStopped(n.t.LogID(s), o.err.Error())
	}
	n.admit(s, a, nil)
}

// lastAnswered admits what the peers before it had agreed to, once the last one has
// told its positions. What was admitted before that is verified now.
func (n *Node) lastAnswered() {
	if !n.role.Own() || n.t.Down[Own] != nil || !n.role.AllAnswered() {
		return
	}
	for i := range n.own {
		o := &n.own[i]
		open := o.admission == AdmitWaiting || o.admission == AdmitUnverified
		if o.agreed && open && !o.stopped && !o.suspect && !o.short() {
			n.settle(wire.Shard(i), AdmitVerified)
		}
	}
}

// peerAhead: the peer has entries of our log that we do not have. Before
// anything was appended they are fetched; afterwards two histories exist.
func (n *Node) peerAhead(p *peer, s wire.Shard) {
	o, pl := &n.own[s], &p.logs[s]
	if o.stopped {
		n.takeOut(p, s, &stream.Stop{Code: wire.RefuseChain, Text: "the log is stopped here"})
		return
	}
	if o.admission == AdmitVerified || o.admission == AdmitUnverified {
		n.diverged(p, s, &stream.Stop{Code: wire.RefuseChain, Text: fmt.Sprintf(
			"acknowledged data was lost: the peer has seq %d, chain %s, the journal ended at seq %d, chain %s, "+
				"when appends were admitted", pl.answer.Seq, pl.answer.Chain, o.tail.Seq, o.tail.Chain)})
		return
	}
	o.needs(pl.answer, "site "+p.Name)
	if o.fetching {
		return // another peer is giving it back
	}
	o.fetching = true
	p.restores = append(p.restores, s)
	n.event(EventDataLost, p.Site, n.t.LogID(s), true, fmt.Sprintf(
		"%s: the journal ends at seq %d, site %s has seq %d: fetching it back",
		n.t.OwnName(s), o.tail.Seq, p.Name, pl.answer.Seq))
}

// stopOwn stops an own log for good; nothing is overwritten.
func (n *Node) stopOwn(s wire.Shard, code wire.RefusalCode, reason string) {
	o := &n.own[s]
	o.stopped = true
	err := fmt.Errorf("%s: %s: %w", n.t.OwnName(s), reason, ErrDiverged)
	n.t.NoteStopped(n.t.LogID(s), code, reason)
	if n.role.Own() {
		n.admit(s, AdmitRefused, err)
	}
}

// verifyWaitOver admits what nobody spoke for.
func (n *Node) verifyWaitOver() {
	n.waited = true
	n.role.Found() // an operator named the writer, or it was on record
	unverified := 0
	for i := range n.own {
		if n.own[i].admission == AdmitWaiting && !n.own[i].fetching {
			n.stopWaiting(wire.Shard(i))
		}
		if n.own[i].admission == AdmitUnverified {
			unverified++
		}
	}
	if unverified > 0 {
		n.event(EventUnverified, 0, wire.LogID{}, true, fmt.Sprintf(
			"%d shards of site %s take appends although not every peer confirmed their tails within %s: %s",
			unverified, n.t.C.SiteName, n.t.C.VerifyWait, n.role.Unheard()))
	}
}

func (n *Node) stopWaiting(s wire.Shard) {
	o := &n.own[s]
	switch {
	case o.short():
		n.t.NoteStopped(n.t.LogID(s), wire.RefuseInternal, n.lostError(s).Error())
		n.admit(s, AdmitRefused, n.lostError(s))
	case o.agreed && n.role.AllAnswered():
		n.settle(s, AdmitVerified)
	default:
		n.settle(s, AdmitUnverified)
	}
}

// refuseAll ends all admissions: the own journal is gone.
func (n *Node) refuseAll(err error) {
	for i := range n.own {
		o := &n.own[i]
		o.stopped = true
		if n.role.Own() {
			n.admit(wire.Shard(i), AdmitRefused, err)
		}
	}
}
