package engine_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine"
)

// Each unit, and each confirmation of what this life wrote, is timed once.
func TestAppendFlushAndAckAreTimed(t *testing.T) {
	a, b := pair(t)
	b.start()
	a.start()
	require.Zero(t, a.Counters().Append.Count)
	const entries = 20
	for range entries {
		a.put(1, "k", "v", engine.Applied(1)) // one after the other: a unit each, at the least
	}
	c := a.Counters()
	require.GreaterOrEqual(t, c.Append.Count, uint64(entries))
	require.GreaterOrEqual(t, c.Own.Flush.Count, c.Append.Count, "a unit of control records has no entry")
	require.LessOrEqual(t, c.Own.Flush.Count, a.Counters().Own.Flushes)
	require.Len(t, c.Acks, 1)
	require.Equal(t, "site-b", c.Acks[0].Site)
	require.GreaterOrEqual(t, c.Acks[0].Durable.Count, uint64(entries))
	require.GreaterOrEqual(t, c.Acks[0].Applied.Count, uint64(entries))
	for _, h := range []engine.Histogram{c.Append, c.Own.Flush, c.Acks[0].Durable, b.Counters().Mirror.Flush} {
		require.Positive(t, h.Sum)
		require.Len(t, h.Counts, len(h.Bounds))
		require.LessOrEqual(t, h.Counts[len(h.Counts)-1], h.Count)
	}
	require.Zero(t, b.Counters().Acks[0].Durable.Count, "a standby writes nothing")
}
