package engine_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/engine/store"
	"github.com/claudefs/repl/engine/store/journal"
	"github.com/stretchr/testify/require"
)

// TestGoneSiteIsForgotten: one that was heard once and never comes back holds no segment
// and is not waited for any more. The loss is told before; a site that is there, and the
// primary, are not forgotten (I10, I12).
func TestGoneSiteIsForgotten(t *testing.T) {
	a, b, c := trio(t)
	for _, s := range []*site{b, c, a} {
		s.start()
	}
	a.put(1, "before", "v", engine.Applied(2))
	c.end()
	payload := strings.Repeat("x", 500_000)
	for i := range 40 {
		a.put(engine.Shard(i%4), fmt.Sprint(i), payload, engine.Applied(1))
	}
	require.Equal(t, "site-c", a.Status().Journals[0].HeldBy)
	_, err := a.Forget("site-c", engine.ForgetOptions{})
	require.ErrorIs(t, err, engine.ErrHeard)
	_, err = a.Forget("site-b", engine.ForgetOptions{Gone: true})
	require.ErrorIs(t, err, engine.ErrLinked)
	_, err = b.Forget("site-a", engine.ForgetOptions{Gone: true})
	require.ErrorIs(t, err, engine.ErrWriter)
	report, err := a.Forget("site-c", engine.ForgetOptions{Only: true})
	require.NoError(t, err)
	require.Equal(t, []any{true, false, 4, int64(43), int64(0)},
		[]any{report.Heard, report.Done, report.Shards, report.Entries, report.LastEntries})
	report, err = a.Forget("site-c", engine.ForgetOptions{Gone: true})
	require.NoError(t, err)
	require.True(t, report.Done)
	require.Contains(t, a.awaitEvent("forgotten").Text, "site-c is forgotten, which is gone for good: 43 entries")
	a.fill(0, a, 3, engine.Applied(1))
	require.Len(t, a.Status().Peers, 1)
	a.end()
	a.options.Peers = a.options.Peers[:1]
	a.start()
	a.healthy()
}

// TestGoneSiteHoldsUpNoAdoption: an own journal was lost after its history was given back,
// and a site that may have more is gone for good.
func TestGoneSiteHoldsUpNoAdoption(t *testing.T) {
	a, b, c := trio(t)
	for _, s := range []*site{b, c, a} {
		s.start()
	}
	a.fill(0, a, 3, engine.Applied(2))
	a.fill(1, b, 3, engine.Applied(2))
	c.end()
	a.end()
	a.loseJournal("own")
	a.start()
	a.awaitHealth("FAILED")
	_, err := a.Append(soon(t), 1, entry("early", "v"), engine.Local)
	require.ErrorIs(t, err, engine.ErrStopped)
	_, err = a.Forget("site-c", engine.ForgetOptions{Gone: true})
	require.NoError(t, err)
	for shard := range 4 {
		a.put(engine.Shard(shard), "after", "v", engine.Applied(1))
	}
	a.healthy()
	sameDigests(t, a, b)
}

// TestLastPeerForgottenLeavesSiteAlone: what waited for it is open at once, and a site that
// was started without its peers, too.
func TestLastPeerForgottenLeavesSiteAlone(t *testing.T) {
	a, b := pair(t)
	b.start()
	a.start()
	a.put(1, "before", "v", engine.Applied(1))
	b.end()
	a.end()
	a.start()
	a.put(1, "unverified", "v", engine.AppliedHere)
	_, err := a.Forget("site-b", engine.ForgetOptions{Gone: true})
	require.NoError(t, err)
	a.healthy()
	require.Equal(t, 4, a.Status().Appends.Verified)
	a.end()

	b.start()
	a.start()
	a.put(1, "again", "v", engine.Applied(1))
	b.end()
	a.end()
	a.options.Peers = nil
	a.start()
	require.Contains(t, a.awaitHealth("FAILED").Reason, "had peers")
	_, err = a.Forget("site-b", engine.ForgetOptions{Gone: true})
	require.NoError(t, err)
	a.put(1, "after", "v", engine.AppliedHere)
	a.healthy()
}

// TestSuspectLogOfSoleSiteGoesOn: damage hides where a log ended, and nobody else has it. It
// is refused with the step that ends that; an operator's word has it go on, for good, where
// it can be read to or behind the Store, and what is given up is told (I9, I14).
func TestSuspectLogOfSoleSiteGoesOn(t *testing.T) {
	for _, stored := range []string{"lost", ""} {
		t.Run("store has "+stored, func(t *testing.T) {
			a, _ := pair(t)
			a.options.Peers = nil
			a.unnamed().start()
			for shard := range 4 {
				a.put(engine.Shard(shard), "before", "v", engine.AppliedHere)
			}
			a.put(1, "key", "hidden payload", engine.AppliedHere)
			a.put(2, "last", "v", engine.AppliedHere)
			a.end()
			a.spoilUnit("own", "hidden payload")
			if stored == "" {
				a.store = store.NewMem()
				a.options.Store = a.store
			}
			a.start()
			_, err := a.Append(soon(t), 1, entry("after", "v"), engine.Local)
			require.ErrorIs(t, err, engine.ErrStopped)
			require.ErrorContains(t, err, "name site site-a as the primary")
			require.Equal(t, "DEGRADED", a.Status().Health)
			a.put(2, "a proven log goes on", "v", engine.AppliedHere)
			a.end()

			a.options.Primary = "site-a"
			a.start()
			require.Contains(t, a.awaitEvent("data-lost").Text, "the log goes on behind that")
			a.put(1, "after", "v", engine.AppliedHere)
			a.end()
			a.unnamed()
			for range 2 {
				a.start()
				for shard := range 4 {
					a.put(engine.Shard(shard), "after", "v", engine.AppliedHere)
				}
				a.healthy()
				a.crash()
			}
		})
	}
}

// spoilUnit destroys the header of the flush unit in which a site's journal holds text; the
// site is closed.
func (s *site) spoilUnit(name, text string) {
	s.t.Helper()
	for _, file := range s.disk.Names("/data/" + name + "/") {
		f, err := s.disk.Open(file)
		require.NoError(s.t, err)
		size, err := f.Size()
		require.NoError(s.t, err)
		b := make([]byte, size)
		_, err = f.ReadAt(b, 0)
		require.NoError(s.t, err)
		if at := bytes.Index(b, []byte(text)); at >= 0 {
			at -= at % journal.BlockBytes
			require.NoError(s.t, f.WriteAt([][]byte{make([]byte, 128)}, int64(at)))
			require.NoError(s.t, f.Close())
			return
		}
		require.NoError(s.t, f.Close())
	}
	require.Fail(s.t, "no journal file holds "+text)
}
