package vfstest

import (
	"bytes"
	"io"
	"io/fs"
	"path"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine/store/vfs"
)

// Conformance is what every disk must pass. open returns a fresh one and a
// directory, not there yet, that the test may use.
func Conformance(t *testing.T, open func(t *testing.T) (d vfs.FS, dir string)) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, d vfs.FS, dir string)
	}{
		{"FilesKeepWhatIsWritten", filesKeepWhatIsWritten},
		{"AGatheredWriteOfMorePartsThanTheKernelTakes", aGatheredWriteOfMorePartsThanTheKernelTakes},
		{"NamesMoveAndLeave", namesMoveAndLeave},
		{"AnOpenFileOutlivesItsName", anOpenFileOutlivesItsName},
		{"OneLockHolderAtATime", oneLockHolderAtATime},
		{"ReadingBesideWriting", readingBesideWriting},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, dir := open(t)
			c.test(t, d, dir)
		})
	}
}

func read(t *testing.T, f vfs.File) []byte {
	t.Helper()
	size, err := f.Size()
	require.NoError(t, err)
	b := make([]byte, size)
	n, err := f.ReadAt(b, 0)
	if size > 0 {
		require.NoError(t, err)
	}
	require.EqualValues(t, size, n)
	return b
}

func filesKeepWhatIsWritten(t *testing.T, d vfs.FS, dir string) {
	require.NoError(t, d.MkdirAll(dir))
	require.NoError(t, d.MkdirAll(dir), "a directory that is there is no error")
	name := path.Join(dir, "f")
	_, err := d.Open(name)
	require.ErrorIs(t, err, fs.ErrNotExist)
	f, err := d.Create(name)
	require.NoError(t, err)
	_, err = d.Create(name)
	require.ErrorIs(t, err, fs.ErrExist)

	require.NoError(t, f.WriteAt([][]byte{[]byte("one"), nil, []byte("two"), []byte("three")}, 5000))
	b := read(t, f)
	require.Equal(t, append(make([]byte, 5000), "onetwothree"...), b)
	n, err := f.ReadAt(make([]byte, 20), 5005)
	require.Equal(t, 6, n)
	require.ErrorIs(t, err, io.EOF)
	_, err = f.ReadAt(make([]byte, 1), 9000)
	require.ErrorIs(t, err, io.EOF)

	require.NoError(t, f.Truncate(5003))
	require.NoError(t, f.Truncate(5008))
	require.Equal(t, append(make([]byte, 5000), "one\x00\x00\x00\x00\x00"...), read(t, f))
	require.NoError(t, f.Sync())
	require.NoError(t, f.Close())
	g, err := d.Open(name)
	require.NoError(t, err)
	require.Len(t, read(t, g), 5008)
	require.NoError(t, g.Close())
	require.Error(t, g.Sync(), "a closed file says so")
}

func aGatheredWriteOfMorePartsThanTheKernelTakes(t *testing.T, d vfs.FS, dir string) {
	require.NoError(t, d.MkdirAll(dir))
	f, err := d.Create(path.Join(dir, "f"))
	require.NoError(t, err)
	var parts [][]byte
	for i := range 5000 {
		parts = append(parts, bytes.Repeat([]byte{byte(i)}, i%7))
	}
	require.NoError(t, f.WriteAt(parts, 3))
	require.Equal(t, bytes.Join(parts, nil), read(t, f)[3:])
	require.Len(t, parts[6], 6, "the caller's parts stay as they were")
	require.NoError(t, f.Close())
}

func namesMoveAndLeave(t *testing.T, d vfs.FS, dir string) {
	require.NoError(t, d.MkdirAll(path.Join(dir, "sub")))
	for _, name := range []string{"b", "a", "c"} {
		f, err := d.Create(path.Join(dir, name))
		require.NoError(t, err)
		require.NoError(t, f.WriteAt([][]byte{[]byte(name)}, 0))
		require.NoError(t, f.Close())
	}
	names, err := d.List(dir)
	require.NoError(t, err)
	require.Equal(t, []string{"a", "b", "c", "sub"}, names)
	require.NoError(t, d.Rename(path.Join(dir, "a"), path.Join(dir, "b")))
	require.NoError(t, d.Remove(path.Join(dir, "c")))
	require.NoError(t, d.SyncDir(dir))
	names, err = d.List(dir)
	require.NoError(t, err)
	require.Equal(t, []string{"b", "sub"}, names)
	f, err := d.Open(path.Join(dir, "b"))
	require.NoError(t, err)
	require.Equal(t, "a", string(read(t, f)))
	require.NoError(t, f.Close())
	for _, err := range []error{
		d.Remove(path.Join(dir, "x")), d.Rename(path.Join(dir, "x"), path.Join(dir, "y")),
		d.SyncDir(path.Join(dir, "none")),
	} {
		require.ErrorIs(t, err, fs.ErrNotExist)
		require.ErrorContains(t, err, dir, "an error names the path")
	}
	_, err = d.List(path.Join(dir, "none"))
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.Error(t, d.MkdirAll(path.Join(dir, "b", "under-a-file")))
}

func anOpenFileOutlivesItsName(t *testing.T, d vfs.FS, dir string) {
	require.NoError(t, d.MkdirAll(dir))
	f, err := d.Create(path.Join(dir, "f"))
	require.NoError(t, err)
	require.NoError(t, f.WriteAt([][]byte{[]byte("still here")}, 0))
	require.NoError(t, d.Remove(path.Join(dir, "f")))
	require.Equal(t, "still here", string(read(t, f)))
	require.NoError(t, f.Close())
}

func oneLockHolderAtATime(t *testing.T, d vfs.FS, dir string) {
	require.NoError(t, d.MkdirAll(dir))
	name := path.Join(dir, "LOCK")
	lock, err := d.Lock(name)
	require.NoError(t, err)
	_, err = d.Lock(name)
	require.ErrorIs(t, err, vfs.ErrLocked)
	require.ErrorContains(t, err, name)
	require.NoError(t, d.Remove(name))
	_, err = d.Lock(name)
	require.ErrorIs(t, err, vfs.ErrLocked, "removing the file gives nothing away")
	require.NoError(t, lock.Close())
	lock, err = d.Lock(name)
	require.NoError(t, err)
	require.NoError(t, lock.Close())
}

func readingBesideWriting(t *testing.T, d vfs.FS, dir string) {
	require.NoError(t, d.MkdirAll(dir))
	f, err := d.Create(path.Join(dir, "f"))
	require.NoError(t, err)
	require.NoError(t, f.WriteAt([][]byte{[]byte(strings.Repeat("x", 4096))}, 0))
	done := make(chan error)
	go func() { // ends after 200 writes
		var err error
		for i := 0; i < 200 && err == nil; i++ {
			err = f.WriteAt([][]byte{[]byte("more")}, int64(4096+4*i))
		}
		done <- err
	}()
	b := make([]byte, 4096)
	for range 200 {
		_, err := f.ReadAt(b, 0)
		require.NoError(t, err)
		require.Equal(t, byte('x'), b[4095])
	}
	require.NoError(t, <-done)
	require.NoError(t, f.Close())
}
