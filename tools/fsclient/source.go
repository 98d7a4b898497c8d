package fsclient

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// The source of an import is read through descriptors, each opened from that of its
// directory, and no symlink is followed: whoever moves a directory or swaps it for a
// symlink while it is read cannot lead the import out of the tree.

// foldersHeld is how many directories of one path are held open. Those above are
// opened again, from the root, and must still be the same.
const foldersHeld = 64

// errReplaced: a directory is not the one that was read before.
var errReplaced = errors.New("replaced while it was read")

// fileID is what a file is, whatever its names.
type fileID struct{ dev, ino uint64 }

func idOf(st *unix.Stat_t) fileID { return fileID{uint64(st.Dev), st.Ino} }

// folder is a directory of the tree, or its root.
type folder struct {
	root  *os.File // of the tree
	dir   string   // the tree, as the user named it
	above *folder  // nil for the root
	path  string   // from the root on, "." for it
	f     *os.File // nil = given back
	st    unix.Stat_t
}

// openRoot opens the directory that is imported. Its own name may lead through
// symlinks: it is the user's word.
func openRoot(dir string) (*folder, error) {
	f, err := os.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOATIME, 0)
	if errors.Is(err, unix.EPERM) {
		f, err = os.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY, 0)
	}
	if err != nil {
		return nil, err
	}
	root := &folder{root: f, dir: dir, path: ".", f: f}
	if err := unix.Fstat(int(f.Fd()), &root.st); err != nil {
		return nil, errors.Join(&fs.PathError{Op: "open", Path: dir, Err: err}, f.Close())
	}
	return root, nil
}

// descriptor is the folder's, opened again if it was given back.
func (d *folder) descriptor() (int, error) {
	if d.f == nil {
		f, err := openBeneath(d.root, d.path, unix.O_RDONLY|unix.O_DIRECTORY)
		if err != nil {
			return 0, err
		}
		var st unix.Stat_t
		if err := unix.Fstat(int(f.Fd()), &st); err != nil || idOf(&st) != idOf(&d.st) {
			return 0, errors.Join(err, &fs.PathError{Op: "open", Path: d.path, Err: errReplaced}, f.Close())
		}
		d.f = f
	}
	return int(d.f.Fd()), nil
}

// open opens a name in the folder and says what it is.
func (d *folder) open(name string, flags int) (*os.File, unix.Stat_t, error) {
	var st unix.Stat_t
	if _, err := d.descriptor(); err != nil {
		return nil, st, err
	}
	f, err := openBeneath(d.f, name, flags|unix.O_NOATIME)
	if errors.Is(err, unix.EPERM) { // only the owner may leave the access time alone
		f, err = openBeneath(d.f, name, flags)
	}
	if err == nil {
		if err = unix.Fstat(int(f.Fd()), &st); err != nil {
			err = errors.Join(err, f.Close())
		}
	}
	if err != nil {
		return nil, st, d.failed("open", name, err)
	}
	return f, st, nil
}

func (d *folder) failed(op, name string, err error) error {
	if inner, ok := errors.AsType[*fs.PathError](err); ok {
		err = inner.Err
	}
	return &fs.PathError{Op: op, Path: d.name(name), Err: err}
}

// name is a name in the folder as people know it.
func (d *folder) name(name string) string { return filepath.Join(d.dir, d.path, name) }

// stat says what a name is.
func (d *folder) stat(name string) (st unix.Stat_t, err error) {
	fd, err := d.descriptor()
	if err == nil {
		err = unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	}
	if err != nil {
		err = d.failed("stat", name, err)
	}
	return st, err
}

