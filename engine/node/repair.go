package node

import (
	"fmt"
	"slices"
	"time"

	"github.com/claudefs/repl/engine/internal/plant"
	"github.com/claudefs/repl/engine/stream"
	"github.com/claudefs/repl/wire"
)

// repairPauseMin and repairPauseMax: what no link could give is asked for again after
// a pause that doubles. A copy that was damaged, too, may be mended meanwhile.
const (
	repairPauseMin = time.Second
	repairPauseMax = time.Minute
)

// notRepaired begins the reason of a log that is stopped for want of a repair.
const notRepaired = "mirror not repaired: "

// repair is a piece of a journal, (from, to], that damage took; any site that has the
// log may give it. proof asks only whether the log's own site goes through from.
type repair struct {
	log   wire.LogID
	from  wire.Position
	to    wire.Seq
	proof bool
	tried []uint64      // the links, by number, that could not give it
	again time.Duration // when they are asked anew; 0 = none was tried
	pause time.Duration // before that
	gone  bool          // nothing of it is missing any more: it is not asked for again
}

// mayGive says whether a link is worth asking for a repair.
func (n *Node) mayGive(l *link, r *repair) bool {
	if r.proof && r.log.Site != l.peer.Site {
		return false
	}
	return !slices.Contains(r.tried, l.number) && !n.asked(r.log)
}

// missed notes that a link, or all there are, could not help.
func (n *Node) missed(r *repair, by ...*link) {
	gone := func(number uint64) bool {
		return !slices.ContainsFunc(n.order, func(l *link) bool { return l.number == number })
	}
	r.tried = slices.DeleteFunc(r.tried, gone)
	for _, l := range by {
		r.tried = append(r.tried, l.number)
	}
	r.pause = min(max(2*r.pause, repairPauseMin), repairPauseMax)
	r.again = n.t.Now.Mono + r.pause
}

// notGiven: the other end of a link cannot give a repair, or gives another history.
func (n *Node) notGiven(l *link, f *fetch, why *stream.Stop) {
	if !f.repair.gone {
		n.event(EventRepairFailed, l.peer.Site, f.log, true, fmt.Sprintf(
			"%s: %s behind seq %d cannot be repaired from site %s: %s",
			n.t.LogName(f.log), n.copyOf(f.log), f.start.Seq, l.peer.Name, why.Text))
		n.missed(&f.repair, l)
	}
	n.repairAgain(&f.repair)
	// An own log goes on, but for who lacks the piece.
	if n.ownLog(f.log) == nil && !f.repair.gone && !n.asked(f.log) {
		n.t.NoteStopped(f.log, why.Code, notRepaired+why.Text)
	}
}

// repairAgain queues a repair that was asked for in vain, and asks for it wherever it
// was not yet.
func (n *Node) repairAgain(r *repair) {
	if !r.gone {
		n.repairs = append(n.repairs, *r)
	}
	n.fetchAll()
}

// retryRepairs asks all links anew for what none could give.
func (n *Node) retryRepairs() {
	retried := false
	for i := range n.repairs {
		if r := &n.repairs[i]; r.again != 0 && n.t.Now.Mono >= r.again {
			r.tried, r.again, retried = nil, 0, true
		}
	}
	if retried {
		n.fetchAll()
	}
}

// copyOf names the copy of a log that damage is in.
func (n *Node) copyOf(log wire.LogID) string {
	if n.ownLog(log) != nil {
		return "the own journal"
	}
	return "the mirror"
}

// repairing is a repair whose last piece is being written.
type repairing struct {
	ticket uint64
	repair repair
}

// mirrorDamaged queues a repair; one per log is remembered, and it grows.
func (n *Node) mirrorDamaged(in *MirrorDamaged) {
	if n.mirrorLog(in.Log) == nil && (n.ownLog(in.Log) == nil || plant.OwnDamageKept) {
		return
	}
	if in.Gone {
		n.repairGone(in.Log)
		return
	}
	n.event(EventCorruption, in.Log.Site, in.Log, true, fmt.Sprintf(
		"%s: seqs %d to %d of %s are damaged", n.t.LogName(in.Log), in.From.Seq+1, in.To, n.copyOf(in.Log)))
	i := slices.IndexFunc(n.repairs, func(r repair) bool { return r.log == in.Log && !r.proof })
	if i < 0 {
		n.repairs = append(n.repairs, repair{log: in.Log, from: in.From, to: in.To})
	} else {
		r := &n.repairs[i]
		r.tried, r.again = nil, 0
		if in.From.Seq < r.from.Seq {
			r.from = in.From
		}
		r.to = max(r.to, in.To)
	}
	n.fetchAll()
}

