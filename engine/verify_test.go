package engine_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/engine/store"
	"github.com/claudefs/repl/wire"
)

// busy appends at a until end is called, each writer a few entries ahead of the peer, so
// that how far that is behind does not grow with the time that a test takes. Each value
// of steps is a hundred entries more.
func busy(t *testing.T, a *site, writers int) (steps <-chan struct{}, end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	var total atomic.Int64
	hundreds := make(chan struct{}, 1)
	for w := range writers {
		group.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				key := fmt.Sprintf("key %d of %d", n%97, w)
				level := engine.Async // so that a shard is never at rest
				if n%16 == 0 {
					level = engine.Durable(1)
				}
				_, err := a.Append(ctx, engine.Shard(w%a.options.Shards), entry(key, fmt.Sprint(n)), level)
				if err == nil && total.Add(1)%100 == 0 {
					select {
					case hundreds <- struct{}{}:
					default:
					}
				}
			}
		})
	}
	return hundreds, func() {
		cancel()
		group.Wait()
	}
}

// verify runs one verification of a site.
func verify(t *testing.T, s *site, o engine.VerifyOptions) *engine.VerifyReport {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	r, err := s.Verify(ctx, o)
	require.NoError(t, err)
	return r
}

// calm is a pair that bears that a slow machine stands still for seconds: a link that is
// given up for that would be a reason not to compare.
func calm(t *testing.T) (a, b *site) {
	a, b = pair(t)
	a.options.HeartbeatTimeout, b.options.HeartbeatTimeout = patience, patience
	return a, b
}

func asJSON(t *testing.T, v any) string {
	b, err := json.MarshalIndent(v, "", " ")
	require.NoError(t, err)
	return string(b)
}

func TestVerifyingALivePairUnderLoadRaisesNoAlarm(t *testing.T) { // pain 32
	a, b := calm(t)
	a.start()
	b.start()
	for shard := range a.options.Shards {
		a.put(engine.Shard(shard), "first", "entry", engine.Applied(1))
	}
	steps, end := busy(t, a, a.options.Shards)
	defer end()
	keys := uint64(0)
	for n := range 20 {
		select {
		case <-steps:
		case <-soon(t).Done():
			require.FailNow(t, "the load stands still")
		}
		s := []*site{a, b}[n%2]
		r := verify(t, s, engine.VerifyOptions{Deep: n%5 == 4})
		require.Equal(t, engine.VerifyEqual, r.Result, "round %d: %s", n, asJSON(t, r))
		require.Len(t, r.Peers, 1)
		require.Equal(t, a.options.Shards, r.Peers[0].ShardsCompared)
		require.Equal(t, a.options.Shards, r.Peers[0].LogsCompared)
		keys += r.Peers[0].Keys
	}
	require.NotZero(t, keys)
}

func TestDifferentKeyIsFoundAndNamed(t *testing.T) {
	a, b := calm(t)
	a.start()
	b.start()
	fill(a, 300)
	require.Equal(t, engine.VerifyEqual, verify(t, a, engine.VerifyOptions{}).Result)
	plant(t, b, 2, "key 0142", "valuf")
	plant(t, b, 3, "only there", "value")
	for _, s := range []*site{a, b} {
		r := verify(t, s, engine.VerifyOptions{})
		require.Equal(t, engine.VerifyDifferent, r.Result)
		d := r.Peers[0].Differences
		require.Len(t, d, 2, asJSON(t, r))
		require.Equal(t, `"key 0142"`, d[0].Path)
		require.Equal(t, "differs between site "+s.options.Site+" and site "+r.Peers[0].Site, d[0].Detail)
		require.Equal(t, `"only there"`, d[1].Path)
		require.Equal(t, "is at site site-b, not at site site-a", d[1].Detail)
		require.Equal(t, 3, d[1].Shard)
		require.Contains(t, r.Peers[0].Reason, "key 0142")
	}
	r := verify(t, a, engine.VerifyOptions{Lo: 0, Hi: 2})
	require.Equal(t, engine.VerifyEqual, r.Result, "other shards were asked for")
}