// folder opens a directory in this one. Close it before the next.
func (d *folder) folder(name string) (*folder, error) {
	f, st, err := d.open(name, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	below := &folder{
		root: d.root, dir: d.dir, above: d, path: path.Join(d.path, name), f: f, st: st,
	}
	far := below
	for range foldersHeld {
		if far = far.above; far == nil {
			return below, nil
		}
	}
	if far.above != nil { // the root stays open
		far.Close()
	}
	return below, nil
}

// Close gives the descriptor back.
func (d *folder) Close() {
	if d.f != nil {
		d.f.Close() // of a directory only read
		d.f = nil
	}
}

// names returns the names in the folder in byte order, as far as they can be read.
func (d *folder) names() ([]string, error) {
	if _, err := d.f.Seek(0, io.SeekStart); err != nil { // the root may be read twice
		return nil, d.failed("read", "", err)
	}
	names, err := d.f.Readdirnames(-1)
	slices.Sort(names)
	if err != nil {
		err = d.failed("read", "", err)
	}
	return names, err
}

// changed says whether the folder, or the names in it, changed since it was opened.
func (d *folder) changed() (bool, error) {
	fd, err := d.descriptor()
	if err != nil {
		return true, err
	}
	var st unix.Stat_t
	err = unix.Fstat(fd, &st)
	return st.Mtim != d.st.Mtim || st.Ctim != d.st.Ctim, err
}

// sameContent says whether a file is as it was: what changes any of it moves ctime.
func sameContent(a, b *unix.Stat_t) bool {
	return idOf(a) == idOf(b) && a.Size == b.Size && a.Mtim == b.Mtim && a.Ctim == b.Ctim
}

// noOpenat2 remembers that this kernel, or what stands before it, has no openat2.
var noOpenat2 atomic.Bool

// openBeneath opens a path below dir without following a symlink or leaving dir.
func openBeneath(dir *os.File, name string, flags int) (*os.File, error) {
	flags |= unix.O_NOFOLLOW | unix.O_CLOEXEC | unix.O_NONBLOCK | unix.O_NOCTTY
	if !noOpenat2.Load() {
		how := unix.OpenHow{
			Flags:   uint64(flags),
			Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
		}
		if flags&unix.O_PATH != 0 { // openat2 refuses flags that mean nothing with it
			how.Flags = uint64(flags &^ (unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_NOATIME))
		}
		fd, err := retried(func() (int, error) { return unix.Openat2(int(dir.Fd()), name, &how) })
		switch {
		case err == nil:
			return os.NewFile(uintptr(fd), name), nil
		case errors.Is(err, unix.ENOSYS):
			noOpenat2.Store(true)
		case !errors.Is(err, unix.EPERM): // of a filter of system calls, or of O_NOATIME
			return nil, &fs.PathError{Op: "open", Path: name, Err: err}
		}
	}
	fd, err := openSteps(int(dir.Fd()), name, flags)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}

// openSteps is openBeneath for kernels without openat2: one name after another.
func openSteps(dir int, name string, flags int) (int, error) {
	at := dir
	for {
		step, rest, more := strings.Cut(name, "/")
		how := flags
		if step == ".." || step == "" {
			return 0, unix.EXDEV
		}
		if more {
			how = unix.O_PATH | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
		}
		fd, err := retried(func() (int, error) { return unix.Openat(at, step, how, 0) })
		if at != dir {
			unix.Close(at) // of a directory only passed
		}
		if err != nil || !more {
			return fd, err
		}
		at, name = fd, rest
	}
}

// retried calls open again where that was asked for.
func retried(open func() (int, error)) (int, error) {
	for tries := 0; ; tries++ {
		fd, err := open()
		if err == unix.EINTR || err == unix.EAGAIN && tries < 16 {
			continue
		}
		return fd, err
	}
}

// attributesOf reads extended attributes of an open inode: list gives the names
// with a zero behind each.
type attributesOf struct {
	list func(names []byte) (int, error)
	get  func(name string, value []byte) (int, error)
}

func ofFile(f *os.File) attributesOf {
	return attributesOf{
		list: func(names []byte) (int, error) { return unix.Flistxattr(int(f.Fd()), names) },
		get: func(name string, value []byte) (int, error) {
			return unix.Fgetxattr(int(f.Fd()), name, value)
		},
	}
}

// ofSymlink reads those of a symlink that was opened with O_PATH, for which there is
// only the way through /proc.
func ofSymlink(f *os.File) attributesOf {
	at := fmt.Sprintf("/proc/self/fd/%d", f.Fd())
	return attributesOf{
		list: func(names []byte) (int, error) { return unix.Listxattr(at, names) },
		get:  func(name string, value []byte) (int, error) { return unix.Getxattr(at, name, value) },
	}
}

// readlink returns the text of a symlink that was opened with O_PATH.
func readlink(f *os.File) (string, error) {
	b := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(int(f.Fd()), "", b)
	return string(b[:max(n, 0)]), err
}

// dataFrom is where the next content of a file begins, at off or behind it; size if
// there is only a hole. Where nobody knows about holes, all is content.
func dataFrom(f *os.File, off, size int64) (int64, error) {
	at, err := unix.Seek(int(f.Fd()), off, unix.SEEK_DATA)
	switch {
	case err == nil:
		return min(at, size), nil
	case err == unix.ENXIO:
		return size, nil
	case err == unix.EINVAL, err == unix.ENOTSUP, err == unix.ENOSYS, err == unix.ESPIPE:
		return off, nil
	}
	return off, err
}

// nanoseconds since 1970, as the node keeps a time. One that is outside of what 64
// bits hold, 1677 to 2262, is the nearest of these, and kept is false.
func nanoseconds(t unix.Timespec) (ns int64, kept bool) {
	const second = 1_000_000_000
	switch sec, nsec := int64(t.Sec), int64(t.Nsec); {
	case sec > math.MaxInt64/second || sec == math.MaxInt64/second && nsec > math.MaxInt64%second:
		return math.MaxInt64, false
	case sec < math.MinInt64/second-1 || sec == math.MinInt64/second-1 && nsec < second+math.MinInt64%second:
		return math.MinInt64, false
	case sec < 0:
		return (sec+1)*second + (nsec - second), true
	default:
		return sec*second + nsec, true
	}
}
