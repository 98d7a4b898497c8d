package lag

import (
	"time"

	"github.com/claudefs/repl/engine/step"
	"github.com/claudefs/repl/wire"
)

// grownGap is the least time between two marks of a growth: younger ages are known to it.
const grownGap = 50 * time.Millisecond

// grown says that a log came to hold seq at a moment of the steady clock.
type grown struct {
	seq wire.Seq
	at  time.Duration
}

// growth is a few moments at which a log grew, oldest first: the first of this life, the
// newest, and what tells the ages between best. at 0 = none.
type growth [4]grown

// grew notes that a log's entries from seq on became durable at now.
func (g *growth) grew(seq wire.Seq, now time.Duration) {
	free := 0
	for free < len(g) && g[free].at != 0 {
		free++
	}
	switch {
	case free > 0 && now < g[free-1].at+grownGap:
		return
	case free == len(g): // one of those in the middle goes: its neighbours are the closest for their ages
		drop := 1
		for i := 2; i < len(g)-1; i++ {
			if (now-g[i-1].at)*(now-g[drop+1].at+1) < (now-g[drop-1].at)*(now-g[i+1].at+1) {
				drop = i
			}
		}
		copy(g[drop:], g[drop+1:])
		free--
	}
	g[free] = grown{seq, now}
}

// between returns within which times an entry became durable; 0 = not known.
func (g *growth) between(seq wire.Seq) (after, before time.Duration) {
	for i := range g {
		switch {
		case g[i].at == 0:
			return after, 0
		case g[i].seq > seq:
			return after, g[i].at
		}
		after = g[i].at
	}
	return after, 0
}

// Ages knows for how long own entries have been durable.
type Ages struct {
	start time.Duration // of this life, by the steady clock
	ahead wire.Stamp    // the highest own stamp that was ahead of the wall clock
	logs  []aged        // by shard
}

// aged is one own log.
type aged struct {
	boot   wire.Seq // where it ended when this life began, in its incarnation
	growth growth
}

// NewAges returns the ages of logs of shards [0, count) that have nothing.
func NewAges(count uint32) *Ages { return &Ages{logs: make([]aged, count)} }

// Boot says where a log ended when this life began.
func (a *Ages) Boot(s wire.Shard, seq wire.Seq) { a.logs[s].boot = seq }

// Forget drops what is known of a log: another incarnation begins.
func (a *Ages) Forget(s wire.Shard) { a.logs[s] = aged{} }

// Start says when this life began, by the steady clock.
func (a *Ages) Start(now time.Duration) { a.start = now }

// Grew notes that a log's entries from seq on became durable at now, which is not 0.
func (a *Ages) Grew(s wire.Shard, seq wire.Seq, now time.Duration) { a.logs[s].growth.grew(seq, now) }

// Stamped notes which durable stamps ran ahead of the wall clock: after a restart, because
// they begin at the clock's bound, and after the clock was set back. They tell no age.
func (a *Ages) Stamped(last wire.Stamp, wall time.Time) {
	if last > a.ahead && last.Time().After(wall) {
		a.ahead = last
	}
}

// Age is for how long an own entry has been durable, as far as its stamp and what is known
// of its log tell: never too low if the stamp is exact or not known, never too high if it
// is not exact. An entry of this life is no older than the life, and one of an earlier
// life no younger.
func (a *Ages) Age(now step.Now, q Question) time.Duration {
	l := &a.logs[q.Shard]
	open, stamped := now.Mono-a.start, now.Wall.Sub(q.Stamp.Time())
	if q.Seq <= l.boot {
		if q.Stamp == 0 {
			return open
		}
		return max(stamped, open)
	}
	after, before := l.growth.between(q.Seq)
	most, least := open, time.Duration(0)
	if after = max(after, q.After); after != 0 {
		most = now.Mono - after
	}
	if before != 0 {
		least = now.Mono - before
	}
	switch {
	case !q.Exact && q.Stamp != 0:
		return least
	case q.Stamp <= a.ahead:
		return most
	}
	return min(max(stamped, least), most)
}
