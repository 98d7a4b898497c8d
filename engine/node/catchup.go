package node

import (
	"time"

	"github.com/claudefs/repl/engine/stream"
)

// paceGap is how long a sample of confirmed bytes lasts: the rate is over one to two of them.
const paceGap = 2 * time.Second

// pace is how fast a peer confirms.
type pace struct {
	bytes         int64 // confirmed since open
	before, newer paced
}

type paced struct {
	at    time.Duration // 0 = none
	bytes int64
}

// confirmed counts the bytes that a peer newly has.
func (a *pace) confirmed(now time.Duration, bytes int64) {
	a.bytes += bytes
	if a.newer.at == 0 || now-a.newer.at >= paceGap {
		a.before, a.newer = a.newer, paced{max(now, 1), a.bytes}
	}
}

// rate is bytes a second over the last seconds; 0 = not known.
func (a *pace) rate(now time.Duration) float64 {
	if took := now - a.before.at; a.before.at != 0 && now-a.newer.at < 2*paceGap {
		return float64(a.bytes-a.before.bytes) / took.Seconds()
	}
	return 0
}

// catchUp is how fast p confirms, and how long what it lacks takes at that rate, less what
// is written meanwhile: not told, as the peer may never get there.
func (p *peer) catchUp(now time.Duration, durable stream.Lag) (rate, seconds float64) {
	if p.phase != phaseLive || !durable.Known || durable.Bytes <= 0 {
		return 0, 0
	}
	if rate = p.pace.rate(now); rate <= 0 {
		return 0, 0
	}
	return rate, float64(durable.Bytes) / rate
}
