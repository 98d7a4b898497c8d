package vfs

import (
	"errors"
	"io"
	"io/fs"
	"syscall"
)

// ErrLocked: another process (or this one) holds the lock file.
var ErrLocked = errors.New("locked by another process")

// Exhausted says whether a call failed because the process or the system had no
// descriptors or memory left: the medium is sound, and the same call may end well later.
func Exhausted(err error) bool {
	for _, e := range [...]error{syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.ENOBUFS, syscall.EAGAIN} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// FS is the only door to files. Names are slash-separated paths. Its methods
// may be called by any goroutine. What is promised to survive a crash: a
// file's bytes after File.Sync, its name after SyncDir of its directory.
type FS interface {
	// MkdirAll creates dir and its parents, if absent, and makes their names durable, also
	// of those that are there: who made them, such as cp, may not have flushed them.
	MkdirAll(dir string) error
	// Create makes a new file for reading and writing; fs.ErrExist if there is one.
	Create(name string) (File, error)
	// Open opens a file for reading and writing; fs.ErrNotExist if there is none.
	Open(name string) (File, error)
	// Rename moves a file over whatever has the new name.
	Rename(oldName, newName string) error
	Remove(name string) error
	// List returns the base names in dir, sorted.
	List(dir string) ([]string, error)
	// SyncDir makes the names in dir durable.
	SyncDir(dir string) error
	// Lock takes the lock file, creating it, or returns ErrLocked at once. A directory has
	// one lock: removing the file gives it to nobody else. Closing the result, or the end
	// of the process, gives it back.
	Lock(name string) (io.Closer, error)
}

// HeldLock is a lock that says whether what it was taken on is still there. Held returns
// an error that names what was removed; the lock holds all the same.
type HeldLock interface {
	io.Closer
	Held() error
}

// File is an open file. ReadAt may run beside WriteAt.
type File interface {
	// ReadAt is io.ReaderAt.
	ReadAt(p []byte, off int64) (int, error)
	// WriteAt writes the concatenation of parts at off (pwritev), wholly or with
	// an error.
	WriteAt(parts [][]byte, off int64) error
	// Sync makes the file's bytes, and the size needed to read them, durable.
	// A failed Sync is final: the caller never tries again.
	Sync() error
	// Refresh makes later reads come from the medium: it syncs, then drops what is
	// cached. After a Sync that failed, in this process or one before, the cache may
	// show bytes that the medium never got, and a second Sync would say nothing.
	Refresh() error
	// Size is the current size in bytes.
	Size() (int64, error)
	Truncate(size int64) error
	Close() error
}

// What is kept here is everybody's content: only the owner may look.
const (
	PrivateDirMode  fs.FileMode = 0o700
	PrivateFileMode fs.FileMode = 0o600
)

// Tightener is an FS whose files have access rights.
type Tightener interface {
	// Tighten takes from group and others every right to dir and to all that lies
	// below it. Symlinks are not followed. What belongs to another user stays as it
	// is: dir itself shields it.
	Tighten(dir string) error
}
