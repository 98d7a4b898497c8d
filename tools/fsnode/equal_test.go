package fsnode

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/claudefs/repl/tools/fsapi"
	"github.com/claudefs/repl/tools/fsclient"
)

// An import makes the site equal to the tree in all that the node keeps, whatever
// the tree is and was: generated from a seed, imported, changed at random, and so on.

// oddTree grows and changes a directory tree at random.
type oddTree struct {
	t      *testing.T
	r      *rand.Rand
	root   string
	prefix string // of attributes that may be set here; "" = none
	owners bool
}

func newOddTree(t *testing.T, seed uint64) *oddTree {
	o := &oddTree{t: t, r: rand.New(rand.NewPCG(seed, 7)), root: filepath.Join(t.TempDir(), "tree")}
	require.NoError(t, os.Mkdir(o.root, 0o700))
	for _, prefix := range []string{"trusted.", "user."} {
		if unix.Lsetxattr(o.root, prefix+"try", nil, 0) == nil {
			o.prefix = prefix
			break
		}
	}
	o.owners = os.Geteuid() == 0
	return o
}

func (o *oddTree) must(err error) {
	o.t.Helper()
	require.NoError(o.t, err)
}

var oddNames = []string{
	"a", "b", "c", "d e", "caf\xe9", "caf\xc3\xa9", "x\x1b[31m", "two\nlines", "-rf", "é", "\u202eevil",
	"long" + strings.Repeat("n", 251),
}

// pick is a path below the root that is there, of a kind that fits.
func (o *oddTree) pick(fits func(fs.FileMode) bool) string {
	var all []string
	o.must(filepath.WalkDir(o.root, func(path string, d fs.DirEntry, err error) error {
		o.must(err)
		if fits(d.Type()) {
			all = append(all, path)
		}
		return nil
	}))
	if len(all) == 0 {
		return ""
	}
	return all[o.r.IntN(len(all))]
}

func isDir(m fs.FileMode) bool  { return m.IsDir() }
func isFile(m fs.FileMode) bool { return m.IsRegular() }
func isName(m fs.FileMode) bool { return !m.IsDir() && m&fs.ModeNamedPipe == 0 }

// room is a new path in a directory; what is there goes, most often.
func (o *oddTree) room() string {
	path := filepath.Join(o.pick(isDir), oddNames[o.r.IntN(len(oddNames))])
	if strings.Count(path, "/")-strings.Count(o.root, "/") > 4 {
		return o.room()
	}
	if info, err := os.Lstat(path); err == nil && (!info.IsDir() || o.r.IntN(4) == 0) {
		o.must(os.RemoveAll(path))
	}
	return path
}

func (o *oddTree) bytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(o.r.Uint32())
	}
	return b
}

// write changes some of a file's content: pieces, its length, a hole.
func (o *oddTree) write(path string) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return // a directory is there
	}
	sizes := []int64{0, 1, 4095, 4096, 128<<10 - 1, 512 << 10, 512<<10 + 1, 1500 << 10, 9 << 20}
	size := sizes[o.r.IntN(len(sizes))]
	if o.r.IntN(2) == 0 {
		o.must(f.Truncate(size))
	}
	for range o.r.IntN(4) {
		_, err := f.WriteAt(o.bytes(1+o.r.IntN(70<<10)), o.r.Int64N(size+1))
		o.must(err)
	}
	if o.r.IntN(3) == 0 && size > 0 {
		from := o.r.Int64N(size)
		_ = unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, from, size-from)
	}
	o.must(f.Close())
}

