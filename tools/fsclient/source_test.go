package fsclient

import (
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// With openat2 and without: nothing outside of the tree is opened, by whatever way.
func TestOpenBeneathStaysBeneath(t *testing.T) {
	top := t.TempDir()
	dir := filepath.Join(top, "tree")
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "a", "b"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a", "b", "f"), []byte("in"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(top, "secret"), []byte("out"), 0o600))
	require.NoError(t, os.Symlink("a", filepath.Join(dir, "link")))
	require.NoError(t, os.Symlink("../secret", filepath.Join(dir, "out")))
	root, err := openRoot(dir)
	require.NoError(t, err)
	defer root.Close()
	before := noOpenat2.Load()
	defer noOpenat2.Store(before)
	for _, without := range []bool{before, true} {
		noOpenat2.Store(without)
		f, err := openBeneath(root.f, "a/b/f", unix.O_RDONLY)
		require.NoError(t, err)
		require.NoError(t, f.Close())
		f, err = openBeneath(root.f, "out", unix.O_PATH)
		require.NoError(t, err)
		target, err := readlink(f)
		require.NoError(t, err)
		require.Equal(t, "../secret", target)
		require.NoError(t, f.Close())
		for _, path := range []string{"link/b/f", "out", "link", "../secret", "a/../../secret", "a//b/f"} {
			f, err := openBeneath(root.f, path, unix.O_RDONLY)
			if path == "a//b/f" && err == nil {
				require.NoError(t, f.Close())
				continue // the same place
			}
			require.Error(t, err, "%s, without openat2: %v", path, without)
		}
	}
}

func TestTimesAreKeptOrTheNearest(t *testing.T) {
	for _, c := range []struct {
		sec, nsec, ns int64
		kept          bool
	}{
		{0, 0, 0, true},
		{-1, 0, -1_000_000_000, true},
		{-1, 999_999_999, -1, true},
		{-2, 500_000_000, -1_500_000_000, true},
		{9_223_372_036, 854_775_807, math.MaxInt64, true},
		{9_223_372_036, 854_775_808, math.MaxInt64, false},
		{9_223_372_037, 0, math.MaxInt64, false},
		{math.MaxInt64, 0, math.MaxInt64, false},
		{-9_223_372_037, 145_224_192, math.MinInt64, true},
		{-9_223_372_037, 145_224_191, math.MinInt64, false},
		{-9_223_372_036, 0, -9_223_372_036_000_000_000, true},
		{-11_644_473_600, 0, math.MinInt64, false},
		{math.MinInt64, 0, math.MinInt64, false},
	} {
		ns, kept := nanoseconds(unix.Timespec{Sec: c.sec, Nsec: c.nsec})
		require.Equal(t, c.ns, ns, c)
		require.Equal(t, c.kept, kept, c)
	}
}
