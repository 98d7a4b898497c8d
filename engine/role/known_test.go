package role_test

import (
	"testing"

	"github.com/claudefs/repl/engine/role"
	"github.com/claudefs/repl/wire"
	"github.com/stretchr/testify/require"
)

// cursor is where the journals end in the log of an epoch; in the shorthand of start, 1A:5 is
// cursor(1, 5).
func cursor(epoch wire.Epoch, seq wire.Seq) wire.Cursor {
	return wire.Cursor{Log: wire.LogID{Site: wire.SiteID(epoch), Shard: 7}, Position: end(epoch, seq), Epoch: epoch}
}

// TestRowsNameTheNewestThatSurvives: at its known end, else where it is held; also what is held
// no more, and not what ends at zero.
func TestRowsNameTheNewestThatSurvives(t *testing.T) {
	var none *role.Ends
	require.Equal(t, start(9, 1, 5).Rows, none.Rows([]wire.Cursor{cursor(1, 5)}))
	require.Empty(t, none.Rows(nil))

	var e role.Ends
	require.NoError(t, e.Add(start(1)))
	require.NoError(t, e.Add(start(2, 1, 4)))
	require.NoError(t, e.Add(start(3, 1, 6)))
	held := []wire.Cursor{cursor(1, 7), cursor(2, 3), cursor(3, 8)}
	require.Equal(t, start(9, 1, 6, 3, 8).Rows, e.Rows(held), "2 did not survive, 1 ends at 6")
	require.Equal(t, start(9, 1, 6).Rows, e.Rows(nil), "it is kept no more")

	same := cursor(3, 8) // site 1 wrote in epoch 3 as well
	same.Log.Site = 1
	require.Equal(t, []wire.LogEnd{{Log: same.Log, End: end(3, 8)}}, e.Rows([]wire.Cursor{same, cursor(1, 7)}))
}

// TestKnownTellsWhereOlderIncarnationsEnd: of all that one log had, and of no other one.
func TestKnownTellsWhereOlderIncarnationsEnd(t *testing.T) {
	var k role.Known
	require.Nil(t, k.Of(7))
	require.Equal(t, role.First, k.EpochOf(7, inc(1)))
	require.Equal(t, role.First, k.Highest())
	second, fourth := start(2, 1, 4), start(4, 2, 3)
	second.Before, fourth.Before = end(1, 6), end(2, 3)
	for i, s := range []role.Start{second, fourth, second} {
		fresh, err := k.Add(s)
		require.NoError(t, err)
		require.Equal(t, i < 2, fresh)
	}
	require.Equal(t, end(1, 6), k.Left(7, inc(1)))
	require.Equal(t, end(2, 3), k.Left(7, inc(2)))
	require.Zero(t, k.Left(7, inc(4)), "it is the newest")
	require.Zero(t, k.Left(6, inc(1)))
	require.Equal(t, []wire.Epoch{1, 2}, []wire.Epoch{k.AllLeft(7)[0].Epoch, k.AllLeft(7)[1].Epoch})
	require.Equal(t, wire.Epoch(4), k.EpochOf(7, inc(4)))
	require.Equal(t, wire.Epoch(4), k.Highest())
	other := start(4)
	other.Incarnation = inc(9)
	_, err := k.Add(other)
	require.ErrorIs(t, err, role.ErrTwoWriters)
}
