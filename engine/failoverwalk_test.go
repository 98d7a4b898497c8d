package engine_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/claudefs/repl/engine"
	"github.com/stretchr/testify/require"
)

// walk is three sites and an operator who moves the writer, beside power cuts of one site at a time.
type walk struct {
	t      *testing.T
	draw   *rand.Rand
	sites  []*site
	down   *site
	acked  map[string]string // by key: durable at two sites at least
	keys   int
	orphan int // sites whose Store holds what did not survive: their shards stop
}

// writer is the running site that takes appends in the highest epoch; nil = it is down.
func (w *walk) writer() *site {
	var writer *site
	for _, s := range w.up() {
		if st := s.Status(); st.Primary == s.options.Site && (writer == nil || st.Epoch > writer.Status().Epoch) {
			writer = s
		}
	}
	return writer
}

func (w *walk) up() (up []*site) {
	for _, s := range w.sites {
		if s != w.down {
			up = append(up, s)
		}
	}
	return up
}

// put appends some entries, and remembers those that were acknowledged as durable at two sites.
func (w *walk) put() {
	s := w.writer()
	if s == nil {
		return
	}
	for range 1 + w.draw.IntN(4) {
		w.keys++
		key, ctx := fmt.Sprint("k", w.keys), soon(w.t)
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		_, err := s.Append(ctx, engine.Shard(w.keys%4), entry(key, "v"), engine.Durable(1))
		cancel()
		if err == nil {
			w.acked[key] = "v"
		}
	}
}

// linked says whether a site has heard every other one that is up.
func (w *walk) linked(s *site) bool {
	live := 0
	for _, p := range s.Status().Peers {
		if p.Link == "live" && p.Durable.State == engine.LagKnown {
			live++
		}
	}
	return live >= len(w.up())-1
}

func (w *walk) whole(s *site) bool { return len(s.Status().StoppedLogs) == 0 }

// move has the writer hand over, or where it is down has another site take over.
func (w *walk) move() {
	up := w.up()
	to := up[w.draw.IntN(len(up))]
	from := w.writer()
	switch {
	case !w.whole(to) || from == to:
		return
	case from == nil:
		require.Eventually(w.t, func() bool { return w.linked(to) }, patience, time.Millisecond)
		from = to
	}
	_, err := from.Failover(soon(w.t), to.options.Site, engine.FailoverOptions{Timeout: 3 * time.Second})
	switch {
	case errors.Is(err, engine.ErrUnavailable):
		return
	case err != nil: // an earlier move has come through since
		require.ErrorContains(w.t, err, "writes already")
	}
	to.follows(to.options.Site)
}

// cut takes the power from a site, or gives it back.
func (w *walk) cut() {
	if w.down != nil {
		w.down.start()
		w.down = nil
		return
	}
	w.down = w.sites[w.draw.IntN(len(w.sites))]
	w.down.crash()
}

// end has everybody run, and compares.
func (w *walk) end() {
	if w.down != nil {
		w.cut()
	}
	require.Eventually(w.t, func() bool { return w.writer() != nil }, patience, time.Millisecond)
	writer := w.writer()
	for _, s := range w.sites {
		s.follows(writer.options.Site)
	}
	writer.writes()
	whole := []*site{}
	for shard := range engine.Shard(4) {
		writer.put(shard, "last", "x", engine.Durable(2))
	}
	for _, s := range w.sites {
		require.Eventually(w.t, func() bool {
			return !w.whole(s) || s.value(0, "last") == "x" && s.value(3, "last") == "x"
		}, patience, time.Millisecond)
		if w.whole(s) {
			whole = append(whole, s)
		} else {
			w.orphan++
			require.Contains(w.t, s.Status().StoppedLogs[0].Reason, "past the end")
		}
	}
	require.Contains(w.t, whole, writer)
	for key, want := range w.acked {
		var n int
		fmt.Sscan(key[1:], &n)
		require.Equal(w.t, want, writer.value(engine.Shard(n%4), key), "%s was durable at two sites (I1)", key)
	}
	for _, s := range whole {
		if s != writer {
			for shard := range engine.Shard(4) {
				writer.put(shard, "last", "y", engine.Applied(len(whole)-1))
			}
			sameDigests(w.t, writer, s)
		}
	}
}

// TestWriterMovesAtRandom: switchovers, promotions and power cuts in any order, of one site at a
// time: one site writes at the end, nothing that was durable at two sites is lost, and all Stores
// are equal but those that say that they are past an end (I1, I5, I6, I7).
func TestWriterMovesAtRandom(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			a, b, c := three(t)
			w := &walk{t: t, draw: rand.New(rand.NewPCG(seed, 1)), sites: []*site{a, b, c}}
			w.acked = map[string]string{}
			for _, s := range w.sites {
				s.unnamed().start()
			}
			a.writes()
			for range 24 {
				switch w.draw.IntN(4) {
				case 0:
					w.cut()
				case 1:
					w.move()
				default:
					w.put()
				}
			}
			w.end()
			t.Logf("walk: acked=%d orphans=%d epoch=%d", len(w.acked), w.orphan, a.Status().Epoch>>32)
		})
	}
}
