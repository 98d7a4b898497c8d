package vfs_test

import (
	"io/fs"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine/store/vfs"
)

func all(f vfs.Fate) func(vfs.Unsynced) vfs.Fate { return func(vfs.Unsynced) vfs.Fate { return f } }

func create(t *testing.T, d vfs.FS, name, content string) vfs.File {
	t.Helper()
	f, err := d.Create(name)
	require.NoError(t, err)
	require.NoError(t, f.WriteAt([][]byte{[]byte(content)}, 0))
	return f
}

func content(t *testing.T, d vfs.FS, name string) string {
	t.Helper()
	f, err := d.Open(name)
	require.NoError(t, err)
	return string(read(t, f))
}

func TestSyncedFileVanishesWithoutItsName(t *testing.T) {
	m := vfs.NewMem(vfs.MemOptions{})
	f := create(t, m, "f", "hello")
	require.NoError(t, f.Sync())
	_, err := m.Crash(all(vfs.Drop)).Open("f")
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.NoError(t, m.SyncDir("."))
	require.Equal(t, "hello", content(t, m.Crash(all(vfs.Drop)), "f"))
}

func TestNameWithoutASyncLosesItsBytes(t *testing.T) {
	m := vfs.NewMem(vfs.MemOptions{})
	f := create(t, m, "f", "hello")
	require.NoError(t, m.SyncDir("."))
	require.Empty(t, content(t, m.Crash(all(vfs.Drop)), "f"))
	require.Equal(t, "hello", content(t, m.Crash(all(vfs.Keep)), "f"))
	require.NoError(t, f.Sync())
	require.NoError(t, f.WriteAt([][]byte{[]byte("HELLO, world")}, 0))
	require.Equal(t, "hello", content(t, m.Crash(all(vfs.Drop)), "f"))
	require.Equal(t, "HELLO, world", content(t, m, "f"), "the disk itself goes on")
}

func TestRenameIsThereOrNotAsAWhole(t *testing.T) {
	m := vfs.NewMem(vfs.MemOptions{})
	require.NoError(t, create(t, m, "old", "old").Sync())
	require.NoError(t, create(t, m, "new", "new").Sync())
	require.NoError(t, m.SyncDir("."))
	require.NoError(t, m.Rename("new", "old"))
	require.Len(t, m.Unsynced(), 1)
	dropped, kept := m.Crash(all(vfs.Drop)), m.Crash(all(vfs.Keep))
	require.Equal(t, []string{"new", "old"}, dropped.Names(""))
	require.Equal(t, "old", content(t, dropped, "old"))
	require.Equal(t, []string{"old"}, kept.Names(""))
	require.Equal(t, "new", content(t, kept, "old"))
	require.NoError(t, m.SyncDir("."))
	require.Empty(t, m.Unsynced())
}

func TestEverySubsetOfSectorsCanSurvive(t *testing.T) {
	m := vfs.NewMem(vfs.MemOptions{})
	f := create(t, m, "f", strings.Repeat("a", 2048))
	require.NoError(t, f.Sync())
	require.NoError(t, m.SyncDir("."))
	require.NoError(t, f.WriteAt([][]byte{[]byte(strings.Repeat("b", 1100))}, 500))
	require.Len(t, m.Unsynced(), 4, "sectors 0 to 3")
	seen := map[string]bool{}
	for subset := range 16 {
		i := -1
		c := m.Crash(func(u vfs.Unsynced) vfs.Fate {
			i++
			require.Equal(t, int64(i), u.Sector)
			return vfs.Fate(subset >> i & 1)
		})
		b := content(t, c, "f")
		for s := range 4 {
			want := strings.Repeat("a", 2048)[512*s : 512*s+512]
			if subset>>s&1 == 1 {
				want = content(t, m, "f")[512*s : 512*s+512]
			}
			require.Equal(t, want, b[512*s:512*s+512])
		}
		seen[b] = true
		require.Empty(t, c.Unsynced(), "what survived is durable")
	}
	require.Len(t, seen, 16)
	torn := content(t, m.Crash(all(vfs.Torn)), "f")
	require.True(t, torn[1023] == 'a' && torn[512] == 'b', "new in front, old behind")
	rubbish := content(t, m.Crash(all(vfs.Rubbish)), "f")
	require.NotEqual(t, rubbish, torn)
}

func TestTruncationMayOrMayNotSurvive(t *testing.T) {
	m := vfs.NewMem(vfs.MemOptions{})
	f := create(t, m, "f", strings.Repeat("a", 10000))
	require.NoError(t, f.Sync())
	require.NoError(t, m.SyncDir("."))
	require.NoError(t, f.Truncate(100))
	require.Len(t, content(t, m.Crash(all(vfs.Keep)), "f"), 100)
	require.Equal(t, strings.Repeat("a", 10000), content(t, m.Crash(all(vfs.Drop)), "f"))
}

