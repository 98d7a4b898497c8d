package fsnode

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/claudefs/repl/tools/fsclient"
)

// readableByOthers lists what group or others may touch below dir.
func readableByOthers(t *testing.T, dir string) (paths []string) {
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		require.NoError(t, err)
		info, err := d.Info()
		require.NoError(t, err)
		if info.Mode().Perm()&0o077 != 0 {
			paths = append(paths, path)
		}
		return nil
	}))
	return paths
}

// Not parallel: the umask is the process's. The data directory was made by an
// earlier release, or by hand.
func TestDataDirectoryIsItsOwnersAlone(t *testing.T) {
	old := unix.Umask(0)
	defer unix.Umask(old)
	s := &site{t: t, o: Options{Cluster: "test", Site: "site-a", DataDir: filepath.Join(t.TempDir(), "a"), Shards: 16}}
	s.start()
	_, err := s.client.Import(t.Context(), tree(t, 1, 9), fsclient.ImportOptions{ID: "1"})
	require.NoError(t, err)
	require.Empty(t, readableByOthers(t, s.o.DataDir))
	s.stop()

	require.NoError(t, filepath.WalkDir(s.o.DataDir, func(path string, d fs.DirEntry, err error) error {
		require.NoError(t, err)
		mode := fs.FileMode(0o644)
		if d.IsDir() {
			mode = 0o755
		}
		return os.Chmod(path, mode)
	}))
	s.start()
	defer s.stop()
	require.Empty(t, readableByOthers(t, s.o.DataDir))
}
