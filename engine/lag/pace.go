package lag

import "time"

// paceGap is how long a sample of confirmed bytes lasts: the rate is over one to two of them.
const paceGap = 2 * time.Second

// Pace is how fast a peer confirms.
type Pace struct {
	bytes         int64 // confirmed since open
	before, newer paced
}

type paced struct {
	at    time.Duration // 0 = none
	bytes int64
}

// Confirmed counts the bytes that a peer newly has.
func (a *Pace) Confirmed(now time.Duration, bytes int64) {
	a.bytes += bytes
	if a.newer.at == 0 || now-a.newer.at >= paceGap {
		a.before, a.newer = a.newer, paced{max(now, 1), a.bytes}
	}
}

// rate is bytes a second over the last seconds; 0 = not known.
func (a *Pace) rate(now time.Duration) float64 {
	if took := now - a.before.at; a.before.at != 0 && now-a.newer.at < 2*paceGap {
		return float64(a.bytes-a.before.bytes) / took.Seconds()
	}
	return 0
}

// CatchUp is how fast a peer confirms, in bytes a second, and how long what it is missing
// takes at that rate, in seconds; 0 = not known. What is written meanwhile is left out: the
// peer may never get there.
func (a *Pace) CatchUp(now time.Duration, durable Lag) (rate, seconds float64) {
	if !durable.Known || durable.Bytes <= 0 {
		return 0, 0
	}
	if rate = a.rate(now); rate <= 0 {
		return 0, 0
	}
	return rate, float64(durable.Bytes) / rate
}
