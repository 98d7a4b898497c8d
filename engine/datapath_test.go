package engine_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/engine/store"
	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/claudefs/repl/uring"
	"github.com/claudefs/repl/wire/link/linktest"
)

// realSite is a site with real files and sockets, carried as io says.
func realSite(t testing.TB, io, name, peer string) *site {
	s := newSite(t, nil, name, peer)
	s.options.Dir, s.options.FS, s.options.IO = filepath.Join(t.TempDir(), name), nil, io
	s.options.Listen, s.options.Peers[0].Addrs = "", nil
	return s
}

// realPair is two of them; site-a dials site-b through proxy.
func realPair(t testing.TB, io string) (a, b *site, proxy *linktest.Proxy) {
	a, b = realSite(t, io, "site-a", "site-b"), realSite(t, io, "site-b", "site-a")
	b.options.Listen = "127.0.0.1:0"
	b.start()
	b.options.Listen = b.Addr()
	proxy, err := linktest.NewProxy(b.Addr())
	require.NoError(t, err)
	t.Cleanup(func() { _ = proxy.Close() })
	a.options.Peers[0].Addrs = []string{proxy.Addr()}
	return a.start(), b, proxy
}

func needRing(t testing.TB) {
	t.Helper()
	if err := uring.Supported(); err != nil {
		t.Skip(err)
	}
}

func descriptors(t testing.TB) int {
	t.Helper()
	open, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return len(open)
}

// TestSitesOnARingLoseAndRepeatNothing resets sockets and starts both sites
// again, all on the ring (I1, I2, I3).
func TestSitesOnARingLoseAndRepeatNothing(t *testing.T) {
	needRing(t)
	a, b, proxy := realPair(t, "io_uring")
	s := a.Status()
	require.Equal(t, "io_uring", s.Transport)
	require.Equal(t, "asked for by the option IO", s.TransportReason)
	require.Contains(t, a.awaitEvent("data-path").Text, "links: io_uring, journal files: io_uring")
	for round := range 9 {
		proxy.ResetAfter(linktest.ToTarget, int64(5000+7777*round))
		for i := range 50 {
			a.put(engine.Shard(i%4), fmt.Sprintf("key %d", i), fmt.Sprint(round), engine.Local)
		}
		a.put(0, "round", fmt.Sprint(round), engine.Durable(1))
		switch round % 3 {
		case 0:
			proxy.Reset()
		case 1:
			b.end()
			b.start()
		case 2:
			a.end()
			a.start()
		}
	}
	for shard := range 4 {
		a.put(engine.Shard(shard), "last", "v", engine.Applied(1))
	}
	require.Len(t, b.store.Rows(), 463)
	sameDigests(t, a, b)
}

// TestBothWaysOfIOUnderstandOneAnother: what a ring wrote, system calls recover
// and carry on, and the other way round (I7).
func TestBothWaysOfIOUnderstandOneAnother(t *testing.T) {
	needRing(t)
	a, b, _ := realPair(t, "io_uring")
	for round, io := range []string{"portable", "io_uring", "auto"} {
		a.put(0, fmt.Sprint(round), "v", engine.Applied(1))
		a.end()
		a.options.IO = io
		a.start()
		if io == "portable" {
			require.Equal(t, "tcp", a.Status().Transport)
			require.Equal(t, "asked for by the option IO", a.Status().TransportReason)
		}
	}
	a.put(1, "last", "v", engine.Applied(1))
	sameDigests(t, a, b)
}

func TestEngineOnARingGivesEverythingBack(t *testing.T) { // I10
	needRing(t)
	once := func() {
		a, b, proxy := realPair(t, "io_uring")
		a.put(0, "k", "v", engine.Applied(1))
		a.end()
		b.end()
		require.NoError(t, proxy.Close())
	}
	once()
	goroutines, open := runtime.NumGoroutine(), descriptors(t)
	for range 5 {
		once()
	}
	for ctx := soon(t); runtime.NumGoroutine() > goroutines || descriptors(t) > open; pause() {
		require.NoError(t, ctx.Err(), "%d goroutines, %d before; %d descriptors, %d before",
			runtime.NumGoroutine(), goroutines, descriptors(t), open)
	}
}

func TestRefusedEngineGivesItsRingBack(t *testing.T) {
	needRing(t)
	a := realSite(t, "io_uring", "site-a", "site-b")
	a.options.Listen = "no-port"
	refuse := func() {
		_, err := engine.Open(context.Background(), a.options)
		require.ErrorContains(t, err, "no-port")
	}
	a.options.Peers[0].Addrs = []string{"127.0.0.1:1"}
	refuse()
	open := descriptors(t)
	for range 5 {
		refuse()
	}
	require.LessOrEqual(t, descriptors(t), open)
}

// A ring is the slower way to files in memory: auto leaves them to system calls, and
// says so; who asks gets it.
func TestJournalsInMemoryAreLeftToSystemCalls(t *testing.T) {
	needRing(t)
	if !vfs.InMemory("/dev/shm") {
		t.Skip("/dev/shm is no tmpfs here")
	}
	require.False(t, vfs.InMemory("/proc/self"))
	dir, err := os.MkdirTemp("/dev/shm", "engine")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	for io, want := range map[string]engine.DataPathStatus{
		"auto": {Links: "io_uring", Files: "portable",
			Reason: "this machine has io_uring, but not for journal files in memory"},
		"io_uring": {Links: "io_uring", Files: "io_uring", Reason: "asked for by the option IO"},
	} {
		a := realSite(t, io, "site-a", "site-b")
		a.options.Dir, a.options.Peers = filepath.Join(dir, "not", "made", io), nil
		a.start()
		require.Equal(t, want, a.Status().DataPath)
		a.put(0, "k", "v", engine.AppliedHere)
		a.end()
	}
}

func TestUnknownIOIsNamed(t *testing.T) {
	o := engine.Options{Cluster: "test", Site: "site-a", Dir: t.TempDir(), Store: store.NewMem(), IO: "fast"}
	_, err := engine.Open(context.Background(), o)
	require.ErrorIs(t, err, engine.ErrOptions)
	require.ErrorContains(t, err, `IO is "fast"`)
}
