package engine_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine"
)

// cutNewest takes the end of the file of the site's newest own segment away; the site is
// closed. What lies before it holds.
func (s *site) cutNewest() {
	s.t.Helper()
	dir := s.options.Dir + "/own"
	names, err := s.disk.List(dir)
	require.NoError(s.t, err)
	newest := ""
	for _, name := range names {
		if strings.HasPrefix(name, "segment-") {
			newest = name
		}
	}
	f, err := s.disk.Open(dir + "/" + newest)
	require.NoError(s.t, err)
	size, err := f.Size()
	require.NoError(s.t, err)
	require.NoError(s.t, f.Truncate(size/2))
	require.NoError(s.t, f.Sync())
	require.NoError(s.t, f.Close())
}

// TestSuspectOwnLogGoesOnOncePeerWasHeard: site-a's newest segment lost its end, and site-b
// has less. Nothing is appended before site-b was heard; then the loss is reported, and both
// sites are equal and stay so (I9, I14).
func TestSuspectOwnLogGoesOnOncePeerWasHeard(t *testing.T) {
	a, b := pair(t)
	b.start()
	a.start()
	for shard := range 4 {
		a.put(engine.Shard(shard), "before", "v", engine.Applied(1))
	}
	b.end()
	for i := range 8 {
		a.put(engine.Shard(i%4), fmt.Sprint("alone ", i), "v", engine.AppliedHere)
	}
	a.end()
	a.cutNewest()
	a.start()
	_, err := a.Append(soon(t), 0, entry("early", "v"), engine.Local)
	require.ErrorIs(t, err, engine.ErrStopped)
	require.NotZero(t, a.Status().Journals[0].Suspect)
	b.start()
	a.awaitEvent("data-lost")
	for round := range 3 {
		for shard := range 4 {
			a.put(engine.Shard(shard), fmt.Sprint("after ", round), "v", engine.Applied(1))
		}
		require.Zero(t, a.Status().Journals[0].Suspect)
		sameDigests(t, a, b)
		a.end()
		a.start()
	}
}
