package engine_test

import (
	"fmt"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/engine/store"
	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/claudefs/repl/wire/link/linktest"
	"github.com/stretchr/testify/require"
)

// trio is three sites that replicate; site-a writes.
func trio(t testing.TB) (a, b, c *site) {
	net := linktest.NewMemory()
	a = newSite(t, net, "site-a", "site-b", "site-c")
	b = newSite(t, net, "site-b", "site-a", "site-c")
	c = newSite(t, net, "site-c", "site-a", "site-b")
	return a, b, c
}

// image is a site's disk and Store as a backup has them; the site is closed.
func (s *site) image() (*vfs.Mem, *store.Mem) {
	return s.disk.Crash(func(vfs.Unsynced) vfs.Fate { return vfs.Keep }),
		s.store.Crash(func(_ engine.Shard, unsynced int) int { return unsynced })
}

// TestDamagedOwnLogIsNoSource: the only peer lacks what is damaged in site-a's own
// journal. Nothing from the damage on is sent to it, and status says so; the other
// logs go on (I9, I10).
func TestDamagedOwnLogIsNoSource(t *testing.T) {
	a, b := pair(t)
	b.start()
	a.start()
	a.put(1, "before", "v", engine.Applied(1))
	a.put(2, "before", "v", engine.Applied(1))
	b.end()
	for i := range 20 {
		a.put(1, fmt.Sprintf("key %d", i), fmt.Sprintf("payload %d.", i), engine.AppliedHere)
	}
	a.end()
	a.spoil("own", "payload 10.")
	a.start()
	b.start()
	a.put(2, "other", "v", engine.Applied(1))
	require.Equal(t, "v", b.value(2, "other"))
	a.awaitEvent("log-stopped")
	st := a.Status()
	require.Equal(t, "FAILED", st.Health)
	require.Contains(t, st.Reason, "site-b")
	require.NotZero(t, st.Journals[0].Damage)
	require.Len(t, st.Peers[0].StoppedLogs, 1)
	require.Equal(t, "v", b.value(1, "before"))
	for i := 10; i < 20; i++ {
		require.Empty(t, b.value(1, fmt.Sprintf("key %d", i)), "from the damage on")
	}
}

// TestDamagedOwnLogIsMendedFromAnotherSite: site-c lacks what is damaged in site-a's
// own journal, site-b has it. It is fetched back by position and chain, and site-c
// gets all of it (I4, I9, I14).
func TestDamagedOwnLogIsMendedFromAnotherSite(t *testing.T) {
	a, b, c := trio(t)
	for _, s := range []*site{b, c, a} {
		s.start()
	}
	a.put(1, "before", "v", engine.Applied(2))
	c.end()
	for i := range 20 {
		a.put(1, fmt.Sprintf("key %d", i), fmt.Sprintf("payload %d.", i), engine.Applied(1))
	}
	b.end()
	a.end()
	a.spoil("own", "payload 10.")
	a.spoil("own", "payload 15.")
	a.start()
	c.start()
	a.awaitEvent("log-stopped") // towards site-c: site-b, who has it, is not there
	b.start()
	event := a.awaitEvent("log-repaired")
	require.Contains(t, event.Text, "the own journal")
	a.put(1, "after", "v", engine.Applied(2))
	sameDigests(t, a, b)
	sameDigests(t, a, c)
	require.Equal(t, "payload 10.", c.value(1, "key 10"))
	st := a.Status()
	for i := range st.Peers {
		require.Empty(t, st.Peers[i].StoppedLogs, st.Peers[i].Site)
	}
	require.NotEqual(t, "FAILED", st.Health, st.Reason)
	a.end()
	a.start() // The repair outlives a restart.
	a.put(1, "last", "v", engine.Applied(2))
}

// TestDamagedMirrorIsNoSourceForALostTail: site-a is restored from an older image.
// What it lost lies damaged at site-b and whole at site-c: it comes from site-c, by
// position and chain, and site-b's copy is mended from site-a again (I4, I9).
func TestDamagedMirrorIsNoSourceForALostTail(t *testing.T) {
	for n, damaged := range []int{11, 19, 11, 19} { // in the middle; the end, which nothing else proves
		a, b, c := trio(t)
		a.options.VerifyWait = patience
		for _, s := range []*site{b, c, a} {
			s.start()
		}
		for i := range 10 {
			a.put(1, fmt.Sprintf("key %d", i), fmt.Sprintf("payload %d.", i), engine.Applied(2))
		}
		a.end()
		disk, kept := a.image()
		a.start()
		for i := 10; i < 20; i++ {
			a.put(1, fmt.Sprintf("key %d", i), fmt.Sprintf("payload %d.", i), engine.Applied(2))
		}
		for _, s := range []*site{a, b, c} {
			s.end()
		}
		b.spoil("mirror", fmt.Sprintf("payload %d.", damaged))
		a.disk, a.store, a.options.FS, a.options.Store = disk, kept, disk, kept
		b.store = store.NewMem()
		b.options.Store = b.store

		order := []*site{b, c, a}
		if n >= 2 { // site-b has been asked in vain before site-c comes
			order = []*site{b, a, c}
		}
		for _, s := range order {
			if s.start(); s == a && n >= 2 {
				a.awaitEvent("log-stopped")
			}
		}
		a.put(1, "more", "v", engine.Applied(2))
		sameDigests(t, a, b)
		sameDigests(t, a, c)
		for i := range 20 {
			for _, s := range []*site{a, b, c} {
				require.Equal(t, fmt.Sprintf("payload %d.", i), s.value(1, fmt.Sprintf("key %d", i)), s.options.Site)
			}
		}
		for _, s := range []*site{a, b, c} {
			require.Empty(t, s.Status().StoppedLogs)
		}
		for _, s := range []*site{a, b, c} {
			s.end()
		}
	}
}

// TestPeerThatCannotReadJustNowIsAskedAgain: site-a has a new disk, and the only peer
// fails to read once while it gives the log back. That is no word about the log: the
// link ends, and the next one brings everything (I14).
func TestPeerThatCannotReadJustNowIsAskedAgain(t *testing.T) {
	a, b := pair(t)
	a.options.VerifyWait = patience
	b.start()
	a.start()
	for i := range 20 {
		a.put(1, fmt.Sprintf("key %d", i), fmt.Sprintf("payload %d.", i), engine.Applied(1))
	}
	a.end()
	b.end()
	failing := &failingReads{FS: b.disk}
	b.options.FS = failing
	for n := range int32(3) {
		a.disk, a.store = vfs.NewMem(vfs.MemOptions{}), store.NewMem()
		a.options.FS, a.options.Store = a.disk, a.store
		b.start()
		failing.left.Store(n + 1)
		a.start()
		a.put(1, "after", "v", engine.Applied(1))
		require.LessOrEqual(t, failing.left.Load(), int32(0), "nothing was read")
		for i := range 20 {
			require.Equal(t, fmt.Sprintf("payload %d.", i), a.value(1, fmt.Sprintf("key %d", i)))
		}
		require.Empty(t, a.Status().StoppedLogs)
		a.end()
		b.end()
	}
}

// failingReads is a disk whose next reads fail.
type failingReads struct {
	vfs.FS
	left atomic.Int32
}

func (d *failingReads) Open(name string) (vfs.File, error) {
	f, err := d.FS.Open(name)
	return failingFile{f, d}, err
}

type failingFile struct {
	vfs.File
	disk *failingReads
}

func (f failingFile) ReadAt(b []byte, at int64) (int, error) {
	if f.disk.left.Add(-1) >= 0 {
		return 0, syscall.EIO
	}
	return f.File.ReadAt(b, at)
}
