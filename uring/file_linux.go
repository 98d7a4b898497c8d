package uring

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/claudefs/repl/engine/store/vfs"
)

// FS is the operating system's files, read, written and synced by the loop's
// ring. Names and directories, which are rarely touched, are vfs.OS's. After
// Loop.Close files return fs.ErrClosed.
type FS struct {
	vfs.OS
	loop *Loop
}

var _ vfs.FS = FS{}

// FS returns the files of this loop.
func (l *Loop) FS() FS { return FS{loop: l} }

// Create implements vfs.FS; the result is a *File.
func (d FS) Create(name string) (vfs.File, error) {
	return d.open(name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL)
}

// Open implements vfs.FS; the result is a *File. One that may only be read is
// opened for reading; writing to it then fails.
func (d FS) Open(name string) (vfs.File, error) {
	f, err := d.open(name, unix.O_RDWR)
	if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EROFS) {
		f, err = d.open(name, unix.O_RDONLY)
	}
	return f, err
}

// open does without package os, which offers each file to its poller.
func (d FS) open(name string, flags int) (vfs.File, error) {
	for {
		fd, err := unix.Open(name, flags|unix.O_CLOEXEC, 0o640)
		switch err {
		case nil:
			return &File{loop: d.loop, f: os.NewFile(uintptr(fd), name)}, nil
		case unix.EINTR:
		default:
			return nil, &fs.PathError{Op: "open", Path: name, Err: err}
		}
	}
}

// File is an open file. Errors carry the path and unwrap to the errno.
type File struct {
	loop *Loop
	f    *os.File

	mu     sync.RWMutex // read-locked while an operation is under way
	closed bool
}

// ReadAt implements vfs.File.
func (f *File) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, &fs.PathError{Op: "read", Path: f.f.Name(), Err: unix.EINVAL}
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, err := f.run(fileRead, [][]byte{p}, off)
	if err == io.EOF {
		return n, err
	}
	return n, f.wrap("read", err)
}

// WriteAt implements vfs.File.
func (f *File) WriteAt(parts [][]byte, off int64) error {
	_, err := f.run(fileWrite, parts, off)
	return f.wrap("writev", err)
}

// WriteDurable is WriteAt and Sync of what it wrote, in one operation (RWF_DSYNC).
func (f *File) WriteDurable(parts [][]byte, off int64) error {
	_, err := f.run(fileWriteDurable, parts, off)
	return f.wrap("writev", err)
}

// Sync implements vfs.File.
func (f *File) Sync() error {
	_, err := f.run(fileSync, nil, 0)
	return f.wrap("fdatasync", err)
}

// Refresh implements vfs.File, by a POSIX_FADV_DONTNEED behind the sync: Linux
// then drops the clean pages of a file that nobody has mapped.
func (f *File) Refresh() error {
	if err := f.Sync(); err != nil {
		return err
	}
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.closed {
		return f.wrap("fadvise", fs.ErrClosed)
	}
	return f.wrap("fadvise", unix.Fadvise(int(f.f.Fd()), 0, 0, unix.FADV_DONTNEED))
}

// Size implements vfs.File.
func (f *File) Size() (int64, error) {
	info, err := f.f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// Truncate implements vfs.File.
func (f *File) Truncate(size int64) error { return f.f.Truncate(size) }

// Close implements vfs.File. It waits for the operations under way.
func (f *File) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	return f.f.Close()
}

func (f *File) wrap(verb string, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, ErrClosed) {
		err = fmt.Errorf("%w: %w", fs.ErrClosed, err)
	}
	return &fs.PathError{Op: verb, Path: f.f.Name(), Err: err}
}

// run has the loop do one operation, and waits for it.
func (f *File) run(kind fileKind, parts [][]byte, off int64) (int, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.closed {
		return 0, fs.ErrClosed
	}
	o := <-f.loop.fileOp
	o.pins.take(parts)
	o.kind, o.fd, o.parts, o.offset, o.moved = kind, int(f.f.Fd()), parts, off, 0
	err := f.loop.do(&o.op)
	moved := o.moved
	o.parts = nil
	if o.lent { // the kernel has its memory for ever; the next one gets another
		o = newFileOp()
	} else {
		o.pins.giveBack(len(parts))
	}
	f.loop.fileOp <- o
	return moved, err
}

type fileKind uint8

const (
	fileRead fileKind = iota
	fileWrite
	fileWriteDurable
	fileSync
)

// fileOp is one operation on a file, as a caller borrows it.
type fileOp struct {
	op
	pins   pins
	kind   fileKind
	fd     int
	parts  [][]byte // of a read one; of a write those behind what slot holds
	offset int64
	moved  int   // bytes, so far
	slot   *Slot // the loop's
}

func newFileOp() *fileOp {
	o := &fileOp{}
	o.op = op{task: o, done: make(chan struct{}, 1)}
	return o
}

func (o *fileOp) start(l *Loop) bool {
	if l.closing() {
		o.end(l, l.err)
		return true
	}
	at := o.offset + int64(o.moved)
	switch o.kind {
	case fileRead:
		rest := o.parts[0][o.moved:]
		l.ring.Next().Read(l.fly(&o.op), o.fd, rest[:min(len(rest), transferMax)], at)
	case fileSync:
		l.ring.Next().Fsync(l.fly(&o.op), o.fd, true)
	default:
		if o.slot == nil {
			if o.slot = l.ring.Slot(); o.slot == nil {
				return false
			}
		}
		if o.slot.Len() == 0 {
			o.parts = o.parts[o.slot.Gather(o.parts):]
		}
		if o.slot.Len() == 0 {
			o.end(l, nil)
			return true
		}
		s := l.ring.Next().writeGathered(l.fly(&o.op), o.fd, o.slot, at)
		if o.kind == fileWriteDurable {
			s.DSync()
		}
	}
	l.disk++
	return true
}

func (o *fileOp) completed(l *Loop, c Completion) {
	l.disk--
	err := c.Err()
	switch {
	case transient(err):
		l.later(&o.op)
		return
	case c.Canceled() && l.closing():
		err = l.err
	case err != nil || o.kind == fileSync:
	case c.Res == 0 && o.kind == fileRead:
		err = io.EOF
	case c.Res == 0:
		err = io.ErrShortWrite
	default:
		o.moved += int(c.Res)
		if o.left(int(c.Res)) {
			l.later(&o.op)
			return
		}
	}
	o.end(l, err)
}

// left: the last of these bytes were not all.
func (o *fileOp) left(bytes int) bool {
	if o.kind == fileRead {
		return o.moved < len(o.parts[0])
	}
	return o.slot.Advance(bytes) > 0 || len(o.parts) > 0
}

func (o *fileOp) end(l *Loop, err error) {
	if o.slot != nil {
		l.ring.Release(o.slot)
		o.slot = nil
	}
	o.finish(err)
}
