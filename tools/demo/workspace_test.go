package demo

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWorkspaceRemovesOnlyWhatTheRunMade(t *testing.T) {
	dir := t.TempDir()
	w, err := openWorkspace(dir)
	require.NoError(t, err)
	require.NoError(t, os.Mkdir(w.data("site-a"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "mine"), nil, 0o644))
	_, err = openWorkspace(dir)
	require.ErrorContains(t, err, "is not empty")
	left, err := w.tidy(true, false, nil)
	require.NoError(t, err)
	require.Empty(t, left)
	names, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, names, 1)
}

// What a failed run leaves is evidence; an interrupted one leaves nothing.
func TestOnlyAFailedRunLeavesItsData(t *testing.T) {
	broken := errors.New("broken")
	for _, c := range []struct {
		ok, keep bool
		err      error
		left     bool
	}{
		{true, false, nil, false}, {true, true, nil, true}, {false, false, nil, true},
		{false, false, broken, true}, {false, false, context.Canceled, false}, {false, true, context.Canceled, true},
	} {
		w, err := openWorkspace("")
		require.NoError(t, err)
		left, err := w.tidy(c.ok, c.keep, c.err)
		require.ErrorIs(t, err, c.err)
		require.Equal(t, c.left, left != "")
		if c.left {
			require.NoError(t, w.clear())
		}
		require.NoDirExists(t, w.dir)
	}
}
