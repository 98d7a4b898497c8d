package journal

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/claudefs/repl/uring"
	"github.com/claudefs/repl/wire"
)

// realDisks are the operating system's files by system calls and, where there is
// one, by a ring.
func realDisks(t *testing.T, test func(t *testing.T, d vfs.FS)) {
	t.Run("os", func(t *testing.T) { test(t, vfs.OS{}) })
	t.Run("io_uring", func(t *testing.T) {
		if err := uring.Supported(); err != nil {
			t.Skip(err)
		}
		disk, err := uring.OpenDisk(uring.DiskOptions{})
		require.NoError(t, err)
		test(t, disk)
		require.NoError(t, disk.Close())
	})
}

func TestRealFilesWithTheDefaultSizes(t *testing.T) { // I1
	realDisks(t, realFilesWithTheDefaultSizes)
}

func realFilesWithTheDefaultSizes(t *testing.T, d vfs.FS) {
	o := Options{FS: d, Dir: filepath.Join(t.TempDir(), "a", "own"), Kind: Own, Cluster: testCluster, Site: 5}
	w := newWriter(5)
	var want [][]byte
	for round := range 3 {
		j, rec, err := Open(o)
		require.NoError(t, err)
		require.Equal(t, round == 0, rec.Created)
		_, _, err = Open(o)
		require.ErrorIs(t, err, vfs.ErrLocked)
		require.ErrorContains(t, err, "LOCK")
		for i := range 20 {
			b := w.batch(wire.Shard(i%4), 50000*i)
			_, err := j.Stage([]wire.BatchRef{b}, nil)
			require.NoError(t, err)
			want = append(want, b.Bytes)
		}
		require.NoError(t, flush(j))
		got, errs := readAll(j, 1)
		require.Empty(t, errs)
		require.True(t, equalAll(want, got))
		require.NoError(t, j.Close())
	}
}

func TestDirectoryThatCannotBeWrittenIsNamed(t *testing.T) { // I10
	realDisks(t, directoryThatCannotBeWritten)
}

func directoryThatCannotBeWritten(t *testing.T, d vfs.FS) {
	dir := t.TempDir()
	o := Options{FS: d, Dir: filepath.Join(dir, "file", "own"), Kind: Own, Cluster: testCluster, Site: 5}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o600))
	_, _, err := Open(o)
	require.ErrorContains(t, err, filepath.Join(dir, "file"))
	if os.Geteuid() == 0 {
		t.Log("permissions do not bind the superuser; tried as another user only")
		return
	}
	o.Dir = filepath.Join(dir, "closed")
	require.NoError(t, os.Mkdir(o.Dir, 0o500))
	_, _, err = Open(o)
	require.ErrorIs(t, err, os.ErrPermission)
	require.ErrorContains(t, err, o.Dir)
}
