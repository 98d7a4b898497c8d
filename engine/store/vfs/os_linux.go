package vfs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sort"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// OS is the operating system's files. The zero value is ready. Errors carry the
// path and unwrap to the errno.
type OS struct{}

var _ FS = OS{}

func (o OS) MkdirAll(dir string) error {
	dir = filepath.Clean(dir)
	parent := filepath.Dir(dir)
	info, err := os.Stat(dir)
	if err == nil {
		if !info.IsDir() {
			return &fs.PathError{Op: "mkdir", Path: dir, Err: unix.ENOTDIR}
		}
		if parent == dir {
			return nil
		}
		// Another program may have made it, such as cp, which flushes nothing. A parent that
		// may not be read is not this program's to flush.
		return errors.Join(o.MkdirAll(parent), past(o.SyncDir(parent)))
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if parent != dir {
		if err := o.MkdirAll(parent); err != nil {
			return err
		}
	}
	switch err := os.Mkdir(dir, PrivateDirMode); {
	case err == nil:
		if err := os.Chmod(dir, PrivateDirMode); err != nil { // whatever the umask
			return err
		}
	case !errors.Is(err, fs.ErrExist):
		return err
	}
	return o.SyncDir(parent)
}

func (OS) Create(name string) (File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, PrivateFileMode)
	if err != nil {
		return nil, err
	}
	if err := private(f, PrivateFileMode); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &osFile{f: f}, nil
}

// Open opens a file that may only be read for reading; writing to it then fails.
func (OS) Open(name string) (File, error) {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EROFS) {
		f, err = os.Open(name)
	}
	if err != nil {
		return nil, err
	}
	return &osFile{f: f}, nil
}

func (OS) Rename(oldName, newName string) error { return os.Rename(oldName, newName) }

func (OS) Remove(name string) error { return os.Remove(name) }

func (OS) List(dir string) ([]string, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	sort.Strings(names)
	return names, nil
}

func (OS) SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// osFile is one open file of the operating system.
type osFile struct {
	f     *os.File
	spare atomic.Pointer[vector] // of the last write, for the next one
}

func (f *osFile) ReadAt(p []byte, off int64) (int, error) { return f.f.ReadAt(p, off) }

func (f *osFile) WriteAt(parts [][]byte, off int64) error {
	if err := f.writeAll(parts, off); err != nil {
		return &fs.PathError{Op: "pwritev", Path: f.f.Name(), Err: err}
	}
	return nil
}

func (f *osFile) Sync() error {
	defer runtime.KeepAlive(f.f)
	for {
		err := unix.Fdatasync(int(f.f.Fd()))
		if err == nil {
			return nil
		}
		if err != unix.EINTR {
			return &fs.PathError{Op: "fdatasync", Path: f.f.Name(), Err: err}
		}
	}
}

// Refresh relies on what Linux does with POSIX_FADV_DONTNEED: clean pages of a
// file that nobody has mapped are dropped.
func (f *osFile) Refresh() error {
	if err := f.Sync(); err != nil {
		return err
	}
	defer runtime.KeepAlive(f.f)
	if err := unix.Fadvise(int(f.f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		return &fs.PathError{Op: "fadvise", Path: f.f.Name(), Err: err}
	}
	return nil
}

func (f *osFile) Size() (int64, error) {
	info, err := f.f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (f *osFile) Truncate(size int64) error { return f.f.Truncate(size) }

func (f *osFile) Close() error { return f.f.Close() }

// Name and Descriptor are for who does more with the file than File can: the
// descriptor stays the file's.
func (f *osFile) Name() string { return f.f.Name() }

func (f *osFile) Descriptor() int { return int(f.f.Fd()) }

// InMemory says whether what is written below dir lies in memory only (tmpfs). dir
// need not exist yet.
func InMemory(dir string) bool {
	var st unix.Statfs_t
	for unix.Statfs(dir, &st) != nil {
		parent := filepath.Dir(dir)
		if parent == dir {
			return false
		}
		dir = parent
	}
	return st.Type == unix.TMPFS_MAGIC
}
