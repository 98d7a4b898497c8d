package vfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Lock locks the file, which tells people who has it, and the directory that it lies in:
// removing the file gives nothing away. So a directory has one lock. The result is a
// HeldLock.
func (OS) Lock(name string) (io.Closer, error) {
	file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, PrivateFileMode)
	if err != nil {
		return nil, err
	}
	if err := flock(file, name); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	dir, err := os.Open(filepath.Dir(name))
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	l := &osLock{name: name, file: file, dir: dir}
	// Where the file system locks no directories (NFS does not), the file is all there is.
	if err := flock(dir, name); errors.Is(err, ErrLocked) {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

type osLock struct {
	name      string
	file, dir *os.File
}

func flock(f *os.File, name string) error {
	for {
		switch err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err {
		case nil:
			return nil
		case unix.EINTR:
		case unix.EWOULDBLOCK:
			return fmt.Errorf("%s: %w", name, ErrLocked)
		default:
			return &fs.PathError{Op: "flock", Path: name, Err: err}
		}
	}
}

func (l *osLock) Held() error {
	for name, f := range map[string]*os.File{filepath.Dir(l.name): l.dir, l.name: l.file} {
		mine, err := f.Stat()
		if err != nil {
			return err
		}
		now, err := os.Stat(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return fmt.Errorf("%s was removed", name)
		case err != nil:
			return err
		case !os.SameFile(mine, now):
			return fmt.Errorf("%s was replaced", name)
		}
	}
	return nil
}

func (l *osLock) Close() error { return errors.Join(l.file.Close(), l.dir.Close()) }
