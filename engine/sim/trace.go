package sim

import (
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"github.com/zeebo/xxh3"
)

// traceKept is how many lines a failure shows.
const traceKept = 40

// line is one event of the trace; text is made only when a failure is shown.
type line struct {
	at   time.Duration
	step int
	site int8 // -1 = the world
	what string
	a, b uint64
}

func (l line) String() string {
	who := "world "
	if l.site >= 0 {
		who = siteNames[l.site]
	}
	return fmt.Sprintf("%6d %12s %s %-18s %d %d", l.step, l.at, who, l.what, l.a, l.b)
}

// trace keeps the last lines of a run and a running hash over all of them.
type trace struct {
	hash uint64
	ring [traceKept]line
	n    int
	buf  [40]byte
	full *strings.Builder // nil unless every line is wanted
}

func (t *trace) add(l line) {
	t.ring[t.n%traceKept] = l
	t.n++
	le := binary.LittleEndian
	le.PutUint64(t.buf[0:], t.hash)
	le.PutUint64(t.buf[8:], uint64(l.at))
	le.PutUint64(t.buf[16:], l.a)
	le.PutUint64(t.buf[24:], l.b)
	le.PutUint64(t.buf[32:], xxh3.HashStringSeed(l.what, uint64(l.site)))
	t.hash = xxh3.Hash(t.buf[:])
	if t.full != nil {
		fmt.Fprintln(t.full, l)
	}
}

// last returns the kept lines, oldest first.
func (t *trace) last() string {
	var b strings.Builder
	for i := max(0, t.n-traceKept); i < t.n; i++ {
		fmt.Fprintln(&b, t.ring[i%traceKept])
	}
	return b.String()
}
