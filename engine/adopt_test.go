package engine_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/claudefs/repl/engine"
	"github.com/stretchr/testify/require"
)

// giveBack appends until both sites have given segments back, and everything is applied.
func giveBack(t *testing.T, a, b *site) {
	t.Helper()
	payload := strings.Repeat("x", 500_000)
	for i := range 60 {
		a.put(engine.Shard(i%4), fmt.Sprint("first ", i), payload, engine.Applied(1))
	}
	for ctx := soon(t); a.Status().Journals[0].Segments > 3 || b.Status().Journals[1].Segments > 3; pause() {
		a.put(0, "more", "v", engine.Applied(1))
		require.NoError(t, ctx.Err())
	}
}

// TestLostOwnJournalGoesOnBehindTheStore: the own journal is gone, and the peer has given
// back what was in it. The Store has it all: the log goes on behind that, and what the peer
// still keeps beyond comes back.
func TestLostOwnJournalGoesOnBehindTheStore(t *testing.T) {
	a, b := pair(t)
	b.start()
	a.start()
	giveBack(t, a, b)
	a.end()
	a.loseJournal("own")
	goesOnAsBefore(t, a, b, a)
}

// goesOnAsBefore opens and closes one of two sites several times: every shard takes
// appends, both sites are OK, and equal.
func goesOnAsBefore(t *testing.T, a, b, reopened *site) {
	for round := range 3 {
		reopened.start()
		for shard := range 4 {
			a.put(engine.Shard(shard), fmt.Sprint("after ", round), "v", engine.Applied(1))
		}
		a.healthy()
		b.healthy()
		sameDigests(t, a, b)
		reopened.end()
	}
}

// TestLostMirrorGoesOnBehindTheStore: a standby's replication directory is gone, and the
// writer has given back what was in it. Its Store has it all, so the mirror goes on behind
// that; what the writer still keeps comes again.
func TestLostMirrorGoesOnBehindTheStore(t *testing.T) {
	for _, names := range [][]string{{"mirror"}, {"own", "mirror"}} {
		t.Run(fmt.Sprint(names), func(t *testing.T) {
			a, b := pair(t)
			b.start()
			a.start()
			giveBack(t, a, b)
			b.end()
			for _, name := range names {
				b.loseJournal(name)
			}
			goesOnAsBefore(t, a, b, b)
		})
	}
}

// healthy waits until the site's status is OK.
func (s *site) healthy() {
	s.t.Helper()
	for ctx := soon(s.t); s.Status().Health != "OK"; pause() {
		require.NoError(s.t, ctx.Err(), s.Status().Reason)
	}
}
