package engine_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/engine/store"
)

// hostPair is a pair whose writer has a log of its own, with an entry in shards 0 to 2.
func hostPair(t *testing.T) (a, b *site) {
	a, b = calm(t)
	a.options.AppendAt = true
	return a, b
}

func feedHost(t *testing.T, a *site, shards int) {
	for shard := range shards {
		_, _, err := a.AppendAt(soon(t), engine.Shard(shard), 1, entry("key", "value"), engine.Applied(1))
		require.NoError(t, err)
	}
}

// A host that applies its own log says with no cursor how far: the logs are compared,
// and the report says at once what was not.
func TestHostLogIsComparedWithoutWaiting(t *testing.T) {
	a, b := hostPair(t)
	a.start()
	b.start()
	feedHost(t, a, 3)
	for _, s := range []*site{a, b} {
		r := verify(t, s, engine.VerifyOptions{})
		require.Equal(t, engine.VerifyPartly, r.Result, asJSON(t, r))
		require.Empty(t, r.Ended, "it waited for what cannot come: %s", asJSON(t, r))
		peer := r.Peers[0]
		require.Empty(t, peer.Differences)
		require.Equal(t, 3, peer.LogsCompared)
		require.Equal(t, 1, peer.ShardsCompared, "nothing was ever written in the last shard")
		require.Len(t, peer.NotCompared, 1, "one reason, one gap: %s", asJSON(t, r))
		gap := peer.NotCompared[0]
		require.Equal(t, engine.VerifyGap{What: "state", Count: 3, Reason: gap.Reason, Lasting: true}, gap)
		require.Contains(t, gap.Reason, "log of site site-a: the host applies its own log")
	}
}

// followed is a Store whose changes another one takes as well, as a host's log has them
// applied at both sites.
type followed struct {
	*store.Mem
	host *store.Mem
}

func (f followed) Apply(ctx context.Context, c *store.Change) error {
	if err := f.host.Apply(ctx, c); err != nil {
		return err
	}
	return f.Mem.Apply(ctx, c)
}

// A host whose Store names how far its own log is applied is compared as any other.
func TestHostLogWithACursorIsEqual(t *testing.T) {
	a, b := hostPair(t)
	b.options.Store = followed{b.store, a.store}
	a.start()
	b.start()
	feedHost(t, a, 3)
	for _, s := range []*site{a, b} {
		r := verify(t, s, engine.VerifyOptions{})
		require.Equal(t, engine.VerifyEqual, r.Result, asJSON(t, r))
		require.Equal(t, a.options.Shards, r.Peers[0].ShardsCompared)
	}
}
