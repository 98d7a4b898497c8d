package node

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/claudefs/repl/engine/lag"
	"github.com/claudefs/repl/engine/stream"
	"github.com/claudefs/repl/wire"
)

// tickAll lets time go by in one leap: timers that were due fire once.
func (w *world) tickAll(d time.Duration) {
	w.mono += d
	for _, s := range w.sites {
		if s.node != nil {
			s.step(&Tick{})
		}
	}
}

func (s *site) admitted(shard wire.Shard) bool {
	if s.node == nil {
		return false
	}
	a := s.node.own[shard].State
	return a == AdmitVerified || a == AdmitUnverified
}

// shake makes random moves: work done in any order, cuts, crashes, pauses, links that
// take over.
func (w *world) shake(t *rapid.T, a *site, steps int) {
	for range steps {
		switch rapid.IntRange(0, 39).Draw(t, "move") {
		case 0:
			if len(w.pipes) > 0 {
				w.pipes[rapid.IntRange(max(0, len(w.pipes)-3), len(w.pipes)-1).Draw(t, "pipe")].cut(errors.New("reset"))
			}
		case 1:
			s := w.sites[rapid.IntRange(0, len(w.sites)-1).Draw(t, "site")]
			s.crash()
			if logs := s.mirror.logs(); w.damages && len(logs) > 0 && rapid.Bool().Draw(t, "damage") {
				s.suspect[Mirror] = []wire.LogID{logs[rapid.IntRange(0, len(logs)-1).Draw(t, "suspect")].ID}
			}
			s.open()
		case 2, 3, 4:
			w.tickAll(time.Duration(rapid.IntRange(1, 900).Draw(t, "ms")) * time.Millisecond)
		case 5, 6, 7, 8:
			shard := wire.Shard(rapid.IntRange(0, 2).Draw(t, "shard"))
			if a.admitted(shard) {
				a.append(shard, uint32(rapid.IntRange(1, 20).Draw(t, "count")))
			}
		case 9:
			w.sites[rapid.IntRange(0, len(w.sites)-1).Draw(t, "site")].takeOver(0)
		default:
			if moves := w.moves(); len(moves) > 0 {
				moves[rapid.IntRange(0, len(moves)-1).Draw(t, "which")]()
			}
		}
		if w.fault != nil {
			t.Fatal(w.fault)
		}
	}
}

// sameLogs checks that a mirror holds each batch of the other's logs once, in
// order.
func sameLogs(t require.TestingT, a, b *site) {
	for shard := wire.Shard(0); uint32(shard) < a.c.Shards; shard++ {
		pick := func(d *disk) (list []wire.BatchHeader) {
			for i := range d.batches {
				if d.batches[i].Shard == shard {
					list = append(list, d.batches[i])
				}
			}
			return list
		}
		require.Equal(t, pick(&a.own), pick(&b.mirror))
		log := wire.LogID{Site: a.c.Site, Shard: shard}
		require.Equal(t, a.own.tail(log).Seq, b.cursor(log).Seq)
	}
}

// After any interleaving of work, cuts and crashes of both ends, and once the
// network heals: every entry is in the mirror once (I2), in order and applied
// (I3), nothing was called durable that is not (I1), no history was called
// different (I4), and lag is a proven zero (I14).
func TestAnyInterleavingReplicatesEveryBatchOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, a, b, c := trio()
		others := []*site{b, c}
		if rapid.Bool().Draw(t, "two sites") {
			w, a, b = pair()
			others = others[:1]
			others[0] = b
		}
		w.damages = true
		for _, s := range w.sites {
			s.open()
		}
		w.shake(t, a, rapid.IntRange(10, 400).Draw(t, "steps"))
		w.pass(15 * time.Second)
		require.NoError(t, w.fault)
		for _, other := range others {
			sameLogs(t, a, other)
			require.Empty(t, other.suspect[Mirror], "the writer proves every tail")
		}
		for _, line := range w.said {
			if strings.Contains(line, "!") {
				require.True(t, strings.Contains(line, "unverified!") || strings.Contains(line, "repair-failed!"), line)
			}
		}
		for _, p := range a.node.Status(w.now()).Peers {
			require.Equal(t, lag.Lag{Known: true}, p.Durable)
			require.Equal(t, lag.Lag{Known: true}, p.Applied)
			require.Equal(t, stream.WaitNothing, p.WaitingOn)
		}
	})
}

// A source that comes back from an older image gets everything back before it
// appends, whatever happens while it does, as long as its peer answers first.
func TestLostDataComesBackThroughCutsAndCrashes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		a := w.addSite("site-a", 3, "site-a", "site-b")
		b := w.addSite("site-b", 3, "site-a", "site-a")
		a.c.VerifyWait = time.Hour
		a.open()
		b.open()
		w.shake(t, a, 200)
		w.pass(10 * time.Second)
		image := a.copyDisks()
		for range rapid.IntRange(1, 10).Draw(t, "appends") {
			a.append(wire.Shard(rapid.IntRange(0, 2).Draw(t, "shard")), 3)
		}
		w.pass(10 * time.Second)
		want := slices.Clone(b.mirror.batches)
		a.crash()
		a.own, a.mirror, a.peers, a.applied = image.own, image.mirror, image.peers, image.applied
		a.open()
		w.shake(t, a, rapid.IntRange(0, 200).Draw(t, "steps"))
		w.pass(15 * time.Second)
		require.NoError(t, w.fault)
		require.Equal(t, want, b.mirror.batches[:len(want)], "nothing is overwritten")
		for shard := range a.node.own {
			require.Equal(t, AdmitVerified, a.node.own[shard].State)
			log := wire.LogID{Site: a.c.Site, Shard: wire.Shard(shard)}
			require.Equal(t, a.own.tail(log).Position, b.mirror.tail(log).Position)
		}
	})
}

// The same steps give the same effects: two runs of one seed say the same.
func TestSameStepsGiveTheSameEffects(t *testing.T) {
	run := func() string {
		w := newWorld()
		w.trace = true
		a := w.addSite("site-a", 64, "site-a", "site-b")
		b := w.addSite("site-b", 64, "site-a", "site-a")
		a.open()
		b.open()
		w.pass(time.Second)
		for i := range 200 {
			a.append(wire.Shard(i*7%64), 2)
		}
		w.pass(time.Second)
		w.pipes[0].cut(errors.New("reset"))
		w.pass(5 * time.Second)
		return w.take()
	}
	require.Equal(t, run(), run())
}
