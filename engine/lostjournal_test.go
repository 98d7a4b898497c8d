package engine_test

import (
	"fmt"
	"testing"

	"github.com/claudefs/repl/engine"
	"github.com/stretchr/testify/require"
)

// loseJournal removes all files of one of the site's journals; the site is closed.
func (s *site) loseJournal(name string) {
	s.t.Helper()
	dir := s.options.Dir + "/" + name
	names, err := s.disk.List(dir)
	require.NoError(s.t, err)
	for _, file := range names {
		require.NoError(s.t, s.disk.Remove(dir+"/"+file))
	}
	require.NoError(s.t, s.disk.SyncDir(dir))
}

// TestLostOwnJournalComesBackFromThePeer: every file of site-a's own journal is gone, its
// Store is there. The peer gives the log back, and appends are answered at every level.
func TestLostOwnJournalComesBackFromThePeer(t *testing.T) {
	a, b := pair(t)
	b.start()
	a.start()
	for i := range 20 {
		a.put(engine.Shard(i%4), fmt.Sprintf("key %d", i), "v", engine.Applied(1))
	}
	a.end()
	a.loseJournal("own")
	a.start()
	require.NoError(t, a.Ready(soon(t), 1), "without an append, too")
	for _, level := range []engine.Level{engine.Local, engine.AppliedHere, engine.Durable(1), engine.Applied(1)} {
		a.put(1, "after", "v", level)
	}
	sameDigests(t, a, b)
}

// TestLostOwnJournalWithoutPeerIsNamed: nobody can give back what the Store shows. Appends
// are refused with the fact, until an operator names the site as the writer: then the log
// goes on behind the Store, also after the next starts.
func TestLostOwnJournalWithoutPeerIsNamed(t *testing.T) {
	a, _ := pair(t)
	a.options.Peers = nil
	a.unnamed().start()
	for i := range 20 {
		a.put(engine.Shard(i%3), fmt.Sprintf("key %d", i), "v", engine.AppliedHere)
	}
	a.end()
	a.loseJournal("own")
	a.start()
	_, err := a.Append(soon(t), 1, entry("after", "v"), engine.Local)
	require.ErrorIs(t, err, engine.ErrStopped)
	require.ErrorContains(t, err, "name site site-a as the primary")
	require.Equal(t, "FAILED", a.Status().Health)
	a.put(3, "a log without entries goes on", "v", engine.AppliedHere)
	a.end()

	a.options.Primary = "site-a"
	a.start()
	a.awaitEvent("data-lost")
	ref := a.put(1, "after", "v", engine.AppliedHere)
	require.Greater(t, int(ref.Seq), 7)
	a.end()
	a.unnamed()
	for range 2 {
		a.start()
		require.NoError(t, a.Ready(soon(t), 1))
		ref = a.put(1, "after", fmt.Sprint(ref.Seq), engine.AppliedHere)
		a.crash()
	}
	a.start()
	require.NoError(t, a.Ready(soon(t), 1))
	require.Equal(t, "v", a.value(1, "key 1"))
	require.Equal(t, fmt.Sprint(ref.Seq-1), a.value(1, "after"))
}
