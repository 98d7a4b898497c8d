package step

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/claudefs/repl/engine/event"
	"github.com/claudefs/repl/wire"
)

// StoppedLog is a log that does not move, and why.
type StoppedLog struct {
	Log    wire.LogID
	Code   wire.RefusalCode
	Reason string
}

// NotRepaired begins the reason of a log that is stopped for want of a repair.
const NotRepaired = "mirror not repaired: "

// Never is when a room that waits for no timer wants to be woken.
const Never = time.Duration(1<<63 - 1)

// Turn is the step at hand, and what all rooms of one heart share: who they are, what
// they call the sites, which journals and logs stopped. Its owner sets Now and E before
// each step; E is borrowed for the step.
type Turn struct {
	C    Config
	Term wire.Term // of the journal
	Now  Now
	E    *Effects
	Down [Mirror + 1]error // why a journal stopped; nil = it works

	known   []Peer       // whose names are known
	stopped []StoppedLog // sorted by log
	ticket  uint64       // the last one given to a stage, over both journals

	lineages map[wire.LogID]*wire.Lineage // of logs of which a second incarnation was seen
}

// NewTurn returns the turn of a heart. ticket is the last one that was given to a stage by the
// heart before it in this process, 0 = there was none: an answer to that is none to this one.
func NewTurn(c Config, term wire.Term, ticket uint64) *Turn {
	return &Turn{C: c, Term: term, ticket: ticket}
}

// Tickets is the last ticket that was given to a stage.
func (t *Turn) Tickets() uint64 { return t.ticket }

// Lineage orders the incarnations of a log; nil where one is known.
func (t *Turn) Lineage(log wire.LogID) *wire.Lineage { return t.lineages[log] }

// Learn notes the epoch of an incarnation of a log. Zero values tell nothing.
func (t *Turn) Learn(log wire.LogID, i wire.Incarnation, e wire.Epoch) {
	if t.lineages == nil {
		t.lineages = make(map[wire.LogID]*wire.Lineage)
	}
	if t.lineages[log] == nil {
		t.lineages[log] = new(wire.Lineage)
	}
	t.lineages[log].Learn(i, e)
}

// Covers says that who has come to p of a log has come to q.
func (t *Turn) Covers(log wire.LogID, p, q wire.Position) bool { return t.lineages[log].Covers(p, q) }

// Order is how p of a log lies to q.
func (t *Turn) Order(log wire.LogID, p, q wire.Position) wire.Order {
	return t.lineages[log].Order(p, q)
}

// Relate is Relate of two positions of a log: one of an earlier incarnation is behind.
func (t *Turn) Relate(log wire.LogID, own, peer wire.Position) Relation {
	return relate(t.lineages[log], own, peer)
}

// Beyond says that p of a log lies after q for certain.
func (t *Turn) Beyond(log wire.LogID, p, q wire.Position) bool {
	return t.lineages[log].Order(p, q) == wire.OrderAfter
}

// Know notes what a site is called.
func (t *Turn) Know(p Peer) {
	for i := range t.known {
		if t.known[i].Site == p.Site {
			t.known[i] = p
			return
		}
	}
	t.known = append(t.known, p)
}

// SiteName is how people call a site: its name where that is known.
func (t *Turn) SiteName(site wire.SiteID) string {
	if site == t.C.Site {
		return t.C.SiteName
	}
	for i := range t.known {
		if t.known[i].Site == site {
			return t.known[i].Name
		}
	}
	return fmt.Sprintf("%08x", uint32(site))
}

// LogID names an own log.
func (t *Turn) LogID(s wire.Shard) wire.LogID { return wire.LogID{Site: t.C.Site, Shard: s} }

// LogName names a log for people.
func (t *Turn) LogName(log wire.LogID) string {
	return fmt.Sprintf("site %s shard %d", t.SiteName(log.Site), log.Shard)
}

// OwnName names an own log for people.
func (t *Turn) OwnName(s wire.Shard) string { return t.LogName(t.LogID(s)) }

// JournalOf is the journal that a log belongs in.
func (t *Turn) JournalOf(log wire.LogID) Journal {
	if log.Site == t.C.Site {
		return Own
	}
	return Mirror
}

// Mono is the steady clock, and never 0, which stands for "not yet".
func (t *Turn) Mono() time.Duration { return max(t.Now.Mono, 1) }

// Ticket numbers the next stage.
func (t *Turn) Ticket() uint64 {
	t.ticket++
	return t.ticket
}

// Tell reports an event.
func (t *Turn) Tell(e event.Event) { t.E.Events = append(t.E.Events, e) }

func byLog(s StoppedLog, log wire.LogID) int { return s.Log.Compare(log) }

// Stopped lists the logs that stopped here, sorted; shared.
func (t *Turn) Stopped() []StoppedLog { return t.stopped }

// NoteStopped lists a log as stopped here; a later reason replaces an earlier one.
func (t *Turn) NoteStopped(log wire.LogID, code wire.RefusalCode, reason string) {
	s := StoppedLog{Log: log, Code: code, Reason: reason}
	i, found := slices.BinarySearchFunc(t.stopped, log, byLog)
	if found {
		t.stopped[i] = s
		return
	}
	t.stopped = slices.Insert(t.stopped, i, s)
}

// UnnoteStopped takes a log off the list if what it is listed for begins with reason:
// repairing one fault says nothing about another.
func (t *Turn) UnnoteStopped(log wire.LogID, reason string) {
	i, found := slices.BinarySearchFunc(t.stopped, log, byLog)
	if found && strings.HasPrefix(t.stopped[i].Reason, reason) {
		t.stopped = slices.Delete(t.stopped, i, i+1)
	}
}
