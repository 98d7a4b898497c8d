package node

import (
	"fmt"
	"slices"

	"github.com/claudefs/repl/wire"
)

// repair is a piece of a journal, (from, to], that damage took. One of the mirror
// waits for a link to the log's site, one of an own log for any site's that mirrors
// it. proof asks only whether the site's log goes through from. One that failed is
// tried again on the next link.
type repair struct {
	log    wire.LogID
	from   wire.Position
	to     wire.Seq
	proof  bool
	failed uint64   // link.number of the youngest link when it failed; 0 = it has not
	tried  []uint64 // own logs: the links, by number, that could not give it
}

// mayGive says whether a link is worth asking for a repair.
func (n *Node) mayGive(l *link, r *repair) bool {
	if n.ownLog(r.log) != nil {
		return !slices.Contains(r.tried, l.number) && !n.asked(r.log)
	}
	return r.log.Site == l.peer.Site && r.failed < l.number && !n.asked(r.log)
}

// copyOf names the copy of a log that damage is in.
func (n *Node) copyOf(log wire.LogID) string {
	if n.ownLog(log) != nil {
		return "the own journal"
	}
	return "the mirror"
}

type repaired struct {
	ticket uint64
	repair repair
}

// mirrorDamaged queues a repair; one per log is remembered, and it grows.
func (n *Node) mirrorDamaged(in *MirrorDamaged) {
	if n.mirrorLog(in.Log) == nil && n.ownLog(in.Log) == nil {
		return
	}
	n.event(EventCorruption, in.Log.Site, in.Log, true, fmt.Sprintf(
		"%s: seqs %d to %d of %s are damaged", n.logName(in.Log), in.From.Seq+1, in.To, n.copyOf(in.Log)))
	i := slices.IndexFunc(n.repairs, func(r repair) bool { return r.log == in.Log && !r.proof })
	if i < 0 {
		n.repairs = append(n.repairs, repair{log: in.Log, from: in.From, to: in.To})
	} else {
		r := &n.repairs[i]
		r.failed = 0
		if in.From.Seq < r.from.Seq {
			r.from = in.From
		}
		r.to = max(r.to, in.To)
	}
	n.fetchAll()
}

func (n *Node) askRepair(l *link, r repair) {
	f := fetch{kind: StageRepair, log: r.log, from: r.from, to: r.to}
	if r.proof {
		m := n.mirrorLog(r.log)
		if !m.suspect {
			n.fetchNext(l)
			return
		}
		f.kind, f.from, f.to = 0, m.durable, m.durable.Seq+1
	} else {
		n.event(EventMirrorRepair, l.peer.Site, r.log, false, fmt.Sprintf(
			"%s: fetching seqs %d to %d of %s from site %s",
			n.logName(r.log), r.from.Seq+1, r.to, n.copyOf(r.log), l.peer.Name))
	}
	f.tried = r.tried
	n.ask(l, f)
}

// repair is what the fetch was to repair, to be asked for again.
func (f *fetch) repair(failed uint64) repair {
	return repair{log: f.log, from: f.start, to: f.to, proof: f.kind == 0, failed: failed, tried: f.tried}
}

func (n *Node) repairedDurable(ticket uint64) {
	for len(n.repairing) > 0 && n.repairing[0].ticket <= ticket {
		r := n.repairing[0].repair
		n.repairing = slices.Delete(n.repairing, 0, 1)
		n.event(EventMirrorRepaired, r.log.Site, r.log, false, fmt.Sprintf(
			"%s: seqs %d to %d of %s are repaired", n.logName(r.log), r.from.Seq+1, r.to, n.copyOf(r.log)))
		if n.ownLog(r.log) != nil {
			n.resumeLacking(r.log.Shard)
			continue
		}
		n.unnoteStopped(r.log)
	}
}

func (n *Node) repairFailed(in *StageFailed) bool {
	i := slices.IndexFunc(n.repairing, func(r repaired) bool { return r.ticket == in.Ticket })
	if i < 0 {
		return false
	}
	r := n.repairing[i].repair
	n.repairing = slices.Delete(n.repairing, i, i+1)
	n.event(EventRepairFailed, r.log.Site, r.log, true, fmt.Sprintf(
		"%s: seqs %d to %d of %s came, but were not written: %v",
		n.logName(r.log), r.from.Seq+1, r.to, n.copyOf(r.log), in.Err))
	n.repairs = append(n.repairs, r)
	return true
}

// mirrorProven: the log's own site goes on from, or ends at, our tail.
func (n *Node) mirrorProven(log wire.LogID) {
	m := n.mirrorLog(log)
	if m.suspect {
		m.suspect = false
		n.e.Clears = append(n.e.Clears, Clear{Mirror, log})
		n.event(EventMirrorRepaired, log.Site, log, false, fmt.Sprintf(
			"%s: site %s proves the tail of the mirror at seq %d", n.logName(log), n.siteName(log.Site), m.durable.Seq))
	}
}
