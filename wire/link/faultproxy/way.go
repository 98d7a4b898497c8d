package faultproxy

import (
	"sync"
	"time"
)

// queueTimeMax is how much a bandwidth limit may queue: about what a router
// with a sane buffer does.
const queueTimeMax = 100 * time.Millisecond

// faults are what holds in one direction.
type faults struct {
	delay      time.Duration
	bandwidth  int64 // bytes per second, 0 = no limit
	window     int64 // bytes under way per connection, 0 = what the queue holds
	cut        bool
	resetArmed bool
	resetAt    int64 // in bytes forwarded
	flipMask   byte  // 0 = nothing to flip
	flipAt     int64 // in bytes forwarded
	bytes      int64 // forwarded so far
}

// way is one direction of a proxy, shared by its tunnels.
type way struct {
	mu      sync.Mutex
	faults  faults
	clock   time.Time     // when the line will be free again, with a bandwidth
	changed chan struct{} // closed and replaced when the faults change
}

func newWay() *way { return &way{changed: make(chan struct{})} }

func (w *way) change(apply func(*faults)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	before := w.faults
	apply(&w.faults)
	if w.faults != before {
		close(w.changed)
		w.changed = make(chan struct{})
	}
}

// schedule gives n bytes their place on the line. They may arrive at due; the
// sender may go on at resume.
func (w *way) schedule(now time.Time, n int) (due, resume time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.faults.bandwidth == 0 {
		w.clock = now
	} else {
		if w.clock.Before(now) {
			w.clock = now
		}
		w.clock = w.clock.Add(time.Duration(float64(n) / float64(w.faults.bandwidth) * float64(time.Second)))
	}
	return w.clock.Add(w.faults.delay), w.clock.Add(-queueTimeMax)
}

// room is how many bytes a tunnel may read with so many under way.
func (w *way) room(underWay int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.faults.window == 0 {
		return chunkBytes
	}
	return max(0, min(chunkBytes, int(w.faults.window)-underWay))
}

// open waits until the direction is not cut, and says false when done ended
// first.
func (w *way) open(done <-chan struct{}) bool {
	for {
		w.mu.Lock()
		cut, changed := w.faults.cut, w.changed
		w.mu.Unlock()
		if !cut {
			return true
		}
		select {
		case <-changed:
		case <-done:
			return false
		}
	}
}

// pass counts b as forwarded and applies the single-shot faults: it flips what
// is to be flipped and returns how much of b goes through; reset says that the
// connection ends behind it.
func (w *way) pass(b []byte) (n int, reset bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f := &w.faults
	n = len(b)
	if f.resetArmed && f.resetAt-f.bytes <= int64(n) {
		n, reset = int(f.resetAt-f.bytes), true
		f.resetArmed = false
	}
	if at := f.flipAt - f.bytes; f.flipMask != 0 && at < int64(n) {
		b[at] ^= f.flipMask
		f.flipMask = 0
	}
	f.bytes += int64(n)
	return n, reset
}
