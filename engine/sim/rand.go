package sim

import (
	"math/rand/v2"
	"time"

	"github.com/claudefs/repl/engine/sim/plan"
	"github.com/zeebo/xxh3"
)

// stream is a named source of a world's seed that begins again at each moment of the
// world: what it draws depends on when, and not on how much was drawn before. So an
// item that is left out of a plan moves what hung on it, and nothing else; were it
// to move every later delay, no coincidence would survive a shrinker.
func (w *world) stream(name string) plan.Stream {
	return plan.Stream{Rand: rand.New(&moments{now: &w.now, seed: w.o.Seed ^ xxh3.HashString(name), at: -1})}
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
