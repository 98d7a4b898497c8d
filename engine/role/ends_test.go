package role_test

import (
	"testing"

	"github.com/claudefs/repl/engine/role"
	"github.com/claudefs/repl/wire"
	"github.com/stretchr/testify/require"
)

// inc is the incarnation that a site opens in an epoch: "2B" in the comments below.
func inc(epoch wire.Epoch) wire.Incarnation { return wire.Incarnation{byte(epoch), 1} }

func end(epoch wire.Epoch, seq wire.Seq) wire.Position {
	return wire.Position{Incarnation: inc(epoch), Seq: seq, Chain: wire.Chain{byte(epoch), byte(seq)}}
}

// start is the START of an epoch, with rows epoch, seq.
func start(epoch wire.Epoch, rows ...int) role.Start {
	s := role.Start{Log: wire.LogID{Site: wire.SiteID(epoch), Shard: 7}, Incarnation: inc(epoch), Epoch: epoch}
	for i := 0; i < len(rows); i += 2 {
		of := wire.Epoch(rows[i])
		s.Rows = append(s.Rows, wire.LogEnd{
			Log: wire.LogID{Site: wire.SiteID(of), Shard: 7}, End: end(of, wire.Seq(rows[i+1])),
		})
	}
	return s
}

func TestEndsComeFromTheLowestStartAbove(t *testing.T) {
	var e role.Ends
	_, bound := e.End(inc(1), 1)
	require.False(t, bound, "nothing is known")
	require.NoError(t, e.Add(start(1)))
	require.NoError(t, e.Add(start(3, 1, 5, 2, 9)))
	at, bound := e.End(inc(1), 1)
	require.True(t, bound)
	require.Equal(t, end(1, 5), at)
	require.False(t, e.Survives(2))

	// 2B arrives later: it survives, because 3A names it, and its row binds 1A now.
	require.NoError(t, e.Add(start(2, 1, 4)))
	require.True(t, e.Survives(2))
	at, _ = e.End(inc(1), 1)
	require.Equal(t, end(1, 4), at)
	at, _ = e.End(inc(2), 2)
	require.Equal(t, end(2, 9), at)
	_, bound = e.End(inc(3), 3)
	require.False(t, bound, "the epoch held is open")

	// 4C heard nothing of 3A: 3A ends at zero, and what it said of others does not count.
	require.NoError(t, e.Add(start(4, 1, 5, 2, 7)))
	require.False(t, e.Survives(3))
	at, bound = e.End(inc(3), 3)
	require.True(t, bound)
	require.Zero(t, at)
	at, _ = e.End(inc(2), 2)
	require.Equal(t, end(2, 7), at)
	require.True(t, e.Past(end(3, 1), 3))
	require.True(t, e.Past(end(2, 8), 2))
	require.False(t, e.Past(end(2, 7), 2))
	require.False(t, e.Past(wire.Position{}, 3))
	require.NoError(t, e.Check())
}

func TestDiscardedEpochTakesAlongWhatNamesIt(t *testing.T) {
	var e role.Ends
	for _, s := range []role.Start{start(1), start(2, 1, 4), start(3, 1, 4, 2, 3)} {
		require.NoError(t, e.Add(s))
	}
	e.Discard(2)
	e.Discard(2)
	require.True(t, e.Survives(1))
	require.False(t, e.Survives(2))
	require.False(t, e.Survives(3), "it names what was given up")
	for _, epoch := range []wire.Epoch{2, 3} {
		at, bound := e.End(inc(epoch), epoch)
		require.True(t, bound)
		require.Zero(t, at)
	}
	_, bound := e.End(inc(1), 1)
	require.False(t, bound, "nothing above it survives")
	require.NoError(t, e.Check())
}

func TestSecondIncarnationOfAnEpochIsRefused(t *testing.T) {
	var e role.Ends
	require.NoError(t, e.Add(start(2)))
	require.NoError(t, e.Add(start(2)), "the same again")
	other := start(2)
	other.Incarnation = inc(9)
	require.ErrorIs(t, e.Add(other), role.ErrTwoWriters)
	require.Zero(t, e.Epoch(inc(9)))
	require.Equal(t, wire.Epoch(2), e.Epoch(inc(2)))
}

func TestStartIsTakenWhenItsRowsAreCovered(t *testing.T) {
	s := start(3, 1, 5, 2, 9)
	tails := map[wire.Incarnation]wire.Position{inc(1): end(1, 5)}
	tail := func(_ wire.LogID, i wire.Incarnation) wire.Position { return tails[i] }
	require.Equal(t, s.Rows[1:], s.Uncovered(tail))
	tails[inc(2)] = end(2, 8)
	require.Len(t, s.Uncovered(tail), 1)
	tails[inc(2)] = end(2, 10)
	require.Empty(t, s.Uncovered(tail))
}
