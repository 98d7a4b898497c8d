package plan

import (
	"math/rand/v2"
	"time"

	"github.com/zeebo/xxh3"
)

// Stream is one named source of randomness of a seed. Each consumer has its
// own, so that a new consumer shifts nobody else's draws.
type Stream struct{ *rand.Rand }

// NewStream is the source that name has of a seed.
func NewStream(seed uint64, name string) Stream {
	return Stream{rand.New(rand.NewPCG(seed, xxh3.HashString(name)))}
}

// OneIn is true once in n draws.
func (s Stream) OneIn(n int) bool { return s.IntN(n) == 0 }

// Between draws from [lo, hi).
func (s Stream) Between(lo, hi time.Duration) time.Duration {
	return lo + time.Duration(s.Int64N(int64(hi-lo)))
}

// Size draws from [0, max] with small values far more often than large ones:
// each octave is as likely as the next.
func (s Stream) Size(max int) int {
	bits := 0
	for max>>bits > 0 {
		bits++
	}
	return min(max, s.IntN(1<<s.IntN(bits+1)))
}

// Exponential draws a waiting time with this mean, cut at eight times the mean.
// It multiplies integers only: the same on every machine.
func (s Stream) Exponential(mean time.Duration) time.Duration {
	// -ln(u) as the number of halvings: geometric in steps of an eighth.
	steps := time.Duration(0)
	for steps < 64 && s.IntN(1000) >= 118 { // (1-0.118)^8 ≈ e^-1
		steps++
	}
	return mean * steps / 8
}
