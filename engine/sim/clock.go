package sim

import "time"

// epoch is the wall time at which every world begins.
var epoch = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

// clock is the time as one site sees it: it drifts, is off, and jumps.
type clock struct {
	driftPPM int64         // parts per million, ±500
	offset   time.Duration // of the wall clock; timers do not see it
}

// mono is the site's steady clock at world time now.
func (c *clock) mono(now time.Duration) time.Duration {
	return now + now/1_000_000*time.Duration(c.driftPPM)
}

// wall is the site's wall clock.
func (c *clock) wall(now time.Duration) time.Time {
	return epoch.Add(c.mono(now) + c.offset)
}

// worldAt is the first world time at which mono is due or later.
func (c *clock) worldAt(mono time.Duration) time.Duration {
	t := mono - mono/1_000_000*time.Duration(c.driftPPM)
	for c.mono(t) < mono {
		t += max(1, mono-c.mono(t))
	}
	return t
}
