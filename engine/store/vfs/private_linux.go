package vfs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

var _ Tightener = OS{}

// Tighten implements Tightener. It opens no file: closing one would give back a lock
// that another part of the process holds on it. A directory is closed to others
// before its names are read, so nobody swaps one for a symlink in between.
func (OS) Tighten(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return past(err)
		}
		info, err := d.Info()
		if path == dir {
			info, err = os.Stat(dir)
		}
		if err != nil {
			return past(err)
		}
		if kind := info.Mode().Type(); kind != 0 && kind != fs.ModeDir || info.Mode().Perm()&0o077 == 0 {
			return nil
		}
		return past(os.Chmod(path, info.Mode()&^0o077))
	})
}

// past is err, unless it says that the file went meanwhile or is another user's.
func past(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return nil
	}
	return err
}

// private gives a new file or directory its mode, whatever the umask was.
func private(f *os.File, mode fs.FileMode) error {
	info, err := f.Stat()
	if err != nil || info.Mode().Perm() == mode {
		return err
	}
	return f.Chmod(mode)
}
