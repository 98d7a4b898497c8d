package fsnode

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/claudefs/repl/tools/fsapi"
	"github.com/claudefs/repl/tools/fsclient"
	"github.com/claudefs/repl/tools/namespace"
	"github.com/claudefs/repl/wire"
)

// tree makes a directory tree with everything that an import must carry.
func tree(t testing.TB, dirs, files int) string {
	root := t.TempDir()
	r := rand.New(rand.NewPCG(1, 2))
	sizes := []int{0, 1, 100, 5000, namespace.ChunkBytes - 1, namespace.ChunkBytes, 5*namespace.ChunkBytes + 3}
	put := func(err error) { t.Helper(); require.NoError(t, err) }
	for d := range dirs {
		dir := filepath.Join(root, fmt.Sprintf("top %d", d), "below")
		put(os.MkdirAll(dir, 0o755))
		for f := range files {
			path := filepath.Join(dir, fmt.Sprintf("file-%d", f))
			data := make([]byte, sizes[(d+f)%len(sizes)])
			for i := range data {
				data[i] = byte(r.Uint32())
			}
			put(os.WriteFile(path, data, 0o640))
			put(os.Chtimes(path, time.Unix(1e9, 1), time.Unix(1e9+int64(f), 42)))
		}
		put(os.Link(filepath.Join(dir, "file-1"), filepath.Join(dir, "..", "hard")))
		put(os.Symlink("below/file-1", filepath.Join(dir, "..", "soft")))
		late := unix.Timespec{Sec: 2_200_000_000} // an access time to come: reading does not move it
		put(unix.UtimesNanoAt(unix.AT_FDCWD, filepath.Join(dir, "..", "soft"), []unix.Timespec{late, {Sec: 1e9}},
			unix.AT_SYMLINK_NOFOLLOW))
		if err := unix.Setxattr(filepath.Join(dir, "file-2"), "user.colour", []byte("blue"), 0); err != nil {
			t.Logf("extended attributes are not tested: %v", err)
		}
		put(os.Chmod(dir, 0o2750))
		put(os.Chtimes(dir, time.Time{}, time.Unix(1e9, 7)))
	}
	put(os.WriteFile(filepath.Join(root, "alone"), []byte("x"), 0o4755))
	put(syscall.Mkfifo(filepath.Join(root, "fifo"), 0o600))
	return root
}

// onDisk is what a walk of the imported tree must answer.
func onDisk(t testing.TB, root string) (rows []fsapi.WalkRow) {
	require.NoError(t, filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		require.NoError(t, err)
		info, err := os.Lstat(path)
		require.NoError(t, err)
		if path == root || info.Mode()&os.ModeNamedPipe != 0 {
			return nil
		}
		st := info.Sys().(*syscall.Stat_t)
		row := fsapi.WalkRow{
			Path: strings.TrimPrefix(path, root), Type: "file", Mode: st.Mode & 0o7777, UID: st.Uid, GID: st.Gid,
			Nlink: uint32(st.Nlink), Size: uint64(st.Size), Mtime: info.ModTime().UnixNano(),
		}
		switch {
		case info.IsDir():
			entries, err := os.ReadDir(path)
			require.NoError(t, err)
			row.Type, row.Size = "dir", uint64(len(entries))
		case info.Mode()&os.ModeSymlink != 0:
			row.Type = "symlink"
			row.Target, err = os.Readlink(path)
			require.NoError(t, err)
		default:
			data, err := os.ReadFile(path)
			require.NoError(t, err)
			sum := sha256.Sum256(data)
			row.Content = hex.EncodeToString(sum[:])
		}
		rows = append(rows, row)
		return nil
	}))
	return rows
}

// atNode is what the node answers; whether there are attributes is checked
// apart, for not every disk has them.
func atNode(t testing.TB, c *fsclient.Client) (rows []fsapi.WalkRow, attributed int) {
	require.NoError(t, c.Walk(t.Context(), "/", func(r fsapi.WalkRow) error {
		if r.Xattrs != "" {
			attributed++
			r.Xattrs = ""
		}
		if r.Path != "/" {
			rows = append(rows, r)
		}
		return nil
	}))
	return rows, attributed
}

// acks is the importer's log: what the node promised to keep.
type acks struct {
	mu   sync.Mutex
	refs map[wire.Ref]wire.RequestID
	seen func(count int)
}

func (a *acks) add(ack fsclient.Ack) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.refs == nil {
		a.refs = map[wire.Ref]wire.RequestID{}
	}
	a.refs[ack.Ref] = ack.Request
	if a.seen != nil {
		a.seen(len(a.refs))
	}
	return nil
}

// audit compares the rows of a site with what was acknowledged: nothing lost
// (I1), nothing done twice (I2).
func (a *acks) audit(t testing.TB, s *site) {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	rows := map[string]int{}
	require.NoError(t, s.client.Decided(t.Context(), 0, func(d fsapi.DecidedRow) error {
		rows[fmt.Sprint(d.Incarnation, d.Shard, d.Seq)]++
		return nil
	}))
	for key, count := range rows {
		require.Equal(t, 1, count, "entry %s was done twice", key)
	}
	for ref := range a.refs {
		key := fmt.Sprint(ref.Incarnation.String(), uint32(ref.Log.Shard), uint64(ref.Seq))
		require.Contains(t, rows, key, "acknowledged and lost")
	}
}

