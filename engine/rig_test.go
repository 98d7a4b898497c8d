package engine_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/engine/store"
	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/claudefs/repl/wire/link"
	"github.com/claudefs/repl/wire/link/linktest"
	"github.com/stretchr/testify/require"
)

// patience bounds every wait of these tests; a passing one needs a fraction.
const patience = 60 * time.Second

func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// pause is between two looks at what comes by itself: who looks all the time takes the processor
// from whom it waits for.
func pause() { <-time.After(time.Millisecond) }

// site is one site of a test: what outlives its engine.
type site struct {
	t       testing.TB
	options engine.Options
	store   *store.Mem
	disk    *vfs.Mem
	*engine.Engine

	mu     sync.Mutex
	events []engine.Event
	told   chan struct{} // capacity 1
}

// newSite describes a site with the given peers; start opens it.
func newSite(t testing.TB, net link.Transport, name string, peers ...string) *site {
	s := &site{t: t, store: store.NewMem(), disk: vfs.NewMem(vfs.MemOptions{}), told: make(chan struct{}, 1)}
	s.options = engine.Options{
		Cluster: "test", Site: name, Dir: "/data", Shards: 4, Listen: name, Insecure: true,
		Primary: "site-a", SegmentBytes: 4 << 20, Transport: net, FS: s.disk, Store: s.store,
		VerifyWait: 100 * time.Millisecond, HeartbeatTimeout: time.Second,
		Events: s.event,
	}
	for _, p := range peers {
		s.options.Peers = append(s.options.Peers, engine.Peer{Site: p, Addrs: []string{p}})
	}
	return s
}

func (s *site) event(e engine.Event) {
	s.mu.Lock()
	s.events = append(s.events, e)
	s.mu.Unlock()
	select {
	case s.told <- struct{}{}:
	default:
	}
}

// awaitEvent returns when an event of that kind was told.
func (s *site) awaitEvent(kind string) engine.Event {
	s.t.Helper()
	ctx := soon(s.t)
	for {
		s.mu.Lock()
		for _, e := range s.events {
			if e.Kind == kind {
				s.mu.Unlock()
				return e
			}
		}
		seen := fmt.Sprint(s.events)
		s.mu.Unlock()
		select {
		case <-s.told:
		case <-ctx.Done():
			require.FailNow(s.t, "no event "+kind, seen)
		}
	}
}

func (s *site) start() *site {
	s.t.Helper()
	e, err := engine.Open(context.Background(), s.options)
	require.NoError(s.t, err)
	s.Engine = e
	s.t.Cleanup(func() { e.Close(context.Background()) })
	return s
}

// end closes the engine in good order.
func (s *site) end() {
	s.t.Helper()
	require.NoError(s.t, s.Engine.Close(soon(s.t)))
}

// crash ends the engine as a power cut does: what was not synced is gone.
func (s *site) crash() {
	s.t.Helper()
	s.crashWith(func(vfs.Unsynced) vfs.Fate { return vfs.Drop }, nil)
}

// crashWith is crash with a say in what becomes of the unsynced.
func (s *site) crashWith(fate func(vfs.Unsynced) vfs.Fate, keep func(engine.Shard, int) int) {
	s.t.Helper()
	s.disk.Kill() // From here on nothing is acknowledged.
	kept := s.store.Crash(keep)
	survived := s.disk.Crash(fate)
	s.Engine.Close(soon(s.t))
	s.disk, s.store = survived, kept
	s.options.FS, s.options.Store = survived, kept
}

// put appends an entry and waits for level.
func (s *site) put(shard engine.Shard, key, value string, level engine.Level) engine.Ref {
	s.t.Helper()
	ref, err := s.Append(soon(s.t), shard, entry(key, value), level)
	require.NoError(s.t, err)
	return ref
}

func entry(key, value string) *engine.Entry {
	return &engine.Entry{Op: engine.OpHost, Keys: [][]byte{[]byte(key)}, Payload: []byte(value)}
}

// value is what a site's Store shows for a key.
func (s *site) value(shard engine.Shard, key string) string {
	v, _ := s.store.Get(shard, []byte(key))
	return string(v.Payload)
}

// sameDigests compares all shards of the primary and another site that has
// applied everything; the primary's own Store may need a moment more.
func sameDigests(t testing.TB, a, b *site) {
	t.Helper()
	for shard := range a.options.Shards {
		require.NoError(t, a.Ready(soon(t), engine.Shard(shard)))
		x, _, err := a.store.Digest(soon(t), engine.Shard(shard), nil, nil)
		require.NoError(t, err)
		y, _, err := b.store.Digest(soon(t), engine.Shard(shard), nil, nil)
		require.NoError(t, err)
		require.Equal(t, x, y, "digest of shard %d (I7)", shard)
	}
}

// pair is two sites that replicate; site-a writes.
func pair(t testing.TB) (a, b *site) {
	net := linktest.NewMemory()
	return newSite(t, net, "site-a", "site-b"), newSite(t, net, "site-b", "site-a")
}
