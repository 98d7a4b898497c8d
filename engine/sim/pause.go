package sim

import (
	"slices"
	"time"

	"github.com/claudefs/repl/engine/sim/plan"
)

// standstill is a stretch of time in which a site's process gets no processor.
type standstill struct{ from, to time.Duration }

// pause has the process stand still for a while. A pause within another one makes it
// longer, or nothing.
func (s *site) pause(f *plan.Item) {
	to := s.w.now + f.Span*4
	switch {
	case s.p == nil || to <= s.pausedTo():
		return
	case s.paused():
		s.pauses[len(s.pauses)-1].to = to
	default:
		s.pauses = append(s.pauses, standstill{s.w.now, to})
	}
	s.pauseStruck = false
}

// pausedTo is when the last pause ends.
func (s *site) pausedTo() time.Duration {
	if n := len(s.pauses); n > 0 {
		return s.pauses[n-1].to
	}
	return 0
}

func (s *site) paused() bool { return s.w.now < s.pausedTo() }

// endPause ends the pause that there is.
func (s *site) endPause() {
	if s.paused() {
		s.pauses[len(s.pauses)-1].to = s.w.now
	}
}

// ran is how much of the time between two moments the process was not paused.
func (s *site) ran(from, to time.Duration) time.Duration {
	d := to - from
	for _, p := range slices.Backward(s.pauses) {
		if p.to <= from {
			break
		}
		d -= max(0, min(p.to, to)-max(p.from, from))
	}
	return d
}

// resume does what came while the site stood still, in its order: frames of a link
// never pass each other.
func (s *site) resume() {
	if s.paused() {
		s.w.at(s.pausedTo(), s.resume)
		return
	}
	held := s.held
	s.held = nil
	for _, work := range held {
		work()
	}
}
