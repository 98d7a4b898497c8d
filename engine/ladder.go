package engine

import (
	"fmt"
	"strings"
	"time"
)

// ladder decides what carries the next link to one peer, where there are several
// transports, the best first, and when a better one than the present is tried again.
// It is pure: time comes in, measured from any beginning.
//
//	       ┌─ failed: not before pauseMin, then twice as long each time, to pauseMax
//	rdma ──┤
//	       └─ held for pauseMax: the next failure is a first one again
//	 │ below, at once
//	io_uring, tcp: the last rung is always there
type ladder struct {
	pauseMin, pauseMax time.Duration
	rungs              []rung
}

// rung is one transport as one peer is reached by it.
type rung struct {
	name  string
	fails int           // in a row
	until time.Duration // not before
	why   string        // of the last failure
}

func newLadder(pauseMin, pauseMax time.Duration, names []string) ladder {
	l := ladder{pauseMin: pauseMin, pauseMax: pauseMax}
	for _, name := range names {
		l.rungs = append(l.rungs, rung{name: name})
	}
	return l
}

// next is the rung that a dial takes at now: from rung lo on the best that is not
// pausing.
func (l *ladder) next(lo int, now time.Duration) int {
	for i := lo; i < len(l.rungs); i++ {
		if l.rungs[i].until <= now {
			return i
		}
	}
	return len(l.rungs) - 1
}

// failed notes that a dial by rung i made no link, or that the one it made, which
// lived so long, broke.
func (l *ladder) failed(i int, now, lived time.Duration, why string) {
	r := &l.rungs[i]
	if lived >= l.pauseMax {
		r.fails = 0
	}
	pause := l.pauseMax
	if r.fails < 32 {
		pause = min(pause, l.pauseMin<<r.fails)
	}
	r.fails++
	r.until, r.why = now+pause, why
}

// better is when a rung above i is to be tried again; false where there is none.
func (l *ladder) better(i int) (at time.Duration, ok bool) {
	for _, r := range l.rungs[:i] {
		if !ok || r.until < at {
			at, ok = r.until, true
		}
	}
	return at, ok
}

// reason says why it is rung i and none above; "" where nothing is better.
func (l *ladder) reason(i int, now time.Duration) string {
	var parts []string
	for _, r := range l.rungs[:i] {
		if r.why == "" {
			continue
		}
		text := r.name + ": " + r.why
		if wait := r.until - now; wait > 0 {
			text += fmt.Sprintf(", next try in %ds", (wait+time.Second-1)/time.Second)
		} else {
			text += ", being tried again"
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, "; ")
}