func TestSameSeedLeavesTheSameDisk(t *testing.T) {
	m := vfs.NewMem(vfs.MemOptions{})
	for _, name := range []string{"a", "b", "c", "d"} {
		create(t, m, name, strings.Repeat(name, 5000))
	}
	image := func() string {
		c := m.Crash(vfs.RandomFates(rand.New(rand.NewPCG(7, 7))))
		var b strings.Builder
		for _, name := range c.Names("") {
			b.WriteString(name + content(t, c, name))
		}
		return b.String()
	}
	first := image()
	for range 20 {
		require.Equal(t, first, image())
	}
}

func TestEndOfAProcessEndsHandlesAndLocksOnly(t *testing.T) {
	m := vfs.NewMem(vfs.MemOptions{})
	f := create(t, m, "f", "unsynced")
	_, err := m.Lock("LOCK")
	require.NoError(t, err)
	m.Kill()
	require.ErrorIs(t, f.Sync(), fs.ErrClosed)
	require.Equal(t, "unsynced", content(t, m, "f"))
	_, err = m.Lock("LOCK")
	require.NoError(t, err)
	require.NotEmpty(t, m.Unsynced())
}

func TestFullDiskRefusesAndGivesRoomBack(t *testing.T) { // I10
	m := vfs.NewMem(vfs.MemOptions{CapacityBytes: 8192})
	f := create(t, m, "f", strings.Repeat("x", 8192))
	err := f.WriteAt([][]byte{{1}}, 8192)
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.ErrorContains(t, err, "f")
	require.NoError(t, f.WriteAt([][]byte{{1}}, 0), "what is there can be written over")
	require.NoError(t, f.Close())
	require.NoError(t, m.Remove("f"))
	create(t, m, "g", strings.Repeat("x", 8192))
}

// TestFailedSyncTakesBytesForWritten: the cache shows them, a later Sync leaves
// them out, a power cut takes them back; Refresh tells the truth, and writing
// them again saves them.
func TestFailedSyncTakesBytesForWritten(t *testing.T) { // G5
	m := vfs.NewMem(vfs.MemOptions{})
	d := vfs.WithFaults(m, vfs.Fault{Op: vfs.OpSync, Match: "f", Call: 2, Effect: vfs.SyncThenClean})
	f := create(t, d, "f", "old")
	require.NoError(t, f.Sync())
	require.NoError(t, d.SyncDir("."))
	require.NoError(t, f.WriteAt([][]byte{[]byte("new")}, 0))
	require.ErrorIs(t, f.Sync(), syscall.EIO)
	require.NoError(t, f.Sync())
	require.Equal(t, "new", content(t, m, "f"))
	require.Equal(t, "old", content(t, m.Crash(all(vfs.Drop)), "f"))
	require.NoError(t, f.Refresh())
	require.Equal(t, "old", content(t, m, "f"))
	require.NoError(t, f.WriteAt([][]byte{[]byte("new")}, 0))
	require.NoError(t, f.Sync())
	require.Equal(t, "new", content(t, m.Crash(all(vfs.Drop)), "f"))
}

func TestFaultsStrikeByScript(t *testing.T) { // G5
	m := vfs.NewMem(vfs.MemOptions{})
	d := vfs.WithFaults(m,
		vfs.Fault{Op: vfs.OpWrite, Match: "f", Call: 2, Effect: vfs.ShortWrite, Err: syscall.ENOSPC},
		vfs.Fault{Op: vfs.OpSync, Match: "f", Call: 1, Effect: vfs.SyncThenLie},
		vfs.Fault{Op: vfs.OpRead, Call: 1, Effect: vfs.FlipBit, Bit: 3},
		vfs.Fault{Op: vfs.OpCreate, Match: "h*", Call: 1, Forever: true},
		vfs.Fault{Op: vfs.OpWrite, Match: "g", Call: 2, Effect: vfs.LoseWrite},
	)
	f := create(t, d, "f", "12345678")
	require.ErrorIs(t, f.WriteAt([][]byte{[]byte("ab"), []byte("cdef")}, 0), syscall.ENOSPC)
	require.Equal(t, "abc45678", content(t, m, "f"), "half of it was written")
	require.ErrorIs(t, f.Sync(), syscall.EIO)
	require.NoError(t, f.Sync(), "it lies now")
	require.NoError(t, d.SyncDir("."))
	require.Empty(t, content(t, m.Crash(all(vfs.Drop)), "f"))
	b := make([]byte, 1)
	_, err := f.ReadAt(b, 0)
	require.NoError(t, err)
	require.Equal(t, byte('a')^8, b[0])
	for range 3 {
		_, err := d.Create("h1")
		require.ErrorIs(t, err, syscall.EIO)
	}
	g := create(t, d, "g", "old")
	require.NoError(t, g.WriteAt([][]byte{[]byte("new")}, 0))
	require.Equal(t, "old", content(t, m, "g"))
	require.Equal(t, 7, d.Hits())
	require.Equal(t, 4, d.Calls(vfs.OpWrite))
	require.Equal(t, 2, d.Calls(vfs.OpSync))
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
