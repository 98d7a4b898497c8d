package mend

import (
	"sync"
	"time"

	"github.com/claudefs/repl/wire"
)

// Phases of a mending. Words of a status: none is ever changed.
const (
	PhaseNone      = "none"
	PhaseComparing = "comparing" // which parts differ
	PhaseFetching  = "fetching"  // their rows
	PhaseApplying  = "applying"  // the shard is torn
	PhaseWaiting   = "waiting"   // the reason says for what
)

// Status is how far the mending of a site has come. Any goroutine may use it.
type Status struct {
	mu sync.Mutex
	at Snapshot
	// Of the phase: when it began, and what was done by then.
	since time.Time
	base  float64
}

// Snapshot is a Status as of one moment.
type Snapshot struct {
	Phase    string
	Shard    wire.Shard
	From     string
	Reason   string // while waiting
	Progress Progress
	Bytes    int64 // of rows that came
	Applied  int64 // bytes of rows
	Total    int64 // bytes to apply; 0 = not known yet
	ETA      time.Duration
	ETAKnown bool
}

// Begin notes that a shard is mended from a site.
func (s *Status) Begin(shard wire.Shard, from string) {
	s.set(func(at *Snapshot) { *at = Snapshot{Phase: PhaseComparing, Shard: shard, From: from} })
}

// End notes that nothing is mended any more.
func (s *Status) End() { s.set(func(at *Snapshot) { *at = Snapshot{Phase: PhaseNone} }) }

// Snapshot returns how far it is.
func (s *Status) Snapshot() Snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.at
	if at.Phase == "" {
		at.Phase = PhaseNone
	}
	all, did := at.work()
	if passed := time.Since(s.since); all > 0 && did > s.base && passed > 0 {
		at.ETA = time.Duration(float64(passed) * (all - did) / (did - s.base))
		at.ETAKnown = true
	}
	return at
}

// work is what the phase has to do, and did: rows, or bytes.
func (at *Snapshot) work() (all, did float64) {
	switch at.Phase {
	case PhaseFetching:
		return float64(at.Progress.Differ), float64(at.Progress.Fetched)
	case PhaseApplying:
		return float64(at.Total), float64(at.Applied)
	}
	return 0, 0
}

// set changes it; a new phase begins to count.
func (s *Status) set(change func(*Snapshot)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.at.Phase
	change(&s.at)
	if s.at.Phase != before {
		s.since = time.Now()
		_, s.base = s.at.work()
	}
}

func (s *Status) gathers(g *Gather, bytes int64) {
	s.set(func(at *Snapshot) {
		at.Phase, at.Reason, at.Progress, at.Bytes = PhaseComparing, "", g.Progress(), bytes
		if g.Compared() {
			at.Phase = PhaseFetching
		}
	})
}

func (s *Status) waits(why error) {
	s.set(func(at *Snapshot) { at.Phase, at.Reason = PhaseWaiting, why.Error() })
}

func (s *Status) applies(f *Spool) {
	total := int64(0)
	for i := range f.parts {
		for _, x := range f.parts[i].rows {
			total += int64(x.bytes)
		}
	}
	s.set(func(at *Snapshot) {
		at.Phase, at.Reason, at.Applied, at.Total = PhaseApplying, "", 0, total
		at.Shard, at.From = f.head.Shard, f.head.From
	})
}

func (s *Status) applied(bytes int) {
	s.set(func(at *Snapshot) { at.Applied += int64(bytes) })
}
