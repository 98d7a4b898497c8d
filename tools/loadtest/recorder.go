package loadtest

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// How latencies are kept: nanoseconds, to three digits.
const (
	latencyMin    = int64(100)
	latencyMax    = int64(10 * time.Minute)
	latencyDigits = 3
)

// stripesMax is how many histograms share the recording, so that clients do not
// wait for one another at its lock. Each takes about 300 KiB.
const stripesMax = 8

// quarters is into how many parts the window is cut, to see whether the load was
// warm.
const quarters = 4

// errorTextsMax is how many different errors are kept.
const errorTextsMax = 5

// moment is time since the recorder's start; monotonic.
type moment = time.Duration

// recorder keeps what became of the entries. Its methods may be called by any
// goroutine.
type recorder struct {
	start   time.Time
	from    moment // the window begins
	to      atomic.Int64
	stripes []stripe

	mu         sync.Mutex
	late       *hdrhistogram.Histogram // how late the open loop's entries were handed over
	errorCount int64
	errorTexts []string
}

// stripe is the recording of some lanes.
type stripe struct {
	mu         sync.Mutex
	latencies  *hdrhistogram.Histogram // of entries due in the window
	answered   [quarters]int64         // in the window, by its parts
	unanswered int64                   // of entries due in the window
	all        int64                   // answers since the start, the warm-up's included
}

func newRecorder(start time.Time, warm, duration time.Duration, stripes int) *recorder {
	stripes = min(max(stripes, 1), stripesMax)
	r := &recorder{start: start, from: warm, stripes: make([]stripe, stripes), late: newLatencies()}
	r.to.Store(int64(warm + duration))
	for i := range r.stripes {
		r.stripes[i].latencies = newLatencies()
	}
	return r
}

func newLatencies() *hdrhistogram.Histogram {
	return hdrhistogram.New(latencyMin, latencyMax, latencyDigits)
}

func (r *recorder) now() moment { return time.Since(r.start) }

// end is when the window ends.
func (r *recorder) end() moment { return moment(r.to.Load()) }

// cut ends the window now, if it has not ended before.
func (r *recorder) cut() {
	if now := r.now(); now < r.end() {
		r.to.Store(int64(max(now, r.from)))
	}
}

// inWindow says whether an entry that was due then is measured.
func (r *recorder) inWindow(due moment) bool { return due >= r.from && due < r.end() }

// answer records an entry that was due, and is answered now.
func (r *recorder) answer(lane int, due moment) {
	now := r.now()
	s := &r.stripes[lane%len(r.stripes)]
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all++
	to := r.end()
	if due >= r.from && due < to {
		record(s.latencies, now-due, 1)
	}
	if now >= r.from && now < to {
		s.answered[quarters*(now-r.from)/(to-r.from)]++
	}
}

// unanswered records entries that nobody waits for any more: they took at least
// until now.
func (r *recorder) unanswered(lane int, due moment, entries int64) {
	if !r.inWindow(due) {
		return
	}
	now := r.now()
	s := &r.stripes[lane%len(r.stripes)]
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unanswered += entries
	record(s.latencies, now-due, entries)
}

// handedOver records when the generator got to an entry of an open loop.
func (r *recorder) handedOver(due moment) {
	if !r.inWindow(due) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	record(r.late, r.now()-due, 1)
}

// failed records an entry that got an error for an answer.
func (r *recorder) failed(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.errorCount++
	text := err.Error()
	for _, known := range r.errorTexts {
		if known == text {
			return
		}
	}
	if len(r.errorTexts) < errorTextsMax {
		r.errorTexts = append(r.errorTexts, text)
	}
}

func record(h *hdrhistogram.Histogram, d time.Duration, times int64) {
	_ = h.RecordValues(min(max(int64(d), 0), latencyMax), times) // fails beyond latencyMax only
}

// counts is the sum of all stripes.
type counts struct {
	latencies  *hdrhistogram.Histogram
	answered   [quarters]int64
	unanswered int64
	all        int64
}

func (r *recorder) sum() counts {
	c := counts{latencies: newLatencies()}
	for i := range r.stripes {
		s := &r.stripes[i]
		s.mu.Lock()
		c.latencies.Merge(s.latencies)
		for q, n := range s.answered {
			c.answered[q] += n
		}
		c.unanswered += s.unanswered
		c.all += s.all
		s.mu.Unlock()
	}
	return c
}

// window is how long was measured.
func (r *recorder) window() time.Duration { return r.end() - r.from }

func (c *counts) entries() (n int64) {
	for _, q := range c.answered {
		n += q
	}
	return n
}

func (r *recorder) errors() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.errorCount
}
