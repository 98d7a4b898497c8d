package vfs_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/claudefs/repl/engine/store/vfs"
)

// modes of dir and all below it, symlinks left out.
func modes(t *testing.T, dir string) map[string]fs.FileMode {
	out := map[string]fs.FileMode{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		require.NoError(t, err)
		info, err := d.Info()
		require.NoError(t, err)
		if d.Type()&fs.ModeSymlink == 0 {
			name, err := filepath.Rel(dir, path)
			require.NoError(t, err)
			out[name] = info.Mode().Perm()
		}
		return nil
	}))
	return out
}

// Not parallel: the umask is the process's.
func TestNewFilesArePrivateUnderAnyUmask(t *testing.T) {
	for _, umask := range []int{0, 0o022, 0o377} {
		dir := filepath.Join(t.TempDir(), "a", "b") // before: an ordinary user could not enter it
		old := unix.Umask(umask)
		t.Cleanup(func() { unix.Umask(old) })
		err := vfs.OS{}.MkdirAll(dir)
		require.NoError(t, err)
		f, err := vfs.OS{}.Create(filepath.Join(dir, "f"))
		require.NoError(t, err)
		require.NoError(t, f.Close())
		unix.Umask(old)
		require.Equal(t, map[string]fs.FileMode{".": 0o700, "b": 0o700, "b/f": 0o600}, modes(t, filepath.Dir(dir)))
	}
}

func TestTightenTakesRightsOfOthers(t *testing.T) {
	top := t.TempDir()
	dir, outside := filepath.Join(top, "dir"), filepath.Join(top, "outside")
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "sub"), 0o777))
	for _, name := range []string{"f", "sub/g"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), nil, 0o644))
	}
	require.NoError(t, os.WriteFile(outside, nil, 0o644))
	require.NoError(t, os.Chmod(outside, 0o644))
	require.NoError(t, os.Symlink(outside, filepath.Join(dir, "link")))
	require.NoError(t, os.Chmod(dir, 0o2775))

	require.NoError(t, vfs.OS{}.Tighten(dir))
	require.Equal(t, map[string]fs.FileMode{".": 0o700, "sub": 0o700, "f": 0o600, "sub/g": 0o600}, modes(t, dir))
	info, err := os.Stat(outside)
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o644), info.Mode().Perm(), "a symlink is not followed")
	require.ErrorIs(t, vfs.OS{}.Tighten(filepath.Join(top, "none")), nil)
}
