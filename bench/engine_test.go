package bench

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/engine/store"
	"github.com/claudefs/repl/wire"
	"github.com/stretchr/testify/require"
)

const benchShards = 256

// cursorStore keeps cursors and nothing else: a host that costs nothing.
type cursorStore struct {
	*store.Mem
	mu      sync.Mutex
	cursors [benchShards][]store.Cursor
}

func (s *cursorStore) Apply(_ context.Context, c *store.Change) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cursors[c.Shard] = append(s.cursors[c.Shard][:0], c.Cursors...)
	return nil
}

func (s *cursorStore) Cursors(shard wire.Shard) ([]store.Cursor, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]store.Cursor(nil), s.cursors[shard]...), nil
}

func (s *cursorStore) Durable(shard wire.Shard) ([]store.Cursor, error) { return s.Cursors(shard) }

func (s *cursorStore) Sync(context.Context) error { return nil }

// enginePair is a site that writes and one that mirrors, on the test's disk, over
// the transport that the engine picks by itself.
func enginePair(b *testing.B) *engine.Engine {
	b.Helper()
	dir := b.TempDir()
	open := func(site string, peer engine.Peer, listen string) *engine.Engine {
		e, err := engine.Open(b.Context(), engine.Options{
			Cluster: "bench", Site: site, Primary: "from", Dir: filepath.Join(dir, site), Shards: benchShards,
			Store: &cursorStore{Mem: store.NewMem()}, Listen: listen, Insecure: true, Peers: []engine.Peer{peer},
			AppendAt: site == "from",
		})
		require.NoError(b, err)
		b.Cleanup(func() { e.Close(context.Background()) })
		return e
	}
	to := open("to", engine.Peer{Site: "from"}, "127.0.0.1:0")
	return open("from", engine.Peer{Site: "to", Addrs: []string{to.Addr()}}, "")
}

// BenchmarkEngineStream appends and waits for the last entry of each shard to be
// durable at both sites. An operation is an entry.
func BenchmarkEngineStream(b *testing.B) {
	for _, shards := range []uint64{1, benchShards} {
		for _, size := range []int{256, 4 << 10, 64 << 10, 1 << 20} {
			b.Run(fmt.Sprintf("shards=%d/%s", shards, sizeName(size)), func(b *testing.B) {
				e, entry, ctx := enginePair(b), newEntry(size), context.Background()
				b.Logf("transport %s", e.Status().Transport)
				for shard := range shards { // Admission is not what is measured.
					require.NoError(b, e.Ready(ctx, engine.Shard(shard)))
				}
				last := make([]engine.Ref, shards)
				c := costOf(b, size)
				for i := range uint64(b.N) {
					ref, _, err := e.AppendAt(ctx, engine.Shard(i%shards), i/shards+1, entry, engine.Async)
					if err != nil {
						b.Fatal(err)
					}
					last[i%shards] = ref
				}
				for _, ref := range last {
					if ref.Seq != 0 {
						require.NoError(b, e.Wait(ctx, ref, engine.Durable(1)))
					}
				}
				c.report(size)
				c.perSecond("entries")
			})
		}
	}
}

// BenchmarkEngineRoundTrip appends one entry and waits until it is durable at
// both sites.
func BenchmarkEngineRoundTrip(b *testing.B) {
	for _, size := range []int{256, 64 << 10} {
		b.Run(sizeName(size), func(b *testing.B) {
			e, entry, ctx := enginePair(b), newEntry(size), context.Background()
			require.NoError(b, e.Ready(ctx, 0))
			index := uint64(0)
			c := costOf(b, size)
			for b.Loop() {
				index++
				if _, _, err := e.AppendAt(ctx, 0, index, entry, engine.Durable(1)); err != nil {
					b.Fatal(err)
				}
			}
			c.report(size)
		})
	}
}