// step does one random change.
func (o *oddTree) step() {
	switch o.r.IntN(12) {
	case 0, 1:
		_ = os.Mkdir(o.room(), 0o755)
	case 2, 3:
		o.write(o.room())
	case 4:
		if path := o.pick(isFile); path != "" {
			o.rewrite(path)
		}
	case 5:
		_ = os.Symlink([]string{"a", "/nowhere", "caf\xe9", "caf\xea", strings.Repeat("t", 400)}[o.r.IntN(5)], o.room())
	case 6:
		if path := o.pick(isName); path != "" {
			_ = os.Link(path, o.room())
		}
	case 7: // one name gets an inode of its own, as editors do
		if path := o.pick(isFile); path != "" {
			b, err := os.ReadFile(path)
			o.must(err)
			temporary := filepath.Join(o.root, "temporary")
			o.must(os.WriteFile(temporary, append(b[:min(len(b), 1<<20)], 'x'), 0o600))
			o.must(os.Rename(temporary, path))
		}
	case 8:
		if path := o.pick(isName); path != "" && o.r.IntN(2) == 0 {
			o.must(os.Remove(path))
		} else {
			_ = os.Rename(o.pick(isDir), o.room())
		}
	case 9:
		o.attributes(o.pick(func(fs.FileMode) bool { return true }))
	case 10:
		if path := o.pick(func(m fs.FileMode) bool { return m&fs.ModeNamedPipe == 0 }); o.prefix != "" && path != "" {
			name := o.prefix + []string{"k", "l", "caf\xe9"}[o.r.IntN(3)]
			if o.r.IntN(3) == 0 {
				_ = unix.Lremovexattr(path, name)
			} else {
				_ = unix.Lsetxattr(path, name, o.bytes(o.r.IntN(3)*o.r.IntN(400)), 0)
			}
		}
	case 11:
		_ = unix.Mkfifo(o.room(), 0o600)
	}
}

// rewrite changes a file's content and leaves size and times as they were.
func (o *oddTree) rewrite(path string) {
	var st unix.Stat_t
	o.must(unix.Lstat(path, &st))
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	o.must(err)
	if st.Size > 0 {
		_, err = f.WriteAt([]byte{byte(o.r.Uint32())}, o.r.Int64N(st.Size))
		o.must(err)
	}
	o.must(f.Close())
	o.must(unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{st.Atim, st.Mtim}, unix.AT_SYMLINK_NOFOLLOW))
}

func (o *oddTree) attributes(path string) {
	info, err := os.Lstat(path)
	o.must(err)
	if o.owners && o.r.IntN(2) == 0 {
		o.must(os.Lchown(path, o.r.IntN(1<<31), o.r.IntN(3)))
	}
	if info.Mode()&fs.ModeSymlink == 0 && o.r.IntN(2) == 0 {
		o.must(unix.Chmod(path, 0o700|uint32(o.r.IntN(0o7777))))
	}
	times := make([]unix.Timespec, 2)
	for i := range times {
		times[i] = unix.NsecToTimespec([]int64{-1, 0, 1, 1e18 + 999_999_999, -2e9, 4e18}[o.r.IntN(6)])
	}
	o.must(unix.UtimesNanoAt(unix.AT_FDCWD, path, times, unix.AT_SYMLINK_NOFOLLOW))
}

// rowFormat is a name with all that the node keeps of it.
const rowFormat = "%s mode %o owner %d:%d size %d atime %d mtime %d target %q first %q content %x xattrs %q"

// state describes all that the node keeps, by path from the root.
func (o *oddTree) state() map[string]string {
	out := map[string]string{}
	groups := map[[2]uint64]string{} // the first path of each inode
	var fds []*os.File
	defer func() {
		for _, f := range fds {
			f.Close()
		}
	}()
	o.must(filepath.WalkDir(o.root, func(path string, d fs.DirEntry, err error) error {
		o.must(err)
		if d.Type()&fs.ModeNamedPipe != 0 {
			return nil
		}
		target, _ := os.Readlink(path) // which may move the time of access: before that is read
		var st unix.Stat_t
		o.must(unix.Lstat(path, &st))
		name := "/t" + strings.TrimPrefix(path, o.root)
		id := [2]uint64{uint64(st.Dev), st.Ino}
		if _, ok := groups[id]; !ok {
			groups[id] = name
		}
		var sum [32]byte
		kind, size, mode := "file", st.Size, st.Mode&0o7777
		switch {
		case d.IsDir():
			kind, size = "dir", 0
		case target != "":
			kind, size, mode, st.Atim = "symlink", int64(len(target)), 0, unix.Timespec{} // reading it moves that
		default:
			f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOATIME, 0)
			o.must(err)
			fds = append(fds, f)
			h := sha256.New()
			_, err = f.WriteTo(h)
			o.must(err)
			sum = [32]byte(h.Sum(nil))
		}
		out[name] = fmt.Sprintf(rowFormat, kind, mode, st.Uid, st.Gid, size, st.Atim.Nano(), st.Mtim.Nano(), target,
			groups[id], sum[:8], o.xattrs(path))
		return nil
	}))
	return out
}

