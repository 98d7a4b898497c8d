package engine_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/engine/store"
	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/claudefs/repl/wire/link/linktest"
	"github.com/claudefs/repl/wire/link/tcp"
	"github.com/stretchr/testify/require"
)

// TestRestoreReadsJournalFewTimes: what a site with many shards lost is given back by as
// many walks of the peer's journal as batches of questions, not one a shard (I10).
func TestRestoreReadsJournalFewTimes(t *testing.T) {
	a, b := pair(t)
	const shards, total = 128, 24 << 20
	a.options.Shards, b.options.Shards = shards, shards
	a.options.VerifyWait = patience
	b.options.SegmentBytes, b.options.RecentBytesMax = 64<<20, 4<<20
	b.start()
	a.start()
	payload := strings.Repeat("x", 16<<10)
	for i := range total / len(payload) {
		a.put(engine.Shard(i%shards), fmt.Sprint(i), payload, engine.Durable(1))
	}
	a.end()
	a.disk, a.store = vfs.NewMem(vfs.MemOptions{}), store.NewMem()
	a.options.FS, a.options.Store = a.disk, a.store
	before := b.Counters().Mirror.FileReadBytes
	a.start()
	for shard := range engine.Shard(shards) {
		require.NoError(t, a.Ready(soon(t), shard))
	}
	read := b.Counters().Mirror.FileReadBytes - before
	require.Less(t, read, uint64(8*total), "the peer read its mirror %d times", read/total)
	sameDigests(t, a, b)
}

// slowPath is a pair of which site-a dials site-b through a proxy, and nobody dials back.
func slowPath(t *testing.T) (a, b *site, proxy *linktest.Proxy) {
	net, err := tcp.New(tcp.Options{})
	require.NoError(t, err)
	a, b = newSite(t, net, "site-a", "site-b"), newSite(t, net, "site-b", "site-a")
	b.options.Listen, a.options.Listen = "127.0.0.1:0", ""
	b.options.Peers[0].Addrs = nil
	a.options.SegmentBytes, b.options.SegmentBytes = 32<<20, 32<<20
	a.options.HeartbeatTimeout, b.options.HeartbeatTimeout = 3*time.Second, 3*time.Second
	b.start()
	proxy, err = linktest.NewProxy(b.Addr())
	require.NoError(t, err)
	t.Cleanup(func() { proxy.Close() })
	a.options.Peers[0].Addrs = []string{proxy.Addr()}
	a.start()
	return a, b, proxy
}

// TestRestoreHoldsNobodyUp: while 12 MB of one shard come back over a slow path, entries
// of another one become durable at the peer, one after the other (I10).
func TestRestoreHoldsNobodyUp(t *testing.T) {
	a, _, proxy := slowPath(t)
	for s := range engine.Shard(4) {
		a.put(s, "first", "v", engine.Applied(1))
	}
	a.end()
	disk, kept := a.image()
	a.start()
	for i := range 40 {
		a.put(1, fmt.Sprint(i), strings.Repeat("x", 300_000), engine.Durable(1))
	}
	a.end()
	a.disk, a.store, a.options.FS, a.options.Store = disk, kept, disk, kept
	proxy.Bandwidth(linktest.FromTarget, 2<<20)
	a.start()
	meanwhile := 0
	for !a.wasTold("data-restored") {
		a.put(2, "k", "v", engine.Durable(1))
		meanwhile++
	}
	require.GreaterOrEqual(t, meanwhile, 8, "entries of another shard while one came back")
	require.NoError(t, a.Ready(soon(t), 1))
	require.Equal(t, uint64(1), a.Status().Peers[0].Sessions)
}

// TestRepairGoesOverSlowPath: one that takes longer than HeartbeatTimeout comes to its
// end, over the one session that there is (I9, I14).
func TestRepairGoesOverSlowPath(t *testing.T) {
	a, b, proxy := slowPath(t)
	for i := range 40 { // 12 MB
		a.put(1, fmt.Sprint(i), strings.Repeat("x", 300_000), engine.Durable(1))
	}
	a.put(1, "end", "v", engine.Applied(1))
	b.end()
	for _, name := range b.disk.Names("/data/mirror/") {
		if strings.Contains(name, "/segment-") {
			f, err := b.disk.Open(name)
			require.NoError(t, err)
			require.NoError(t, f.WriteAt([][]byte{bytes.Repeat([]byte{7}, 9<<20)}, 1<<20))
			f.Close()
			break
		}
	}
	proxy.Bandwidth(linktest.ToTarget, 2<<20)
	b.store = store.NewMem() // so that the mirror is kept
	b.options.Store = b.store
	before, sent := a.Status().Peers[0].Sessions, proxy.Bytes(linktest.ToTarget)
	b.start()
	proxy.SetTarget(b.Addr())
	for ctx := soon(t); b.Status().Journals[1].Missing > 0; pause() {
		require.NoError(t, ctx.Err())
		a.put(0, "k", "v", engine.Durable(1)) // it keeps time
	}
	require.Equal(t, before+1, a.Status().Peers[0].Sessions)
	require.NotZero(t, b.Status().Journals[1].Repaired)
	require.Greater(t, proxy.Bytes(linktest.ToTarget)-sent, int64(8<<20))
}
