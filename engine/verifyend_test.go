package engine_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/engine/store"
)

// How verifications end when something stands still: in bounded time, with a reason.

// watched is a Store whose views are counted while they are open, and whose digests
// end with their context only.
type watched struct {
	*store.Mem
	open  atomic.Int32
	begun chan struct{} // capacity 1: a digest
}

type watchedView struct {
	store.View
	of *watched
}

func (w *watched) View(ctx context.Context, shard engine.Shard) (store.View, error) {
	v, err := w.Mem.View(ctx, shard)
	w.open.Add(1)
	return watchedView{v, w}, err
}

func (v watchedView) Digest(ctx context.Context, _, _ []byte) (d [32]byte, err error) {
	v.of.begun <- struct{}{}
	<-ctx.Done()
	return d, ctx.Err()
}

func (v watchedView) Close() error {
	v.of.open.Add(-1)
	return v.View.Close()
}

// TestCloseWaitsForAVerification: the host may close its Store after Close, so no view
// of it is open then, at either end; the report says why it ended.
func TestCloseWaitsForAVerification(t *testing.T) {
	for _, closed := range []int{0, 1} {
		a, b := pair(t)
		s := []*site{a, b}[closed]
		w := &watched{Mem: s.store, begun: make(chan struct{}, 1)}
		s.options.Store = w
		a.start()
		b.start()
		a.put(0, "key", "value", engine.Applied(1))
		ctx, cancel := context.WithCancel(soon(t))
		reports := make(chan *engine.VerifyReport, 1)
		go func() { // Ends with ctx at the latest.
			r, err := a.Verify(ctx, engine.VerifyOptions{})
			if err != nil {
				t.Error(err)
			}
			reports <- r
		}()
		<-w.begun
		s.end()
		require.Zero(t, w.open.Load(), "views of a Store that its host may have closed")
		if closed == 1 {
			cancel() // site-a would wait for the link
		}
		r := <-reports
		require.Equal(t, engine.VerifyPartly, r.Result, asJSON(t, r))
		if closed == 0 {
			require.Empty(t, r.Ended, "nobody interrupted it")
			require.Equal(t, engine.ErrClosed.Error(), r.Peers[0].Reason)
		}
		cancel()
	}
}

// notReached says in which shard a point was not reached, or fails.
func notReached(t *testing.T, r *engine.VerifyReport) int {
	t.Helper()
	require.Equal(t, engine.VerifyPartly, r.Result, asJSON(t, r))
	require.Empty(t, r.Ended, "it hung: %s", asJSON(t, r))
	require.Len(t, r.Peers[0].NotCompared, 1, asJSON(t, r))
	require.Contains(t, r.Peers[0].NotCompared[0].Reason, "the point is not reached")
	return r.Peers[0].NotCompared[0].Shard
}

// TestStalledApplierIsNotWaitedFor: the log goes on, the Store of the
// site that is asked to compare does not (I14).
func TestStalledApplierIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t)
		a.options.Store = &gated{a.store, make(chan struct{})}
		a.start()
		b.start()
		a.put(2, "first", "value", engine.Applied(1))
		ctx, cancel := context.WithCancel(context.Background())
		var load sync.WaitGroup
		load.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				_, _ = a.Append(ctx, 2, entry(fmt.Sprint(n), "value"), engine.Local)
				<-time.After(100 * time.Millisecond) // of the bubble's time
			}
		})
		require.Equal(t, 2, notReached(t, verify(t, a, engine.VerifyOptions{})))
		cancel()
		load.Wait()
	})
}

// TestSiteWithStoppedJournalAnswers: it serves its peers until it is
// closed, so it does not leave one that compares itself without an answer (I14).
func TestSiteWithStoppedJournalAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t)
		a.options.Store = &gated{a.store, make(chan struct{})}
		a.start()
		b.start()
		a.put(2, "first", "value", engine.Applied(1))
		a.disk.Kill()
		_, err := a.Append(soon(t), 1, entry("key", "value"), engine.Local)
		require.ErrorIs(t, err, engine.ErrDurability)
		require.Equal(t, 2, notReached(t, verify(t, b, engine.VerifyOptions{Lo: 2})))
	})
}
