package fsnode

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/claudefs/repl/tools/fsclient"
	"github.com/claudefs/repl/tools/namespace"
)

// What an import does with a tree that somebody works in, and with what 64 bits, one
// write or one inode cannot hold.

// atContent calls f once, when so many bytes of content are acknowledged.
func atContent(bytes int64, f func()) fsclient.ImportOptions {
	var done atomic.Bool
	return fsclient.ImportOptions{ID: "1", To: "/t", Progress: func(p fsclient.Progress) {
		if p.AckedBytes >= bytes && !done.Swap(true) {
			f()
		}
	}}
}

func cat(t *testing.T, s *site, path string) string {
	var b bytes.Buffer
	require.NoError(t, s.client.Cat(t.Context(), path, 0, -1, &b))
	return b.String()
}

// bigEnough is content that takes longer to import than what a test does meanwhile:
// the client may not be ahead of the node by more than its window.
const bigEnough = 64 << 20

func fill(t *testing.T, path string, c byte, n int) {
	require.NoError(t, os.WriteFile(path, bytes.Repeat([]byte{c}, n), 0o644))
}

func TestDirectorySwappedForSymlinkLeadsNowhere(t *testing.T) {
	a := alone(t)
	top := t.TempDir()
	dir, outside := filepath.Join(top, "tree", "d"), filepath.Join(top, "outside")
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "z"), 0o755))
	require.NoError(t, os.MkdirAll(filepath.Join(outside, "z"), 0o755))
	fill(t, filepath.Join(dir, "a"), 'a', bigEnough)
	for _, name := range []string{"key", "z/key"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("harmless"), 0o644))
		require.NoError(t, os.WriteFile(filepath.Join(outside, name), []byte("secret"), 0o600))
	}
	report, err := a.client.Import(t.Context(), filepath.Join(top, "tree"), atContent(1<<20, func() {
		require.NoError(t, os.Rename(dir, dir+".away"))
		require.NoError(t, os.Symlink(outside, dir))
	}))
	require.NoError(t, err)
	require.Equal(t, "harmless", cat(t, a, "/t/d/key"))
	require.Equal(t, "harmless", cat(t, a, "/t/d/z/key"))
	require.NotZero(t, report.Changed, "and it is reported")
	require.Contains(t, strings.Join(report.Errors, "\n"), "names came or went while it was read")
}

func TestFileThatChangesIsReadAgain(t *testing.T) {
	a := alone(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "f")
	fill(t, file, 'A', bigEnough)
	report, err := a.client.Import(t.Context(), dir, atContent(1<<20, func() {
		f, err := os.OpenFile(file, os.O_WRONLY, 0)
		require.NoError(t, err)
		_, err = f.Write(bytes.Repeat([]byte{'B'}, bigEnough)) // behind and before where it is read
		require.NoError(t, err)
		require.NoError(t, f.Close())
	}))
	require.NoError(t, err)
	require.Zero(t, report.Changed, report.Errors)
	require.Equal(t, bigEnough, strings.Count(cat(t, a, "/t/f"), "B"))
}

func TestFileThatKeepsChangingIsReported(t *testing.T) {
	a := alone(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "f")
	fill(t, file, 'A', bigEnough)
	var changes atomic.Int64
	report, err := a.client.Import(t.Context(), dir, fsclient.ImportOptions{ID: "1", To: "/t",
		Progress: func(fsclient.Progress) { // whenever the node has taken some of it
			_ = os.Chtimes(file, time.Time{}, time.Unix(changes.Add(1), 0)) // no less a change
		}})
	require.NoError(t, err)
	require.EqualValues(t, 1, report.Changed)
	require.True(t, report.Partly())
	require.Contains(t, report.Errors[0], "/t/f: changed while it was read, 3 times")
}

func TestReplacedNameOfPairLeavesOtherAlone(t *testing.T) {
	a := alone(t)
	dir := t.TempDir()
	x, y := filepath.Join(dir, "x"), filepath.Join(dir, "y")
	for _, replaced := range []string{x, y} {
		require.NoError(t, os.WriteFile(x, []byte("old"), 0o644))
		os.Remove(y)
		require.NoError(t, os.Link(x, y))
		_, err := a.client.Import(t.Context(), dir, fsclient.ImportOptions{ID: "1", To: "/t"})
		require.NoError(t, err)
		before, err := a.client.Stat(t.Context(), "/t/x")
		require.NoError(t, err)
		require.EqualValues(t, 2, before.Nlink)

		require.NoError(t, os.WriteFile(replaced+"~", []byte("new"), 0o644))
		require.NoError(t, os.Rename(replaced+"~", replaced))
		_, err = a.client.Import(t.Context(), dir, fsclient.ImportOptions{ID: "1", To: "/t"})
		require.NoError(t, err)
		for _, name := range []string{x, y} {
			want, err := os.ReadFile(name)
			require.NoError(t, err)
			at := "/t/" + filepath.Base(name)
			require.Equal(t, string(want), cat(t, a, at))
			s, err := a.client.Stat(t.Context(), at)
			require.NoError(t, err)
			require.EqualValues(t, 1, s.Nlink)
		}
	}
}

