package journal

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/claudefs/repl/wire"
)

// TestAdoptedLogBeginsBehindItsTail: what somebody with less needs is gone at once, and to
// the next Open nothing is missing before it, with a unit behind it or without.
func TestAdoptedLogBeginsBehindItsTail(t *testing.T) {
	for _, units := range []int{0, 1, 40} {
		o := testOptions(vfs.NewMem(vfs.MemOptions{}))
		j, _ := reopen(t, o, nil)
		w, log := newWriter(5), wire.LogID{Site: 5}
		var early wire.Position
		for i := range 20 { // of them the journal gets some
			b := w.batch(0, 100)
			if i < 5 {
				early = b.Header.End()
				_, err := j.Stage([]wire.BatchRef{b}, nil)
				require.NoError(t, err)
			}
		}
		require.NoError(t, flush(j))
		tail := w.tails[log]
		gone := func(j *Journal, at wire.Position) []wire.LogID {
			have := func(wire.LogID) wire.Position { return at }
			_, err := j.SegmentStart(have, nil)
			lacks := j.NotRetained(have)
			require.Equal(t, len(lacks) > 0, err != nil)
			return lacks
		}
		require.Empty(t, gone(j, early))
		j.Adopt(log, tail)
		require.Equal(t, []wire.LogID{log}, gone(j, early))
		require.Equal(t, []wire.LogID{log}, gone(j, wire.Position{}))
		require.Empty(t, gone(j, tail.Position))
		for range units {
			_, err := j.Stage([]wire.BatchRef{w.batch(0, 2000)}, nil)
			require.NoError(t, err)
			require.NoError(t, flush(j))
		}
		for range 2 {
			var rec *Recovery
			j, rec = reopen(t, o, j)
			require.Empty(t, rec.Damage)
			require.Empty(t, j.Holes())
			if units > 0 {
				at, _ := j.Tail(log)
				require.Equal(t, w.tails[log], at)
				require.Equal(t, []wire.LogID{log}, gone(j, early))
				require.Empty(t, gone(j, tail.Position))
			}
		}
		require.NoError(t, j.Close())
	}
}
