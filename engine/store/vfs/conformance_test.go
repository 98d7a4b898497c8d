package vfs_test

import (
	"path"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/claudefs/repl/engine/store/vfs/vfstest"
)

// The real thing and its stand-ins: one contract for all.

func TestRealFilesConform(t *testing.T) {
	vfstest.Conformance(t, func(t *testing.T) (vfs.FS, string) { return vfs.OS{}, path.Join(t.TempDir(), "a", "b") })
}

func TestMemoryDiskConforms(t *testing.T) {
	vfstest.Conformance(t, func(*testing.T) (vfs.FS, string) { return vfs.NewMem(vfs.MemOptions{}), "a/b" })
}

func TestDiskThatCanFailConforms(t *testing.T) {
	vfstest.Conformance(t, func(*testing.T) (vfs.FS, string) {
		return vfs.WithFaults(vfs.NewMem(vfs.MemOptions{})), "a/b"
	})
}

func TestDiskWithUnreachedFailpointConforms(t *testing.T) {
	never := vfs.Failpoint{Op: vfs.OpWrite, Call: 1 << 30}
	strike := func() { panic("struck") }
	vfstest.Conformance(t, func(t *testing.T) (vfs.FS, string) {
		return vfs.AtFailpoint(vfs.OS{}, never, strike), path.Join(t.TempDir(), "a", "b")
	})
	vfstest.QueueConformance(t, func(*testing.T) (vfs.Queuer, string) {
		return vfs.AtFailpoint(vfs.NewMem(vfs.MemOptions{}), never, strike).(vfs.Queuer), "."
	})
}

func TestQueuesOfStandInsConform(t *testing.T) {
	youngestFirst := func(n int) int { return n - 1 }
	for _, order := range []func(int) int{nil, youngestFirst} {
		vfstest.QueueConformance(t, func(*testing.T) (vfs.Queuer, string) {
			return vfs.NewMem(vfs.MemOptions{QueueOrder: order}), "."
		})
		vfstest.QueueConformance(t, func(*testing.T) (vfs.Queuer, string) {
			return vfs.WithFaults(vfs.NewMem(vfs.MemOptions{QueueOrder: order})), "."
		})
	}
}

func TestSteadyWriterToRealFilesAllocatesNothing(t *testing.T) {
	name := path.Join(t.TempDir(), "f")
	f, err := vfs.OS{}.Create(name)
	require.NoError(t, err)
	parts := [][]byte{make([]byte, 128), make([]byte, 300), nil}
	for range 256 { // what one flush of as many shards writes
		parts = append(parts, make([]byte, 400))
	}
	require.Zero(t, testing.AllocsPerRun(50, func() {
		if err := f.WriteAt(parts, 0); err != nil {
			t.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
	}))
	require.NoError(t, f.Close())
}
