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
