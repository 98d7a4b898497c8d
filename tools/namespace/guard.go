package namespace

import (
	"fmt"
	"path/filepath"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// logGuard watches the files of Pebble's log. Where one cannot be made, written or
// flushed (its directory is gone, say), Pebble would panic, with locks that end the
// process held: so the Store is broken, and the writer stays where it is.
type logGuard struct {
	vfs.FS
	log *fatalLog
}

func isLog(name string) bool { return filepath.Ext(name) == ".log" }

// Create implements vfs.FS.
func (g logGuard) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := g.FS.Create(name, category)
	return g.guard(name, f, err)
}

// ReuseForWrite implements vfs.FS.
func (g logGuard) ReuseForWrite(old, name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := g.FS.ReuseForWrite(old, name, category)
	return g.guard(name, f, err)
}

func (g logGuard) guard(name string, f vfs.File, err error) (vfs.File, error) {
	if !isLog(name) {
		return f, err
	}
	if g.log.failed(name, err); err != nil {
		return nil, err
	}
	return logFile{f, name, g.log}, nil
}

// logFile is one file of Pebble's log.
type logFile struct {
	vfs.File
	name string
	log  *fatalLog
}

// Write implements vfs.File.
func (f logFile) Write(b []byte) (int, error) {
	n, err := f.File.Write(b)
	f.log.failed(f.name, err)
	return n, err
}

// Sync implements vfs.File.
func (f logFile) Sync() error {
	err := f.File.Sync()
	f.log.failed(f.name, err)
	return err
}

// SyncData implements vfs.File.
func (f logFile) SyncData() error {
	err := f.File.SyncData()
	f.log.failed(f.name, err)
	return err
}

// SyncTo implements vfs.File.
func (f logFile) SyncTo(bytes int64) (bool, error) {
	full, err := f.File.SyncTo(bytes)
	f.log.failed(f.name, err)
	return full, err
}

// failed stops the Store for an error of its log, and does not return then. While it
// is being opened, the error is returned.
func (l *fatalLog) failed(name string, err error) {
	if err == nil || !l.opened.Load() {
		return
	}
	l.stop(fmt.Errorf("%s: %w", name, err))
	select {}
}