func (o *oddTree) xattrs(path string) (rows []string) {
	names := make([]byte, 64<<10)
	n, err := unix.Llistxattr(path, names)
	if err != nil || n == 0 {
		return nil
	}
	for name := range strings.SplitSeq(strings.TrimRight(string(names[:n]), "\x00"), "\x00") {
		value := make([]byte, 64<<10)
		n, err := unix.Lgetxattr(path, name, value)
		o.must(err)
		rows = append(rows, fmt.Sprintf("%s=%x", name, value[:n]))
	}
	slices.Sort(rows)
	return rows
}

// siteState is the same of the site.
func siteState(t *testing.T, c *fsclient.Client, top string) map[string]string {
	out := map[string]string{}
	ctx := context.Background()
	groups := map[uint64]string{}
	var visit func(path string, s *fsapi.Attr, kind string)
	visit = func(path string, a *fsapi.Attr, kind string) {
		if _, ok := groups[uint64(a.Inode)]; !ok {
			groups[uint64(a.Inode)] = path
		}
		var rows []string
		require.NoError(t, c.Xattrs(ctx, path, func(x fsapi.Xattr) error {
			rows = append(rows, fmt.Sprintf("%s=%x", x.Name, x.Value))
			return nil
		}))
		slices.Sort(rows)
		var sum [32]byte
		size, mode, atime := a.Size, a.Mode, a.Atime
		switch kind {
		case "dir":
			size = 0
		case "symlink":
			mode, atime = 0, 0
		default:
			h := sha256.New()
			require.NoError(t, c.Cat(ctx, path, 0, -1, h))
			sum = [32]byte(h.Sum(nil))
		}
		out[path] = fmt.Sprintf(rowFormat,
			kind, mode, a.UID, a.GID, size, atime, a.Mtime, a.Target, groups[uint64(a.Inode)], sum[:8], rows)
		if kind != "dir" {
			return
		}
		require.NoError(t, c.Ls(ctx, path, true, func(n fsapi.Name) error {
			visit(path+"/"+n.Name, n.Attr, n.Type)
			return nil
		}))
	}
	s, err := c.Stat(ctx, top)
	require.NoError(t, err)
	visit(top, &s.Attr, s.Type)
	return out
}

func requireSame(t *testing.T, want, got map[string]string) {
	t.Helper()
	var b bytes.Buffer
	for path, row := range want {
		if got[path] != row {
			fmt.Fprintf(&b, "%q\n  tree %s\n  site %s\n", path, row, got[path])
		}
	}
	for path, row := range got {
		if want[path] == "" {
			fmt.Fprintf(&b, "%q\n  tree nothing\n  site %s\n", path, row)
		}
	}
	require.Empty(t, b.String())
}

func TestSiteEqualsTreeAfterEachImport(t *testing.T) {
	seeds := 6
	if testing.Short() {
		seeds = 2
	}
	a, b := pair(t)
	for seed := range seeds {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			o := newOddTree(t, uint64(seed))
			for range 40 {
				o.step()
			}
			for round := range 5 {
				o.state() // reading may move times of access, once
				want := o.state()
				report, err := a.client.Import(t.Context(), o.root, fsclient.ImportOptions{
					ID: "always the same", To: "/t", Delete: true,
				})
				require.NoError(t, err)
				require.Empty(t, report.Errors, "round %d", round)
				requireSame(t, want, siteState(t, a.client, "/t"))
				for range 1 + o.r.IntN(20) {
					o.step()
				}
			}
		})
	}
	level(t, a, b)
}
