package engine_test

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/engine/store"
	"github.com/claudefs/repl/wire"
	"github.com/stretchr/testify/require"
)

// TestShardsAreMendedUnderLoad: they are held, changed and released while entries come. None
// is applied twice, none is left out (I2, I3), and both sites are equal in the end.
func TestShardsAreMendedUnderLoad(t *testing.T) {
	a, b := pair(t)
	b.start()
	a.start()
	ctx, cancel := context.WithCancel(soon(t))
	ended := make(chan error, 1)
	go func() { // Ends with the load.
		for i := 0; ctx.Err() == nil; i++ {
			_, err := a.Append(soon(t), engine.Shard(i%4), entry(fmt.Sprint("key ", i%50), fmt.Sprint(i)), engine.Local)
			if err != nil {
				ended <- err
				return
			}
		}
		ended <- nil
	}()
	mended := 0
	for range 20 {
		mended += b.mendAll("site-a").Mended
	}
	cancel()
	require.NoError(t, <-ended)
	for shard := range 4 {
		a.put(engine.Shard(shard), "last", "v", engine.Applied(1))
	}
	b.healthy()
	sameDigests(t, a, b)
	seen := map[any]bool{}
	for _, r := range b.store.Rows() {
		require.False(t, seen[r.Dot], "twice: %v", r.Dot)
		seen[r.Dot] = true
	}
	require.Len(t, b.store.Rows(), len(a.store.Rows()))
	t.Logf("%d shards mended, %d entries", mended, len(seen))
	require.NotZero(t, mended)
}

// TestHeldShardIsNotAppliedTo: an entry that comes while its shard is mended waits, and is
// applied once. What only this Store has goes, because the caller says so.
func TestHeldShardIsNotAppliedTo(t *testing.T) {
	a, b := pair(t)
	b.start()
	a.start()
	for i := range 200 {
		a.put(0, fmt.Sprint("key ", i), "v", engine.Applied(1))
	}
	require.NoError(t, a.Ready(soon(t), 0))
	orphan := wire.LogID{Site: 9}
	require.NoError(t, b.store.Apply(soon(t), &store.Change{
		Batch:   &wire.BatchHeader{Site: 9},
		Effects: []wire.Entry{{Op: engine.OpHost, Seq: 1, Keys: [][]byte{[]byte("zz")}}},
		Cursors: []store.Cursor{{Log: orphan, Position: wire.Position{Incarnation: wire.Incarnation{7}, Seq: 1}}},
	}))
	o := engine.MendOptions{From: "site-a", Hi: 1}
	_, err := b.Mend(soon(t), o)
	require.ErrorIs(t, err, engine.ErrLoses)
	asked := 0
	o.Lose, o.Progress = true, func(engine.MendProgress) {
		if asked++; asked == 3 { // its view is open
			a.put(0, "during", "v", engine.Durable(1))
			for end := time.Now().Add(200 * time.Millisecond); time.Now().Before(end) && b.value(0, "during") == ""; {
				runtime.Gosched()
			}
		}
	}
	report, err := b.Mend(soon(t), o)
	require.NoError(t, err)
	require.Equal(t, 1, report.Mended, report.Shards)
	require.EqualValues(t, 1, report.LostEntries)
	require.GreaterOrEqual(t, asked, 3)
	a.put(0, "last", "v", engine.Applied(1))
	require.Equal(t, "v", b.value(0, "during"))
	_, there := b.store.Get(0, []byte("zz"))
	require.False(t, there)
	sameDigests(t, a, b)
	seen := map[store.Dot]bool{}
	for _, r := range b.store.Rows() {
		require.False(t, seen[r.Dot], "twice: %v", r.Dot)
		seen[r.Dot] = true
	}
}
