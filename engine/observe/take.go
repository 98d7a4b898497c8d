package observe

import (
	"time"

	"github.com/claudefs/repl/engine"
)

// Labels that several metrics have.
var (
	journalLabel = []string{"journal"}
	ringLabel    = []string{"carries"}
	peerLabel    = []string{"peer"}
	lagLabels    = []string{"peer", "level"}
)

func number(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

func seconds(at time.Time) float64 { return float64(at.UnixNano()) / 1e9 }

// states tells every word of a closed list, behind the labels before it.
func states(out emit, words []string, now string, before ...string) {
	for _, word := range words {
		out(number(word == now), append(before[:len(before):len(before)], word)...)
	}
}

func journals(value func(*engine.JournalStatus) float64) func(*snapshot, emit) {
	return func(s *snapshot, out emit) {
		for i := range s.Journals {
			out(value(&s.Journals[i]), s.Journals[i].Name)
		}
	}
}

func counters(value func(*engine.JournalCounters) float64) func(*snapshot, emit) {
	return func(s *snapshot, out emit) {
		out(value(&s.Own), "own")
		out(value(&s.Mirror), "mirror")
	}
}

func rings(value func(*engine.RingCounters) float64) func(*snapshot, emit) {
	return func(s *snapshot, out emit) {
		out(value(&s.Links), "links")
		out(value(&s.Files), "files")
	}
}

func peers(value func(*engine.PeerStatus) float64) func(*snapshot, emit) {
	return func(s *snapshot, out emit) {
		for i := range s.Peers {
			out(value(&s.Peers[i]), s.Peers[i].Site)
		}
	}
}

// lags tells a figure of each peer at both levels.
func lags(take func(at time.Time, l *engine.LagStatus, out func(float64))) func(*snapshot, emit) {
	return func(s *snapshot, out emit) {
		for i := range s.Peers {
			p := &s.Peers[i]
			take(s.At, &p.Durable, func(v float64) { out(v, p.Site, "durable") })
			take(s.At, &p.Applied, func(v float64) { out(v, p.Site, "applied") })
		}
	}
}

// behinds tells how far this site is behind each peer that writes.
func behinds(take func(at time.Time, l *engine.LagStatus, out func(float64))) func(*snapshot, emit) {
	return func(s *snapshot, out emit) {
		for i := range s.Peers {
			if p := &s.Peers[i]; p.Behind != nil {
				take(s.At, p.Behind, func(v float64) { out(v, p.Site) })
			}
		}
	}
}
