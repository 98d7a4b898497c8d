package uring_test

import (
	"io/fs"
	"path"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/claudefs/repl/engine/store/vfs/vfstest"
	"github.com/claudefs/repl/uring"
)

func TestRingFilesConform(t *testing.T) {
	onLoops(t, func(t *testing.T, o uring.LoopOptions) {
		vfstest.Conformance(t, func(t *testing.T) (vfs.FS, string) {
			return openLoop(t, o).FS(), path.Join(t.TempDir(), "a", "b")
		})
	})
}

func TestADurableWriteIsOneOperation(t *testing.T) { // I1
	l := openLoop(t, uring.LoopOptions{})
	f, err := l.FS().Create(filepath.Join(t.TempDir(), "f"))
	require.NoError(t, err)
	require.NoError(t, f.(*uring.File).WriteDurable([][]byte{[]byte("one"), []byte("two")}, 7))
	b := make([]byte, 13)
	n, err := f.ReadAt(b, 0)
	require.NoError(t, err)
	require.Equal(t, "\x00\x00\x00\x00\x00\x00\x00onetwo", string(b[:n]))
	require.NoError(t, f.Close())
}

func TestASteadyWriterToRingFilesAllocatesNothing(t *testing.T) {
	f, err := openLoop(t, uring.LoopOptions{}).FS().Create(path.Join(t.TempDir(), "f"))
	require.NoError(t, err)
	parts := [][]byte{make([]byte, 128), make([]byte, 300), make([]byte, 3668), make([]byte, 1), make([]byte, 1),
		make([]byte, 1), make([]byte, 1), make([]byte, 1), make([]byte, 1), make([]byte, 1), make([]byte, 1)}
	once := func() {
		if err := f.WriteAt(parts, 0); err != nil {
			t.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 * 32 { // each of the loop's operations has grown its pins
		once()
	}
	require.Zero(t, testing.AllocsPerRun(50, once))
	require.NoError(t, f.Close())
}

func TestManyGoroutinesShareTheRingsFiles(t *testing.T) {
	l := openLoop(t, uring.LoopOptions{})
	f, err := l.FS().Create(path.Join(t.TempDir(), "f"))
	require.NoError(t, err)
	const writers, each = 100, 1000
	done := make(chan error, writers)
	for i := range writers {
		go func() { // ends with its write and read
			data := fill(make([]byte, each), i*each)
			err := f.WriteAt([][]byte{data[:1], data[1:]}, int64(i*each))
			got := make([]byte, each)
			if err == nil {
				_, err = f.ReadAt(got, int64(i*each))
			}
			if err == nil && !isPattern(got, i*each) {
				err = fs.ErrInvalid
			}
			done <- err
		}()
	}
	for range writers {
		require.NoError(t, <-done)
	}
	require.NoError(t, f.Sync())
	require.NoError(t, f.Close())
}

func TestFilesOfAClosedLoopSaySo(t *testing.T) {
	needRing(t)
	l, err := uring.OpenLoop(uring.LoopOptions{})
	require.NoError(t, err)
	name := path.Join(t.TempDir(), "f")
	f, err := l.FS().Create(name)
	require.NoError(t, err)
	require.NoError(t, l.Close())
	require.NoError(t, l.Close(), "a second time")
	for range 100 { // more than the loop's operations: each is given back
		err = f.WriteAt([][]byte{[]byte("x")}, 0)
		require.ErrorIs(t, err, fs.ErrClosed)
		require.ErrorContains(t, err, name)
	}
	require.ErrorIs(t, f.Sync(), fs.ErrClosed)
	_, err = f.ReadAt(make([]byte, 1), 0)
	require.ErrorIs(t, err, fs.ErrClosed)
	require.NoError(t, f.Close())
	require.ErrorIs(t, f.Sync(), fs.ErrClosed)
}