// level waits until b has applied all that a has.
func level(t testing.TB, a, b *site) fsapi.Digest {
	t.Helper()
	want, err := a.client.Digest(t.Context())
	require.NoError(t, err)
	var got fsapi.Digest
	require.Eventually(t, func() bool {
		got, err = b.client.Digest(t.Context())
		require.NoError(t, err)
		return got.Applied >= want.Applied
	}, 30*time.Second, 10*time.Millisecond)
	require.Equal(t, want, got, "I7")
	return got
}

func TestImportedTreeIsTheSameAtBothSites(t *testing.T) {
	a, b := pair(t)
	dir := tree(t, 5, 21)
	var log acks
	report, err := a.client.Import(t.Context(), dir, fsclient.ImportOptions{ID: "1", AckLog: log.add})
	require.NoError(t, err)
	require.Empty(t, report.Errors)
	require.EqualValues(t, 5*21+1, report.Files)
	require.EqualValues(t, 5, report.Links)
	require.EqualValues(t, 1, report.Skipped, "the fifo")
	require.EqualValues(t, report.Entries, len(log.refs))
	require.Equal(t, report.Bytes, report.AckedBytes)

	want, _ := atNode(t, a.client)
	require.ElementsMatch(t, onDisk(t, dir), want)
	level(t, a, b)
	got, attributed := atNode(t, b.client)
	require.Equal(t, want, got)
	if names, err := unix.Llistxattr(filepath.Join(dir, "top 0/below/file-2"),
		make([]byte, 99)); err == nil && names > 0 {
		require.Equal(t, 5, attributed)
	}
	log.audit(t, a)
	log.audit(t, b)
}

func TestImportRunAgainSendsNothing(t *testing.T) {
	a := alone(t)
	dir := tree(t, 2, 9)
	first, err := a.client.Import(t.Context(), dir, fsclient.ImportOptions{ID: "1"})
	require.NoError(t, err)
	require.Zero(t, first.Repeated)
	require.Zero(t, first.Same)
	before, err := a.client.Digest(t.Context())
	require.NoError(t, err)

	for _, id := range []string{"1", "2"} {
		again, err := a.client.Import(t.Context(), dir, fsclient.ImportOptions{ID: id})
		require.NoError(t, err)
		require.Empty(t, again.Errors)
		require.Zero(t, again.Entries)
		require.EqualValues(t, first.Files+first.Dirs+first.Symlinks+first.Links, again.Same)
		after, err := a.client.Digest(t.Context())
		require.NoError(t, err)
		require.Equal(t, before, after)
	}
}

func TestImportGoesOnOverARestartedNode(t *testing.T) {
	a, b := pair(t)
	dir := tree(t, 6, 60)
	restart := make(chan struct{}, 1)
	marks := []int{50, 300, 500}
	log := acks{seen: func(count int) {
		if len(marks) > 0 && count >= marks[0] {
			marks = marks[1:]
			restart <- struct{}{}
		}
	}}
	done := make(chan struct{})
	var report fsclient.Report
	var err error
	client := fsclient.New(a.addr)
	defer client.Close()
	go func() { // Ends with the import.
		defer close(done)
		report, err = client.Import(context.Background(), dir, fsclient.ImportOptions{ID: "1", AckLog: log.add})
	}()
	restarts := 0
	for running := true; running; {
		select {
		case <-restart:
			restarts++
			a.stop()
			a.start()
		case <-done:
			running = false
		}
	}
	require.NoError(t, err)
	require.Equal(t, 3, restarts)
	require.NotZero(t, report.Reconnects)
	require.Empty(t, report.Errors)
	rows, _ := atNode(t, a.client)
	require.ElementsMatch(t, onDisk(t, dir), rows)
	level(t, a, b)
	log.audit(t, a)
	log.audit(t, b)
}

func TestImportBelowADirectory(t *testing.T) {
	a := alone(t)
	dir := tree(t, 2, 3)
	_, err := a.client.Import(t.Context(), dir, fsclient.ImportOptions{ID: "1", To: "deep/er/"})
	require.NoError(t, err)
	var got bytes.Buffer
	require.NoError(t, a.client.Cat(t.Context(), "/deep/er/alone", 0, -1, &got))
	require.Equal(t, "x", got.String())
	count, err := a.client.Rm(t.Context(), "/deep", true)
	require.NoError(t, err)
	require.Equal(t, len(onDisk(t, dir))+2, count)
	d, err := a.client.Digest(t.Context())
	require.NoError(t, err)
	require.Zero(t, d.Inodes)
	require.Zero(t, d.Names)
}

func TestStandbyTakesNoImport(t *testing.T) {
	_, b := pair(t)
	report, err := b.client.Import(t.Context(), tree(t, 1, 3), fsclient.ImportOptions{ID: "1"})
	require.ErrorIs(t, err, fsclient.ErrRefused)
	require.ErrorContains(t, err, "site-a")
	require.Zero(t, report.Entries)
}

func TestImportEndsWithItsContext(t *testing.T) {
	a := alone(t)
	client := fsclient.New(a.addr)
	a.stop()
	ctx, cancel := context.WithCancel(t.Context())
	report, err := client.Import(ctx, tree(t, 2, 3),
		fsclient.ImportOptions{ID: "1", Progress: func(p fsclient.Progress) {
			if p.Reconnects > 0 {
				cancel()
			}
		}})
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, report.LastError, fsclient.ErrUnreachable)
}

func TestImportOfNothingNamesIt(t *testing.T) {
	a := alone(t)
	none := filepath.Join(t.TempDir(), "none")
	_, err := a.client.Import(t.Context(), none, fsclient.ImportOptions{ID: "1"})
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorContains(t, err, none)
}