// repairGone: nothing of the log is missing any more, and what was is not needed.
func (n *Node) repairGone(log wire.LogID) {
	n.repairs = slices.DeleteFunc(n.repairs, func(r repair) bool { return r.log == log && !r.proof })
	for _, l := range n.order {
		for _, f := range l.fetches {
			if f.kind == StageRepair && f.log == log {
				f.repair.gone = true
			}
		}
	}
	for i := range n.repairing {
		if r := &n.repairing[i].repair; r.log == log {
			r.gone = true
		}
	}
	n.t.UnnoteStopped(log, notRepaired)
}

func (n *Node) askRepair(l *link, r repair) {
	f := fetch{kind: StageRepair, log: r.log, from: r.from, to: r.to, repair: r}
	if r.proof {
		m := n.mirrorLog(r.log)
		if !m.suspect {
			return
		}
		f.kind, f.from, f.to = 0, m.durable, m.durable.Seq+1
	} else {
		n.event(EventMirrorRepair, l.peer.Site, r.log, false, fmt.Sprintf(
			"%s: fetching seqs %d to %d of %s from site %s",
			n.t.LogName(r.log), r.from.Seq+1, r.to, n.copyOf(r.log), l.peer.Name))
	}
	n.ask(l, f)
}

// repaired: the last piece of a repair was written, or could not be.
func (n *Node) repaired(in *Repaired) {
	i := slices.IndexFunc(n.repairing, func(r repairing) bool { return r.ticket == in.Ticket })
	if i < 0 {
		return
	}
	r := n.repairing[i].repair
	n.repairing = slices.Delete(n.repairing, i, i+1)
	if in.Err != nil {
		n.notWritten(&r, in.Err)
		return
	}
	n.event(EventMirrorRepaired, r.log.Site, r.log, false, fmt.Sprintf(
		"%s: seqs %d to %d of %s are repaired", n.t.LogName(r.log), r.from.Seq+1, r.to, n.copyOf(r.log)))
	if n.ownLog(r.log) == nil {
		n.t.UnnoteStopped(r.log, notRepaired)
		return
	}
	n.gate.Whole = append(n.gate.Whole, r.log.Shard)
	n.resumePassed(&r)
}

// resumePassed begins a session anew with sites that lack what an own log has again:
// their readers may have passed the place, and nothing may come behind it to tell.
func (n *Node) resumePassed(r *repair) {
	for _, p := range n.peers {
		if p.phase != phaseLive || !p.sender.In(r.log.Shard) {
			continue
		}
		if sent := p.sender.Sent(r.log.Shard).Seq; r.from.Seq <= sent && sent < r.to {
			n.close(p.link, "what damage had taken is here again")
		}
	}
}

func (n *Node) notWritten(r *repair, err error) {
	if r.gone {
		return
	}
	n.event(EventRepairFailed, r.log.Site, r.log, true, fmt.Sprintf(
		"%s: seqs %d to %d of %s came, but were not written: %v",
		n.t.LogName(r.log), r.from.Seq+1, r.to, n.copyOf(r.log), err))
	n.missed(r, n.order...)
	n.repairAgain(r)
}

// mirrorProven: the log's own site goes on from, or ends at, our tail.
func (n *Node) mirrorProven(log wire.LogID) {
	m := n.mirrorLog(log)
	if m.suspect {
		n.clearMirror(log, m)
		n.event(EventMirrorRepaired, log.Site, log, false, fmt.Sprintf(
			"%s: site %s proves the tail of the mirror at seq %d",
			n.t.LogName(log), n.t.SiteName(log.Site), m.durable.Seq))
	}
}

// clearMirror: the log's own site proves the tail of a suspect mirror.
func (n *Node) clearMirror(log wire.LogID, m *mirrorLog) {
	m.suspect = false
	n.t.E.Clears = append(n.t.E.Clears, Clear{Journal: Mirror, Log: log})
	n.t.UnnoteStopped(log, notRepaired)
}
