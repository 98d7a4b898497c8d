package engine_test

import (
	"bytes"
	"context"
	"fmt"
	"path"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/engine/store"
	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/stretchr/testify/require"
)

// spoil flips bits of the first place in a site's journal that holds text.
func (s *site) spoil(journal, text string) {
	s.t.Helper()
	for _, name := range s.disk.Names("/data/" + journal + "/") {
		f, err := s.disk.Open(name)
		require.NoError(s.t, err)
		size, err := f.Size()
		require.NoError(s.t, err)
		b := make([]byte, size)
		_, err = f.ReadAt(b, 0)
		require.NoError(s.t, err)
		at := bytes.Index(b, []byte(text))
		if at >= 0 {
			require.NoError(s.t, f.WriteAt([][]byte{[]byte("spoilt")}, int64(at)))
			require.NoError(s.t, f.Close())
			return
		}
		require.NoError(s.t, f.Close())
	}
	require.Fail(s.t, "no journal file holds "+text)
}

// tick is how often a wait for what no event tells looks again.
const tick = 5 * time.Millisecond

// awaitMended returns when a journal (0 own, 1 mirror) lacks nothing, after at least so
// many pieces of it were told to be repaired.
func (s *site) awaitMended(journal, pieces int) {
	s.t.Helper()
	what := []string{"of the own journal are repaired", "of the mirror are repaired"}[journal]
	require.Eventually(s.t, func() bool {
		left := pieces
		s.mu.Lock()
		for _, e := range s.events {
			if e.Kind == "log-repaired" && strings.Contains(e.Text, what) {
				left--
			}
		}
		s.mu.Unlock()
		return left <= 0 && s.Status().Journals[journal].Missing == 0
	}, patience, tick, "%s: %s", s.options.Site, what)
}

// TestDamageInTheMirrorIsFetchedFromThePeer proves I9: the Store is behind the
// damage, so the applier needs what it took, and gets it.
func TestDamageInTheMirrorIsFetchedFromThePeer(t *testing.T) {
	a, b := pair(t)
	b.start()
	a.start()
	a.put(1, "first", "v", engine.Applied(1))
	for i := range 20 {
		a.put(1, fmt.Sprintf("key %d", i), fmt.Sprintf("payload %d.", i), engine.Applied(1))
	}
	a.put(1, "last", "v", engine.Applied(1))
	b.end()
	b.spoil("mirror", "payload 10.")
	b.store = store.NewMem()
	b.options.Store = b.store
	b.start()
	b.awaitEvent("log-repaired")
	a.put(1, "more", "v", engine.Applied(1))
	require.Equal(t, "payload 10.", b.value(1, "key 10"))
	sameDigests(t, a, b)
	b.end()
	b.start() // The repair outlives a restart.
	a.put(1, "most", "v", engine.Applied(1))
	st := b.Status()
	require.Empty(t, st.StoppedLogs)
	require.Zero(t, st.Journals[1].Suspect)
	require.NotContains(t, st.Reason, "damage")
}

// slowRepairs is a disk that writes repairs when it may.
type slowRepairs struct {
	vfs.FS
	begun, gate chan struct{}
}

func (d *slowRepairs) Create(name string) (vfs.File, error) {
	if strings.HasPrefix(path.Base(name), "repair-") {
		d.begun <- struct{}{}
		<-d.gate
	}
	return d.FS.Create(name)
}

// TestNoAcknowledgementWaitsForARepair proves I10: the disk takes its time with a
// repair of the mirror, and what comes meanwhile is flushed and confirmed.
func TestNoAcknowledgementWaitsForARepair(t *testing.T) {
	a, b := pair(t)
	b.start()
	a.start()
	for i := range 20 {
		a.put(1, fmt.Sprintf("key %d", i), fmt.Sprintf("payload %d.", i), engine.Applied(1))
	}
	b.end()
	b.spoil("mirror", "payload 10.")
	slow := &slowRepairs{b.disk, make(chan struct{}), make(chan struct{})}
	b.options.FS = slow
	b.start()
	write := sync.OnceFunc(func() { close(slow.gate) })
	t.Cleanup(write)
	<-slow.begun
	for shard := range engine.Shard(4) {
		a.put(shard, "meanwhile", "v", engine.Durable(1))
	}
	write()
	b.awaitMended(1, 1)
	sameDigests(t, a, b)
}

