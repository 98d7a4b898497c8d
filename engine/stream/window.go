package stream

import "time"

// Estimates look back this far, in two halves, so that an old best is
// forgotten after at most twice this time.
const (
	rateMemory  = 2 * time.Second
	delayMemory = 10 * time.Second
)

// Window says how many bytes may be under way: twice the bandwidth-delay
// product, within [Min, Max]. Fewer would leave a long fast link idle between
// acks; more would only fill queues. Rate is the best that durable acks showed
// lately, delay the shortest time from sending a frame to its durable ack: the
// peer's flush is part of the pipe that has to be kept full.
type Window struct {
	Min, Max int64

	rate        [2]float64 // bytes per second: best of this memory, best of the one before
	rateSince   time.Duration
	delay       [2]time.Duration
	delaySince  time.Duration
	delivered   int64
	deliveredAt time.Duration
}

// Reset forgets what a former session measured.
func (w *Window) Reset() { *w = Window{Min: w.Min, Max: w.Max} }

// Bytes is the size of the window.
func (w *Window) Bytes() int64 {
	rate := max(w.rate[0], w.rate[1])
	product := 2 * rate * w.minDelay().Seconds()
	if product >= float64(w.Max) {
		return w.Max
	}
	return max(w.Min, int64(product))
}

func (w *Window) minDelay() time.Duration {
	if w.delay[0] == 0 || w.delay[1] != 0 && w.delay[1] < w.delay[0] {
		return w.delay[1]
	}
	return w.delay[0]
}

// Sent stamps a frame that leaves now. idle says that nothing was under way:
// the pause before it says nothing about the link.
func (w *Window) Sent(now time.Duration, f *Frame, idle bool) {
	if idle {
		w.deliveredAt = now
	}
	f.At, f.delivered, f.deliveredAt = now, w.delivered, w.deliveredAt
}

// Acked measures a frame that is durable at the peer.
func (w *Window) Acked(now time.Duration, f *Frame) {
	w.delivered += f.Bytes
	w.deliveredAt = now
	if now-w.delaySince >= delayMemory {
		w.delay[1], w.delay[0], w.delaySince = w.delay[0], 0, now
	}
	if d := max(now-f.At, time.Microsecond); w.delay[0] == 0 || d < w.delay[0] {
		w.delay[0] = d
	}
	if now-w.rateSince >= rateMemory {
		w.rate[1], w.rate[0], w.rateSince = w.rate[0], 0, now
	}
	if took := now - f.deliveredAt; took > 0 {
		w.rate[0] = max(w.rate[0], float64(w.delivered-f.delivered)/took.Seconds())
	}
}
