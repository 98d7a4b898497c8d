package role_test

import (
	"math"
	"testing"
	"time"

	"github.com/claudefs/repl/engine/role"
	"github.com/claudefs/repl/wire"
	"github.com/stretchr/testify/require"
)

func TestEpochNamesItsWriter(t *testing.T) {
	const a, b = wire.SiteID(0xfffffff0), wire.SiteID(3)
	require.Zero(t, role.WriterOf(role.First))
	first, err := role.Next(0, a)
	require.NoError(t, err)
	require.Equal(t, a, role.WriterOf(first))
	require.Greater(t, first, role.First)
	second, err := role.Next(first, b)
	require.NoError(t, err)
	require.Greater(t, second, first, "the counter decides, not the site")
	require.Equal(t, b, role.WriterOf(second))
	other, err := role.Next(first, a)
	require.NoError(t, err)
	require.NotEqual(t, second, other, "two operators make two epochs")
	_, err = role.Next(math.MaxUint64, b)
	require.ErrorIs(t, err, wire.ErrLimit)
}

func TestLonePromotionIsAboveForgottenEpochs(t *testing.T) {
	now := time.Date(2026, 11, 30, 0, 0, 0, 0, time.UTC)
	one, err := role.NextAlone(0, 7, now)
	require.NoError(t, err)
	require.Equal(t, wire.Epoch(now.Unix()-1577836800), one>>32)
	forgotten, err := role.NextAlone(0, 7, now.Add(time.Second)) // from the same image, later
	require.NoError(t, err)
	require.Greater(t, forgotten, one)
	above, err := role.NextAlone(forgotten, 7, now) // a clock that stepped back
	require.NoError(t, err)
	require.Equal(t, forgotten>>32+1, above>>32)
	for _, wall := range []time.Time{{}, time.Unix(0, 0), counterEnd} {
		e, err := role.NextAlone(5<<32, 7, wall)
		require.NoError(t, err)
		require.Greater(t, e>>32, wire.Epoch(5))
	}
}

// counterEnd is when counters that come from a clock are used up.
var counterEnd = time.Date(2156, 2, 7, 6, 28, 15, 0, time.UTC)