// TestAppendsGoOnAfterProvenDamage: the log's tail is
// not guessed, the peer's chain proves it, and gives back what is damaged (I9).
func TestAppendsGoOnAfterProvenDamage(t *testing.T) {
	a, b := pair(t)
	a.options.VerifyWait = patience
	b.start()
	a.start()
	for i := range 20 {
		a.put(1, fmt.Sprintf("key %d", i), fmt.Sprintf("payload %d.", i), engine.Applied(1))
	}
	a.put(2, "other", "v", engine.Applied(1))
	a.end()
	a.spoil("own", "payload 19.")
	a.start()
	a.put(2, "after", "v", engine.Applied(1))
	a.put(1, "after", "v", engine.Applied(1))
	sameDigests(t, a, b)
	require.Contains(t, a.awaitEvent("log-repaired").Text, "the own journal")
	require.NotZero(t, a.Status().Journals[0].Damage, "damage stays told")
}

func TestManyAppendersGetDenseSeqsInTheirOrder(t *testing.T) {
	a, b := pair(t)
	b.start()
	a.start()
	var group sync.WaitGroup
	for n := range 32 {
		group.Go(func() {
			last := engine.Ref{}
			for i := range 100 {
				level := []engine.Level{engine.Async, engine.Local, engine.AppliedHere, engine.Durable(1)}[(n+i)%4]
				e := entry(fmt.Sprintf("key %d", n), fmt.Sprint(i))
				ref, err := a.Append(context.Background(), engine.Shard(n%4), e, level)
				if err != nil || ref.Seq <= last.Seq {
					t.Errorf("appender %d: %v behind %v: %v", n, ref, last, err)
					return
				}
				last = ref
			}
		})
	}
	group.Wait()
	for shard := range 4 {
		ref := a.put(engine.Shard(shard), "last", "v", engine.Applied(1))
		require.EqualValues(t, 802, ref.Seq, "800 entries and the START before it (I3)")
		require.NoError(t, a.Wait(soon(t), ref, engine.AppliedHere))
	}
	for n := range 32 {
		require.Equal(t, "99", b.value(engine.Shard(n%4), fmt.Sprintf("key %d", n)))
	}
	sameDigests(t, a, b)
}

func TestWaitThatIsGivenUpLeavesNothingBehind(t *testing.T) {
	a, _ := pair(t)
	a.start()
	ref := a.put(0, "k", "v", engine.Local)
	for range 100 {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		require.ErrorIs(t, a.Wait(ctx, ref, engine.Durable(1)), context.Canceled)
	}
	waiting := make(chan error)
	go func() { waiting <- a.Wait(context.Background(), ref, engine.Durable(1)) }() // Ends with the engine.
	a.Engine.Close(soon(t))
	require.ErrorIs(t, <-waiting, engine.ErrClosed)
}

// TestIdleJournalGetsItsClosingUnit: within a second of the last flush there
// is a durable-through mark over it, so damage there is no torn tail (I9).
func TestIdleJournalGetsItsClosingUnit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := pair(t)
		a.options.Peers = nil
		a.start()
		a.put(0, "k", "the last payload", engine.AppliedHere)
		units := a.Status().Journals[0].Units
		<-time.After(time.Second) // of the bubble's time
		synctest.Wait()
		require.Equal(t, units+1, a.Status().Journals[0].Units)
		a.crash()
		a.spoil("own", "the last payload")
		a.start()
		s := a.Status()
		require.NotZero(t, s.Journals[0].Damage+s.Journals[0].Suspect, "the damage was taken for a torn tail")
		require.NotEqual(t, "OK", s.Health)
	})
}

func TestSegmentsAreGivenBackOnceAllHaveThem(t *testing.T) {
	a, b := pair(t)
	b.start()
	a.start()
	payload := strings.Repeat("x", 500_000)
	for i := range 40 { // 20 MB over segments of 4
		a.put(0, fmt.Sprint(i), payload, engine.Applied(1))
	}
	for _, s := range []*site{a, b} {
		require.Eventually(t, func() bool {
			st := s.Status()
			return st.Journals[0].Segments+st.Journals[1].Segments <= 4
		}, patience, 20*time.Millisecond, "I12: %s", s.options.Site)
	}
}
