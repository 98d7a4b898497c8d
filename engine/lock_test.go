package engine_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/engine/store"
	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/stretchr/testify/require"
)

// TestRemovedLocksGiveNothingAway: somebody removes every lock file of a directory that an
// engine has open. A second one is refused, and the first one says what happened.
func TestRemovedLocksGiveNothingAway(t *testing.T) {
	a, _ := pair(t)
	a.options.Peers, a.options.FS, a.options.Dir = nil, vfs.OS{}, t.TempDir()
	a.start()
	a.put(1, "k", "v", engine.Local)
	require.Equal(t, "OK", a.Status().Health)
	for _, name := range []string{"LOCK", "own/LOCK", "mirror/LOCK"} {
		require.NoError(t, os.Remove(filepath.Join(a.options.Dir, name)))
	}
	second := &site{t: t, options: a.options}
	second.options.Store, second.options.Listen = store.NewMem(), ""
	require.ErrorIs(t, second.refused(), vfs.ErrLocked)
	st := a.Status()
	require.Equal(t, "DEGRADED", st.Health)
	require.Contains(t, st.Reason, "LOCK")
	a.awaitEvent("lock-removed")
	a.put(1, "k", "w", engine.AppliedHere)
	a.end()
	a.start()
	require.Equal(t, "OK", a.Status().Health)
}
