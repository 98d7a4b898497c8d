package sim

import (
	"math/rand/v2"
	"time"

	"github.com/zeebo/xxh3"
)

// stream is one named source of randomness of a seed. Each consumer has its
// own, so that a new consumer shifts nobody else's draws.
type stream struct{ *rand.Rand }

func newStream(seed uint64, name string) stream {
	return stream{rand.New(rand.NewPCG(seed, xxh3.HashString(name)))}
}

// stream is a named source of a world's seed that begins anew at each moment of the
// world: what it draws depends on when, and not on how much was drawn before. So an
// item that is left out of a plan moves what hung on it, and nothing else; were it
// to move every later delay, no coincidence would survive a shrinker.
func (w *world) stream(name string) stream {
	return stream{rand.New(&moments{now: &w.now, seed: w.o.Seed ^ xxh3.HashString(name), at: -1})}
}

// moments is a source that is seeded by its seed and the moment.
type moments struct {
	now  *time.Duration
	seed uint64
	at   time.Duration // the moment that pcg was seeded by
	pcg  rand.PCG
}

func (m *moments) Uint64() uint64 {
	if m.at != *m.now {
		m.at = *m.now
		m.pcg.Seed(m.seed, uint64(m.at))
	}
	return m.pcg.Uint64()
}

// oneIn is true once in n draws.
func (s stream) oneIn(n int) bool { return s.IntN(n) == 0 }

// between draws from [lo, hi).
func (s stream) between(lo, hi time.Duration) time.Duration {
	return lo + time.Duration(s.Int64N(int64(hi-lo)))
}

// size draws from [0, max] with small values far more often than large ones:
// each octave is as likely as the next.
func (s stream) size(max int) int {
	bits := 0
	for max>>bits > 0 {
		bits++
	}
	return min(max, s.IntN(1<<s.IntN(bits+1)))
}

// exponential draws a waiting time with this mean, cut at eight times the mean.
// It multiplies integers only: the same on every machine.
func (s stream) exponential(mean time.Duration) time.Duration {
	// -ln(u) as the number of halvings: geometric in steps of an eighth.
	steps := time.Duration(0)
	for steps < 64 && s.IntN(1000) >= 118 { // (1-0.118)^8 ≈ e^-1
		steps++
	}
	return mean * steps / 8
}
