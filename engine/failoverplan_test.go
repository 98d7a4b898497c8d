package engine_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine"
)

// TestPlanIsDoneOnlyIfItHolds: an operator who agreed to a loss agreed to that one.
func TestPlanIsDoneOnlyIfItHolds(t *testing.T) {
	a, b := pair(t)
	a.start()
	b.start()
	a.put(1, "k", "v1", engine.Applied(1))
	plan := func() *engine.FailoverReport {
		r, err := b.Failover(soon(t), "site-b", engine.FailoverOptions{Only: true})
		require.NoError(t, err)
		require.Equal(t, engine.FailoverPromotion, r.How)
		require.True(t, r.Confirm)
		require.Len(t, r.Peers, 1)
		require.True(t, r.Peers[0].MayWrite)
		require.True(t, r.Peers[0].Reported)
		return r
	}
	seen := plan().Plan
	require.Equal(t, seen, plan().Plan, "nothing has changed")
	a.put(1, "k", "v2", engine.Applied(1))
	_, err := b.Failover(soon(t), "site-b", engine.FailoverOptions{Plan: seen})
	require.ErrorIs(t, err, engine.ErrPlan)
	require.ErrorContains(t, err, "where the logs end here")
	require.Equal(t, "site-a", b.Status().Primary)
	a.put(1, "k", "v3", engine.Applied(1))

	require.True(t, b.Status().MayPromote)
	now := plan().Plan
	r, err := b.Failover(soon(t), "site-b", engine.FailoverOptions{Plan: now})
	require.NoError(t, err)
	require.True(t, r.Done)
	b.writes()
	a.follows("site-b")
}

// TestPlanOfASwitchoverCountsWhatIsMissing: in sum, and in the shards that are missing most; and
// what is appended meanwhile needs no other plan.
func TestPlanOfASwitchoverCountsWhatIsMissing(t *testing.T) {
	a, b := pair(t)
	a.start()
	b.start()
	for shard := range 4 {
		a.put(engine.Shard(shard), "k", "v", engine.Applied(1))
	}
	plan := func() *engine.FailoverReport {
		r, err := a.Failover(soon(t), "site-b", engine.FailoverOptions{Only: true})
		require.NoError(t, err)
		require.False(t, r.Confirm)
		return r
	}
	before := plan()
	require.Zero(t, *before.MissingEntries)
	require.Empty(t, before.WorstShards)
	b.crash()
	a.put(1, "k", "v", engine.Local)
	for range 5 {
		a.put(2, "k", "v", engine.Local)
	}
	after := plan()
	require.EqualValues(t, 6, *after.MissingEntries)
	require.Equal(t, []engine.FailoverShard{{Shard: 2, Entries: 5}, {Shard: 1, Entries: 1}}, after.WorstShards)
	require.Equal(t, before.Plan, after.Plan)
}
