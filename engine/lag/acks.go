package lag

import (
	"time"

	"github.com/claudefs/repl/wire"
)

// Acks is how long a peer took to confirm what became durable here: per log and ack or
// page, from the oldest entry that it newly tells of. Entries of earlier lives are left out.
type Acks struct{ Durable, Applied Histogram }

// Observe counts an entry that became durable at since, 0 = not known, and is confirmed at now.
func (a *Acks) Observe(level wire.AckLevel, now, since time.Duration) {
	switch {
	case since == 0:
	case level == wire.LevelDurable:
		a.Durable.Observe(now - since)
	case level == wire.LevelApplied:
		a.Applied.Observe(now - since)
	}
}
