package namespace

import (
	"errors"
	"io"
	"io/fs"
	"os"

	"github.com/cockroachdb/pebble/v2/vfs"

	replvfs "github.com/claudefs/repl/engine/store/vfs"
)

// privateFS makes Pebble's files 0600 and its directories 0700, whatever the umask:
// they hold the content of files that only their owners may read.
type privateFS struct{ vfs.FS }

func (p privateFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return private(p.FS.Create(name, c))(name)
}

func (p privateFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	return private(p.FS.OpenReadWrite(name, c, o...))(name)
}

func (p privateFS) ReuseForWrite(oldName, newName string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return private(p.FS.ReuseForWrite(oldName, newName, c))(newName)
}

func (p privateFS) MkdirAll(dir string, _ os.FileMode) error {
	return p.FS.MkdirAll(dir, replvfs.PrivateDirMode)
}

func (p privateFS) Lock(name string) (io.Closer, error) {
	lock, err := p.FS.Lock(name)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(name, replvfs.PrivateFileMode); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return lock, nil
}

// privateDir makes dir, if it is absent, and closes it and what an earlier release
// left in it to others. It returns what Pebble opens it with.
func privateDir(dir string) (vfs.FS, error) {
	if err := (replvfs.OS{}).MkdirAll(dir); err != nil {
		return nil, err
	}
	return privateFS{vfs.Default}, replvfs.OS{}.Tighten(dir)
}

// flushCopied flushes the files in a Store's directory, and their names. What an opening
// counts must be durable, and a copy of a directory may not be: cp flushes nothing, and
// Pebble only what it writes itself (I1).
func flushCopied(files vfs.FS, dir string) error {
	names, err := files.List(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, name := range names {
		if name == "LOCK" { // closing it would give back a lock of this process
			continue
		}
		if err := flushFile(files.Open, files.PathJoin(dir, name)); err != nil {
			return err
		}
	}
	return flushFile(func(name string, _ ...vfs.OpenOption) (vfs.File, error) { return files.OpenDir(name) }, dir)
}

func flushFile(open func(string, ...vfs.OpenOption) (vfs.File, error), name string) error {
	f, err := open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// private gives a file that was opened for writing its mode.
func private(f vfs.File, err error) func(name string) (vfs.File, error) {
	return func(name string) (vfs.File, error) {
		if err != nil {
			return nil, err
		}
		if err := os.Chmod(name, replvfs.PrivateFileMode); err != nil {
			f.Close() // the file is as good as not made
			return nil, err
		}
		return f, nil
	}
}
