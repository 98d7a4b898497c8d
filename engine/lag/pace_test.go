package lag

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A rate is told while something is missing and some of it came lately; else nothing is.
func TestCatchUpTellsRateAndTimeLeft(t *testing.T) {
	var p Pace
	lag := Lag{Known: true, Bytes: 4000}
	for second := time.Duration(1); second <= 8; second++ {
		p.Confirmed(second*time.Second, 1000)
	}
	rate, left := p.CatchUp(8*time.Second, lag)
	require.InDelta(t, 1000, rate, 1)
	require.InDelta(t, 4, left, 0.01)
	for _, lag := range []Lag{{Known: true}, {Bytes: 4000}, {Known: true, Bytes: -1}} {
		rate, left = p.CatchUp(8*time.Second, lag)
		require.Zero(t, rate+left)
	}
	rate, left = p.CatchUp(20*time.Second, lag)
	require.Zero(t, rate+left, "it stands")
}
