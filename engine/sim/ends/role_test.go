package ends

import (
	"math/rand/v2"
	"testing"

	"github.com/claudefs/repl/engine/role"
	"github.com/claudefs/repl/wire"
	"github.com/stretchr/testify/require"
)

func incarnationOf(l int) wire.Incarnation { return wire.Incarnation{byte(l + 1)} }

// endsOf gives a site's STARTs to the production code.
func endsOf(t *testing.T, w *State, s *site) *role.Ends {
	e := &role.Ends{}
	for l := range int(w.nLogs) {
		if s.known>>l&1 == 0 {
			continue
		}
		start := role.Start{Incarnation: incarnationOf(l), Epoch: wire.Epoch(w.logs[l].epoch)}
		for _, r := range w.logs[l].rows {
			if r.log > 0 {
				start.Rows = append(start.Rows, wire.LogEnd{
					End: wire.Position{Incarnation: incarnationOf(int(r.log) - 1), Seq: wire.Seq(r.seq)},
				})
			}
		}
		require.NoError(t, e.Add(start))
	}
	if s.discard > 0 {
		e.Discard(wire.Epoch(w.logs[s.discard-1].epoch))
	}
	require.NoError(t, e.Check())
	return e
}

// TestProductionComputesTheEndsOfTheModel walks through the large worlds and compares, in
// every state and at every site, what role.Ends says with what the model says.
func TestProductionComputesTheEndsOfTheModel(t *testing.T) {
	compared, bound := 0, 0
	for _, world := range walked {
		m := newModel(world.Bound)
		random := rand.New(rand.NewPCG(uint64(world.Promotions), 7))
		for range 60 {
			w := m.first()
			for range 60 {
				var to []State
				m.each(w, func(_ Step, after *State) bool { to = append(to, *after); return true })
				if len(to) == 0 {
					break
				}
				*w = to[random.IntN(len(to))]
				for x := range world.Sites {
					s := &w.sites[x]
					want, got := m.ends(w, s), endsOf(t, w, s)
					for l := range int(w.nLogs) {
						known := s.known>>l&1 == 1
						if s.discard > 0 && !known {
							continue // the model sees rows that the site does not
						}
						end, isBound := got.End(incarnationOf(l), wire.Epoch(w.logs[l].epoch))
						require.Equal(t, want.Bound[l], isBound, "%s: log %d", world.name, l)
						if isBound {
							bound++
							require.Equal(t, wire.Seq(want.End[l]), end.Seq, "%s: log %d", world.name, l)
						}
						if known {
							alive := got.Survives(wire.Epoch(w.logs[l].epoch))
							require.Equal(t, want.Alive>>l&1 == 1, alive, world.name)
						}
						compared++
					}
				}
			}
		}
	}
	require.Greater(t, compared, 10_000)
	require.Greater(t, bound, 1_000)
	t.Logf("%d ends compared, %d of them bound", compared, bound)
}
