package uring

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/claudefs/repl/engine/store/vfs"
)

// Disk is the operating system's files, those of vfs.OS, with queues (vfs.Queuer) that
// have several durable writes under way by io_uring. Everything outside a queue is a
// system call: what would wait in a ring waits there for a worker of the kernel first.
type Disk struct {
	vfs.OS
	setup  Setup
	counts callCounts
	closed atomic.Bool
}

var _ vfs.Queuer = (*Disk)(nil)

// DiskOptions of OpenDisk; the zero value is the default.
type DiskOptions struct {
	Setup Setup // where rings begin stepping down
}

// OpenDisk returns an error that wraps ErrUnsupported where there is no io_uring.
func OpenDisk(o DiskOptions) (*Disk, error) {
	if err := Supported(); err != nil {
		return nil, err
	}
	return &Disk{setup: o.Setup}, nil
}

// Close has files answer fs.ErrClosed; queues are their goroutines' to close.
func (d *Disk) Close() error {
	if d.closed.Swap(true) {
		return ErrClosed
	}
	return nil
}

// Stats returns the counters of all queues. Any goroutine.
func (d *Disk) Stats() CallStats { return d.counts.stats() }

// Create implements vfs.FS; the result is a *DiskFile.
func (d *Disk) Create(name string) (vfs.File, error) { return d.file(d.OS.Create(name)) }

// Open implements vfs.FS; the result is a *DiskFile. One that may only be read is
// opened for reading; writing to it then fails.
func (d *Disk) Open(name string) (vfs.File, error) { return d.file(d.OS.Open(name)) }

func (d *Disk) file(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &DiskFile{File: f, d: d, past: notOpen}, nil
}

const (
	notOpen = -1
	refused = -2
)

// DiskFile is an open file. Errors carry the path and unwrap to the errno.
type DiskFile struct {
	vfs.File
	d *Disk

	mu     sync.Mutex
	closed bool
	past   int // a descriptor that goes past the system's cache; a queue's goroutine opens it
}

// ReadAt implements vfs.File.
func (f *DiskFile) ReadAt(p []byte, off int64) (int, error) {
	if f.d.closed.Load() {
		return 0, f.wrap("read", fs.ErrClosed)
	}
	return f.File.ReadAt(p, off)
}

// WriteAt implements vfs.File.
func (f *DiskFile) WriteAt(parts [][]byte, off int64) error {
	if f.d.closed.Load() {
		return f.wrap("write", fs.ErrClosed)
	}
	return f.File.WriteAt(parts, off)
}

// Sync implements vfs.File.
func (f *DiskFile) Sync() error {
	if f.d.closed.Load() {
		return f.wrap("fdatasync", fs.ErrClosed)
	}
	return f.File.Sync()
}

// Close implements vfs.File. It waits for the operations under way outside queues.
func (f *DiskFile) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	var err error
	if f.past >= 0 {
		err = unix.Close(f.past)
		f.past = refused
	}
	return errors.Join(f.File.Close(), err)
}

// described is what a file of vfs.OS has besides.
type described interface {
	Name() string
	Descriptor() int
}

func (f *DiskFile) fd() int { return f.File.(described).Descriptor() }

func (f *DiskFile) wrap(verb string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: verb, Path: f.File.(described).Name(), Err: err}
}

func (f *DiskFile) isClosed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.closed
}

// openPast returns a descriptor that goes past the system's cache, once the file
// system has agreed to give one.
func (f *DiskFile) openPast() (fd int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return refused, fs.ErrClosed
	}
	if f.past == notOpen {
		self := "/proc/self/fd/" + strconv.Itoa(f.fd()) // whatever its name is by now
		if f.past, err = openFD(self, unix.O_WRONLY|unix.O_DIRECT); err != nil {
			if f.past = notOpen; !forNow(err) {
				f.past = refused
			}
			return refused, fmt.Errorf("O_DIRECT: %w", err)
		}
	}
	if f.past < 0 {
		return refused, errors.New("O_DIRECT refused before")
	}
	return f.past, nil
}

// forNow says that a descriptor or memory was short, which another time may be there.
func forNow(err error) bool {
	return errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) || errors.Is(err, unix.ENOMEM)
}

func openFD(name string, flags int) (int, error) {
	for {
		fd, err := unix.Open(name, flags|unix.O_CLOEXEC, 0)
		if err != unix.EINTR {
			return fd, err
		}
	}
}