// fill appends so many entries; the other site shows them all when it returns.
func fill(a *site, count int) {
	a.t.Helper()
	for n := range count {
		a.put(engine.Shard(n%4), fmt.Sprintf("key %04d", n), "value", engine.Local)
	}
	for shard := range a.options.Shards {
		a.put(engine.Shard(shard), "last", "value", engine.Applied(1))
	}
}

// plant changes a site's Store behind the back of its engine: the cursors stay.
func plant(t *testing.T, s *site, shard engine.Shard, key, value string) {
	t.Helper()
	h := &wire.BatchHeader{Site: 1, Shard: shard}
	require.NoError(t, s.store.Apply(soon(t), &store.Change{
		Shard: shard, Batch: h, Effects: []wire.Entry{*entry(key, value)},
	}))
}

// mute hides a Store's views.
type mute struct{ store.Store }

func TestStoreWithoutViewsIsComparedByShard(t *testing.T) {
	a, b := calm(t)
	a.options.Store = mute{a.store}
	a.start()
	b.start()
	fill(a, 40)
	for _, s := range []*site{a, b} {
		require.Equal(t, engine.VerifyEqual, verify(t, s, engine.VerifyOptions{}).Result)
	}
	plant(t, b, 2, "key 0002", "valuf")
	for _, s := range []*site{a, b} {
		r := verify(t, s, engine.VerifyOptions{})
		require.Equal(t, engine.VerifyDifferent, r.Result, asJSON(t, r))
		require.Equal(t, 2, r.Peers[0].Differences[0].Shard)
		require.Empty(t, r.Peers[0].Differences[0].Path)
	}
}

func TestNothingComparedIsNeverEqual(t *testing.T) {
	a, _ := calm(t)
	a.start()
	a.put(0, "key", "value", engine.Local)
	r := verify(t, a, engine.VerifyOptions{})
	require.Equal(t, engine.VerifyUnreachable, r.Result, asJSON(t, r))
	require.Zero(t, r.Peers[0].ShardsCompared)
	reason := r.Peers[0].Reason
	require.Equal(t, []engine.VerifyGap{
		{What: "journals", Shard: 0, Count: 4, Reason: reason}, {What: "state", Shard: 0, Count: 4, Reason: reason},
	}, r.Peers[0].NotCompared, "a reason is told once for all shards")
	_, err := a.Verify(soon(t), engine.VerifyOptions{Peer: "site-x"})
	require.ErrorIs(t, err, engine.ErrOptions)
	_, err = a.Verify(soon(t), engine.VerifyOptions{Lo: 3, Hi: 9})
	require.ErrorIs(t, err, engine.ErrOptions)
}

func TestCancelledVerificationSaysWhatIsLeft(t *testing.T) {
	a, b := calm(t)
	a.start()
	b.start()
	a.put(0, "key", "value", engine.Applied(1))
	ctx, cancel := context.WithCancel(soon(t))
	r, err := a.Verify(ctx, engine.VerifyOptions{Progress: func(p engine.VerifyProgress) {
		if p.Phase == "state" && p.Shards == 2 {
			cancel()
		}
	}})
	require.NoError(t, err)
	require.Equal(t, engine.VerifyPartly, r.Result, asJSON(t, r))
	require.Equal(t, 2, r.Peers[0].ShardsCompared)
	require.Equal(t, engine.VerifyInterrupted, r.Ended)
	require.Equal(t, []engine.VerifyGap{{What: "state", Shard: 2, Count: 2, Reason: "interrupted"}},
		r.Peers[0].NotCompared)
	require.Equal(t, engine.VerifyEqual, verify(t, a, engine.VerifyOptions{}).Result, "the next one is whole")
}

