package stream

import "time"

// Estimates look back this far, in two halves, so that an old best is
// forgotten after at most twice this time.
const (
	rateMemory  = 2 * time.Second
	delayMemory = 10 * time.Second
)

// probeShare of the window is three quarters of what the path holds: enough to
// drain its queues, with little of its rate lost meanwhile.
const probeShare = 3.0 / 8

// Window says how many bytes may be under way: twice the bandwidth-delay
// product, within [Min, Max]. Fewer would leave a long fast link idle between
// acks; more would only fill queues. Rate is the best that durable acks showed
// lately, delay the shortest time from sending a frame to its durable ack: the
// peer's flush is part of the pipe that has to be kept full.
//
// A full window keeps a queue somewhere on the path, and every frame waits in
// it: were the shortest delay just forgotten, the next one would have the queue
// in it, the window would grow, and the queue with it. So once the delay is
// older than its memory, the window shrinks until a frame that left without a
// queue before it has measured a new one: two round trips at three quarters of
// the rate, at most every ten seconds. The shorter one of two such memories
// counts, because somebody may have paused during one.
type Window struct {
	Min, Max int64

	rate        [2]float64 // bytes per second: best of this memory, best of the one before
	rateSince   time.Duration
	delay       [2]time.Duration // shortest of this memory, of the one before; 0 = not measured
	delaySince  time.Duration
	probing     bool
	delivered   int64
	deliveredAt time.Duration
	departedAt  time.Duration // of the frame that was delivered last
}

// Reset forgets what a former session measured.
func (w *Window) Reset() { *w = Window{Min: w.Min, Max: w.Max} }

// Bytes is the size of the window.
func (w *Window) Bytes() int64 {
	product := 2 * max(w.rate[0], w.rate[1]) * w.minDelay().Seconds()
	if w.probing {
		product *= probeShare
	}
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
		w.deliveredAt, w.departedAt = now, now
	}
	f.At, f.delivered, f.deliveredAt, f.departedAt = now, w.delivered, w.deliveredAt, w.departedAt
	f.probe = w.probing
}

// Acked measures a frame that is durable at the peer. Acks that gathered while
// somebody paused come all at once: nothing went faster for that than it was
// sent, so the longer of the two spans counts.
func (w *Window) Acked(now time.Duration, f *Frame) {
	w.delivered += f.Bytes
	w.deliveredAt, w.departedAt = now, f.At
	w.measure(now, max(now-f.At, time.Microsecond), f.probe)
	if now-w.rateSince >= rateMemory {
		w.rate[1], w.rate[0], w.rateSince = w.rate[0], 0, now
	}
	if took := max(now-f.deliveredAt, f.At-f.departedAt); took > 0 {
		w.rate[0] = max(w.rate[0], float64(w.delivered-f.delivered)/took.Seconds())
	}
}

// measure takes a frame's delay, and decides when it is time to measure without
// a queue. Frames that left before that have the queue in theirs.
func (w *Window) measure(now, delay time.Duration, probe bool) {
	switch {
	case w.probing && !probe:
	case w.delay[0] == 0:
		w.delay[0], w.delaySince, w.probing = delay, now, false
	case delay < w.delay[0]:
		w.delay[0] = delay
	case now-w.delaySince >= delayMemory:
		w.delay[1], w.delay[0], w.probing = w.delay[0], 0, true
	}
}
