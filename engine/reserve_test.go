package engine_test

import (
	"context"
	"testing"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/wire"
	"github.com/stretchr/testify/require"
)

func alone(t testing.TB) *site {
	a, _ := pair(t)
	a.options.Peers, a.options.Listen = nil, ""
	return a.start()
}

func TestReservedEntryIsAppliedAsAnAppendedOne(t *testing.T) {
	a, b := pair(t)
	b.start()
	a.start()
	r, err := a.Reserve(soon(t), 2, entry("k", ""), 5)
	require.NoError(t, err)
	copy(r.Payload, "value")
	_, err = r.Commit(soon(t), engine.Applied(1))
	require.NoError(t, err)
	require.Equal(t, "value", b.value(2, "k"))
	sameDigests(t, a, b)
}

func TestAppendWaitsForTheReservationOfItsShard(t *testing.T) {
	a := alone(t)
	a.put(0, "k", "old", engine.Local)
	r, err := a.Reserve(soon(t), 0, entry("k", ""), 3)
	require.NoError(t, err)
	a.put(1, "other", "shard", engine.Local)
	short, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = a.Append(short, 0, entry("k", "new"), engine.Local)
	require.ErrorIs(t, err, engine.ErrBusy)
	second := make(chan engine.Ref)
	go func() { // Ends when the reservation has.
		ref, err := a.Append(soon(t), 0, entry("k", "new"), engine.AppliedHere)
		if err != nil {
			t.Error(err)
		}
		second <- ref
	}()
	copy(r.Payload, "mid")
	first, err := r.Commit(soon(t), engine.Local)
	require.NoError(t, err)
	require.Equal(t, first.Seq+1, (<-second).Seq)
	require.Equal(t, "new", a.value(0, "k"))
}

func TestAbortedReservationLetsOthersOn(t *testing.T) {
	a := alone(t)
	r, err := a.Reserve(soon(t), 0, entry("k", ""), 1<<20)
	require.NoError(t, err)
	r.Abort()
	require.Panics(t, func() { _, _ = r.Commit(soon(t), engine.Local) })
	require.Panics(t, func() { r.Abort() })
	a.put(0, "k", "v", engine.AppliedHere)
	require.Equal(t, "v", a.value(0, "k"))
	r, err = a.Reserve(soon(t), 0, entry("k", ""), 1)
	require.NoError(t, err)
	_, err = r.Commit(soon(t), engine.Durable(7))
	require.ErrorIs(t, err, engine.ErrOptions)
	a.put(0, "k", "w", engine.AppliedHere)
	a.end()
	_, err = a.Reserve(soon(t), 0, entry("k", ""), 1)
	require.ErrorIs(t, err, engine.ErrClosed)
}

func TestCloseWaitsForAReservation(t *testing.T) { // I1
	a := alone(t)
	r, err := a.Reserve(soon(t), 0, entry("k", ""), 1)
	require.NoError(t, err)
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	require.ErrorIs(t, a.Close(ended), context.Canceled)
	_, err = r.Commit(soon(t), engine.Local)
	require.NoError(t, err)
	a.end()
}

func TestReservationBeyondTheLimitsIsRefused(t *testing.T) {
	a := alone(t)
	_, err := a.Reserve(soon(t), 0, entry("k", ""), wire.EntryPayloadBytesMax+1)
	require.ErrorIs(t, err, wire.ErrLimit)
	_, err = a.Reserve(soon(t), 99, entry("k", ""), 1)
	require.ErrorIs(t, err, engine.ErrOptions)
	_, err = a.Reserve(soon(t), 0, entry("k", "payload"), 1)
	require.Error(t, err)
	a.put(0, "k", "v", engine.Local)
}

func TestReservingAllocatesNothing(t *testing.T) {
	a, _ := pair(t)
	a.quiet(t)
	a.options.RecentBytesMax = 4 << 20
	a.options.Peers, a.options.Listen = nil, ""
	a.start()
	e, ctx, n := entry("some key", ""), context.Background(), 0
	one := func() {
		r, err := a.Reserve(ctx, 0, e, 20_000)
		if err != nil {
			panic(err)
		}
		r.Payload[0]++
		level := engine.Async
		if n++; n%100 == 0 {
			level = engine.Local
		}
		if _, err := r.Commit(ctx, level); err != nil {
			panic(err)
		}
	}
	for range 2000 {
		one()
	}
	require.Less(t, testing.AllocsPerRun(2000, one), 0.5)
}
