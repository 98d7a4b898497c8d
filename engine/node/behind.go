package node

import (
	"time"

	"github.com/claudefs/repl/wire"
)

// Behind is how far this site is behind the writer, by the stamps that the writer's
// heartbeats tell and those of what is durable here.
type Behind struct {
	Known bool
	// Time: for how long the oldest missing entry has been durable at the writer, as far as
	// heartbeats tell: by one of them, or by a goal, too high; 0 if the newest told nothing
	// that is missing. While not Known it is at least that long.
	Time time.Duration
}

// told is what a heartbeat said, and when it came.
type told struct {
	stamp wire.Stamp // of the writer's newest durable entry
	at    time.Duration
}

// behindness follows one session of the writer. What a heartbeat told is a goal; once it is
// reached, what is missing became durable after that heartbeat, and the newest is the goal.
type behindness struct {
	newest, goal told          // at 0 = none in this session
	since        time.Duration // no missing entry is older
	bounded      bool          // since means something
	missing      bool
}

// heartbeat notes what the writer told at now, with its clock; here is the newest durable
// stamp of it here.
func (b *behindness) heartbeat(now time.Duration, stamp wire.Stamp, clock time.Time, here wire.Stamp) {
	b.advance(here)
	before := b.newest
	b.newest = told{stamp, max(now, 1)}
	if b.missing || stamp <= here {
		return
	}
	b.goal, b.missing = b.newest, true
	switch {
	case before.at != 0: // all that it told was here
		b.since, b.bounded = before.at, true
	case here != 0: // a session begins behind: by the writer's clock
		b.since, b.bounded = now-max(0, clock.Sub(here.Time())), true
	}
}

// advance notes that everything up to here is durable.
func (b *behindness) advance(here wire.Stamp) {
	for b.missing && here >= b.goal.stamp {
		b.since, b.bounded = b.goal.at, true
		b.missing, b.goal = b.newest.stamp > b.goal.stamp, b.newest
	}
}

// behind is how far this site is behind p; false if p does not write.
func (n *Node) behind(now Now, p *peer) (Behind, bool) {
	if !n.role.Writes(p.Site) || p.mirror == nil {
		return Behind{}, false
	}
	b := p.behind
	b.advance(p.mirror.stamp)
	heard := p.in != nil && p.in.open && b.newest.at != 0 && now.Mono-b.newest.at <= n.t.C.HeartbeatTimeout
	if !heard || p.leftOut > 0 || len(p.refusals) > 0 || len(p.foreign) > 0 {
		return Behind{}, true
	}
	switch {
	case !b.missing:
		return Behind{Known: true}, true
	case !b.bounded:
		return Behind{Time: max(now.Mono-b.goal.at, time.Microsecond)}, true
	}
	return Behind{Known: true, Time: max(now.Mono-b.since, time.Microsecond)}, true
}