// Reading the stored bytes may take long, and a node that says nothing is taken for none.
func TestFirstProgressIsToldBeforeAnythingIsRead(t *testing.T) {
	a, b := calm(t)
	a.start()
	b.start()
	for _, deep := range []bool{false, true} {
		var told []engine.VerifyProgress
		ctx, cancel := context.WithCancel(soon(t))
		cancel() // before anything is read
		_, err := a.Verify(ctx, engine.VerifyOptions{Deep: deep, Lo: 1, Progress: func(p engine.VerifyProgress) {
			told = append(told, p)
		}})
		require.NoError(t, err)
		want := engine.VerifyProgress{Kind: "progress", Peer: "site-b", Phase: "journals", ShardsTotal: 3}
		require.Equal(t, want, told[0])
	}
}

func TestVerificationOfAClosedEngineSaysSo(t *testing.T) {
	a, b := calm(t)
	a.start()
	b.start()
	a.put(0, "first", "entry", engine.Applied(1))
	require.NoError(t, a.Close(soon(t)))
	for _, deep := range []bool{false, true} {
		peer := verify(t, a, engine.VerifyOptions{Deep: deep}).Peers[0]
		require.NotEmpty(t, peer.NotCompared)
		for _, gap := range peer.NotCompared {
			require.Equal(t, engine.ErrClosed.Error(), gap.Reason, "deep %v", deep)
		}
	}
}

// A log that is stopped has no point that both sites pass: what differs is named all the
// same, each site as it stands.
func TestStoppedLogNamesWhatDiffers(t *testing.T) {
	a, b := calm(t)
	b.store.Known = func(op wire.Op) bool { return op != engine.OpHost+1 }
	a.start()
	b.start()
	fill(a, 8)
	strange := entry("key", "value")
	strange.Op = engine.OpHost + 1
	_, err := a.Append(soon(t), 2, strange, engine.Durable(1))
	require.NoError(t, err)
	b.awaitEvent("apply-stopped")
	for _, s := range []*site{a, b} {
		r := verify(t, s, engine.VerifyOptions{})
		require.Equal(t, engine.VerifyDifferent, r.Result, asJSON(t, r))
		require.Equal(t, 3, r.Peers[0].ShardsCompared)
		require.Len(t, r.Peers[0].Differences, 1, asJSON(t, r))
		d := r.Peers[0].Differences[0]
		require.Equal(t, []any{"state", 2, `"key"`}, []any{d.What, d.Shard, d.Path})
		require.Equal(t, "is at site site-a, not at site site-b; the log is stopped: each site as it stands", d.Detail)
		require.Len(t, r.Peers[0].NotCompared, 1)
		require.Equal(t, 2, r.Peers[0].NotCompared[0].Shard)
		require.True(t, r.Peers[0].NotCompared[0].Lasting)
		require.Regexp(t, `log [0-9a-f]+/2 stopped at seq \d+: .*unknown operation$`, r.Peers[0].NotCompared[0].Reason)
	}
}

func TestDamagedMirrorIsNamedByLogAndSeq(t *testing.T) { // I9, pain 33
	a, b := calm(t)
	a.start()
	b.start()
	var refs []engine.Ref
	for n := range 8 {
		refs = append(refs, a.put(1, fmt.Sprintf("key %d", n), fmt.Sprintf("payload %d.", n), engine.Applied(1)))
	}
	require.Equal(t, engine.VerifyEqual, verify(t, a, engine.VerifyOptions{Deep: true}).Result)
	for n, s := range []*site{a, b} {
		b.spoil("mirror", fmt.Sprintf("payload %d.", n+3))
		r := verify(t, s, engine.VerifyOptions{})
		require.Equal(t, engine.VerifyEqual, r.Result, "the stored bytes were not read")
		r = verify(t, s, engine.VerifyOptions{Deep: true})
		require.Equal(t, engine.VerifyDifferent, r.Result, asJSON(t, r))
		d := r.Peers[0].Differences[0]
		require.Equal(t, "damage", d.What)
		if d.Shard >= 0 { // else it was mended while the rest was read
			require.Equal(t, 1, d.Shard)
			require.Equal(t, "site-a", d.Site)
			require.EqualValues(t, refs[n+3].Seq, d.Seq)
		}
		b.awaitMended(1, n+1)
		require.Equal(t, engine.VerifyEqual, verify(t, s, engine.VerifyOptions{Deep: true}).Result)
	}
}