// What the site lost since is sent again under the same import id.
func TestSameImportIDBringsBackWhatTheSiteLost(t *testing.T) {
	a := alone(t)
	dir := tree(t, 1, 5)
	o := fsclient.ImportOptions{ID: "nightly"}
	_, err := a.client.Import(t.Context(), dir, o)
	require.NoError(t, err)
	want, _ := atNode(t, a.client)
	for range 3 {
		_, err := a.client.Rm(t.Context(), "/top 0/below/file-1", false)
		require.NoError(t, err)
		_, err = a.client.Rm(t.Context(), "/alone", false)
		require.NoError(t, err)
		report, err := a.client.Import(t.Context(), dir, o)
		require.NoError(t, err)
		require.Empty(t, report.Errors)
		got, _ := atNode(t, a.client)
		require.ElementsMatch(t, want, got)
	}
}

func TestHolesAreNeitherReadNorSent(t *testing.T) {
	a := alone(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "lastlog")
	f, err := os.Create(file)
	require.NoError(t, err)
	require.NoError(t, f.Truncate(64<<30)) // nobody reads that within a test
	for _, at := range []int64{0, 5 << 30, 64<<30 - 4096} {
		_, err = f.WriteAt(bytes.Repeat([]byte{'x'}, 4096), at)
		require.NoError(t, err)
	}
	require.NoError(t, f.Close())
	report, err := a.client.Import(t.Context(), dir, fsclient.ImportOptions{ID: "1", To: "/t"})
	require.NoError(t, err)
	require.EqualValues(t, 3*4096, report.Bytes)
	s, err := a.client.Stat(t.Context(), "/t/lastlog")
	require.NoError(t, err)
	require.EqualValues(t, 64<<30, s.Size)

	again, err := a.client.Import(t.Context(), dir, fsclient.ImportOptions{ID: "2", To: "/t"})
	require.NoError(t, err)
	require.Zero(t, again.Entries)
}

func TestTimesOutsideOf64BitsAreReported(t *testing.T) {
	a := alone(t)
	var dir string
	for _, base := range []string{"/dev/shm", t.TempDir()} { // tmpfs keeps any year
		if d, err := os.MkdirTemp(base, "times"); err == nil {
			dir = d
			t.Cleanup(func() { os.RemoveAll(d) })
			break
		}
	}
	reported := 0
	for i, sec := range []int64{-11_644_473_600, -9_223_372_038, -9_223_372_036, -1, 9_223_372_036, 9_223_372_037,
		253_402_300_799} {
		file := filepath.Join(dir, fmt.Sprint("f", i))
		require.NoError(t, os.WriteFile(file, nil, 0o600))
		times := []unix.Timespec{{Sec: 0}, {Sec: sec}}
		require.NoError(t, unix.UtimesNanoAt(unix.AT_FDCWD, file, times, 0))
		var st unix.Stat_t
		require.NoError(t, unix.Stat(file, &st))
		if st.Mtim.Sec < -9_223_372_036 || st.Mtim.Sec > 9_223_372_036 {
			reported++
		}
	}
	report, err := a.client.Import(t.Context(), dir, fsclient.ImportOptions{ID: "1", To: "/t"})
	require.NoError(t, err)
	require.EqualValues(t, reported, report.TimesLimited)
	require.Len(t, report.Errors, reported)
	last := int64(-1 << 63)
	for i := range 7 {
		s, err := a.client.Stat(t.Context(), fmt.Sprint("/t/f", i))
		require.NoError(t, err)
		require.GreaterOrEqual(t, s.Mtime, last, "later stays later")
		last = s.Mtime
	}
}

func TestWhatCannotBeOpenedIsNamed(t *testing.T) {
	a := alone(t)
	dir := t.TempDir()
	long := dir
	for range 18 { // deeper than a path of the node may be
		long = filepath.Join(long, strings.Repeat("d", 250))
		if os.Mkdir(long, 0o755) != nil {
			break
		}
	}
	var told []string
	report, err := a.client.Import(t.Context(), dir, fsclient.ImportOptions{
		ID: "1", To: "/" + strings.Repeat("t", 250) + "/" + strings.Repeat("u", 250),
		Problem: func(text string) { told = append(told, text) },
	})
	require.NoError(t, err)
	require.EqualValues(t, 1, report.Unreadable)
	require.Equal(t, told, report.Errors)
	require.Contains(t, told[0], "file name too long")
	require.Less(t, namespace.PathBytesMax, len(told[0])+600)
}

func TestDeepTreeNeedsFewDescriptors(t *testing.T) {
	a := alone(t)
	dir := t.TempDir()
	path := dir
	for range 600 {
		path += "/d"
		require.NoError(t, os.Mkdir(path, 0o755))
		require.NoError(t, os.WriteFile(path+"/z", nil, 0o600)) // behind the directory
	}
	most := 0
	report, err := a.client.Import(t.Context(), dir, fsclient.ImportOptions{
		ID: "1", To: "/t", Progress: func(fsclient.Progress) {
			if fds, err := os.ReadDir("/proc/self/fd"); err == nil {
				most = max(most, len(fds))
			}
		},
	})
	require.NoError(t, err)
	require.Empty(t, report.Errors)
	require.EqualValues(t, 600, report.Files)
	require.Less(t, most, 400)
}
