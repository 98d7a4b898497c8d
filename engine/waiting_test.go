package engine_test

import (
	"testing"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/wire"
	"github.com/stretchr/testify/require"
)

// TestWaitOfAnotherIncarnationHarmsNobody: before the shard is admitted somebody waits
// for an entry of another incarnation. Entries of this one are as durable as before.
func TestWaitOfAnotherIncarnationHarmsNobody(t *testing.T) {
	a, b := pair(t)
	a.options.VerifyWait = patience
	b.start()
	a.start()
	ref := a.put(1, "k", "v", engine.Durable(1))
	a.end()
	b.end()
	a.start() // It waits for site-b.
	other := ref
	other.Incarnation = wire.Incarnation{9}
	require.ErrorIs(t, a.Wait(soon(t), other, engine.Local), engine.ErrStopped)
	require.NoError(t, a.Wait(soon(t), ref, engine.Local))
	require.NoError(t, a.Wait(soon(t), ref, engine.AppliedHere))
	b.start()
	require.NoError(t, a.Wait(soon(t), ref, engine.Applied(1)))
	unknown := ref
	unknown.Log.Shard, unknown.Incarnation = 2, wire.Incarnation{}
	require.ErrorIs(t, a.Wait(soon(t), unknown, engine.Local), engine.ErrOptions, "a log without an entry")
	other.Log.Shard = 3
	require.ErrorIs(t, a.Wait(soon(t), other, engine.Local), engine.ErrStopped)
}
