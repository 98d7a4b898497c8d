package engine_test

import (
	"context"
	"fmt"
	"runtime"
	"testing"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/wire/link/linktest"
	"github.com/claudefs/repl/wire/link/tcp"
	"github.com/stretchr/testify/require"
)

func TestThreeSitesHaveTheSameState(t *testing.T) {
	net := linktest.NewMemory()
	a := newSite(t, net, "site-a", "site-b", "site-c").start()
	b := newSite(t, net, "site-b", "site-a", "site-c").start()
	c := newSite(t, net, "site-c", "site-a", "site-b").start()
	for i := range 200 {
		a.put(engine.Shard(i%4), fmt.Sprintf("key %d", i%30), fmt.Sprint(i), engine.Async)
	}
	b.crash()
	for i := range 200 {
		a.put(engine.Shard(i%4), fmt.Sprintf("key %d", i%30), fmt.Sprint(i), engine.Durable(1))
	}
	b.start()
	for shard := range 4 {
		ref := a.put(engine.Shard(shard), "last", "v", engine.Durable(2))
		require.NoError(t, a.Wait(soon(t), ref, engine.Applied(2)))
	}
	sameDigests(t, a, b)
	sameDigests(t, a, c)
	require.Len(t, a.Status().Peers, 2)
}

// TestResetLinksLoseAndRepeatNothing resets the sockets between two sites again
// and again, in the middle of frames too (I2).
func TestResetLinksLoseAndRepeatNothing(t *testing.T) {
	net, err := tcp.New(tcp.Options{})
	require.NoError(t, err)
	a, b := newSite(t, net, "site-a", "site-b"), newSite(t, net, "site-b", "site-a")
	b.options.Listen, a.options.Listen = "127.0.0.1:0", ""
	b.options.Peers[0].Addrs = nil
	b.start()
	proxy, err := linktest.NewProxy(b.Addr())
	require.NoError(t, err)
	defer proxy.Close()
	a.options.Peers[0].Addrs = []string{proxy.Addr()}
	a.start()
	for round := range 10 {
		proxy.ResetAfter(linktest.ToTarget, int64(5000+7777*round))
		for i := range 50 {
			a.put(engine.Shard(i%4), fmt.Sprintf("key %d", i), fmt.Sprint(round), engine.Local)
		}
		a.put(0, "round", fmt.Sprint(round), engine.Durable(1))
		if round%3 == 0 {
			proxy.Reset()
		}
	}
	for shard := range 4 {
		a.put(engine.Shard(shard), "last", "v", engine.Applied(1))
	}
	require.Len(t, b.store.Rows(), 514)
	sameDigests(t, a, b)
}

// TestCutIsNoticedAndLagIsUnknownUntilItHeals: silence is never zero lag.
func TestCutIsNoticedAndLagIsUnknownUntilItHeals(t *testing.T) {
	net, err := tcp.New(tcp.Options{})
	require.NoError(t, err)
	a, b := newSite(t, net, "site-a", "site-b"), newSite(t, net, "site-b", "site-a")
	b.options.Listen, a.options.Listen = "127.0.0.1:0", ""
	b.options.Peers[0].Addrs = nil
	b.start()
	proxy, err := linktest.NewProxy(b.Addr())
	require.NoError(t, err)
	defer proxy.Close()
	a.options.Peers[0].Addrs = []string{proxy.Addr()}
	a.start()
	a.put(0, "k", "v", engine.Applied(1))
	proxy.Cut(linktest.Both)
	ref := a.put(0, "k", "later", engine.AppliedHere)
	a.awaitEvent("link-down")
	s := a.Status()
	require.Equal(t, "DEGRADED", s.Health)
	require.Equal(t, "unknown", s.Peers[0].Durable.State)
	require.Positive(t, *s.Peers[0].Durable.AtLeastSeconds)
	proxy.Heal()
	require.NoError(t, a.Wait(soon(t), ref, engine.Applied(1)))
	sameDigests(t, a, b)
}

func TestClosingLeavesNoGoroutineBehind(t *testing.T) {
	before := runtime.NumGoroutine()
	for range 3 {
		a, b := pair(t)
		a.start()
		b.start()
		a.put(0, "k", "v", engine.Applied(1))
		a.end()
		b.end()
		<-a.Done()
	}
	// A goroutine that has said its last word may take a moment to go.
	for ctx := soon(t); runtime.NumGoroutine() > before; pause() {
		require.NoError(t, ctx.Err(), "%d goroutines, %d before", runtime.NumGoroutine(), before)
	}
}

func TestAddressInUseReleasesDirectory(t *testing.T) {
	net := linktest.NewMemory()
	taken, err := net.Listen("site-a")
	require.NoError(t, err)
	a := newSite(t, net, "site-a", "site-b")
	require.ErrorContains(t, a.refused(), "listening at site-a")
	require.NoError(t, taken.Close())
	a.start()
	_, err = a.Append(context.Background(), 0, entry("k", "v"), engine.Local)
	require.NoError(t, err)
}
