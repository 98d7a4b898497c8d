package lag

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestHistogramCountsInItsBuckets(t *testing.T) {
	var h Histogram
	bounds := HistogramBounds()
	for i, bound := range bounds {
		h.Observe(bound)
		h.Observe(bound + 1)
		require.Equal(t, uint64(1), h.Counts[i]-uint64(min(i, 1)), "a bound belongs to its bucket: %s", bound)
	}
	h.Observe(-time.Second)
	require.Equal(t, uint64(2), h.Counts[0])
	require.Equal(t, uint64(1), h.Counts[len(bounds)])
	require.Zero(t, testing.AllocsPerRun(100, func() { h.Observe(time.Hour) }))
}
