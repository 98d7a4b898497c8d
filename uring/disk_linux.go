package uring

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/claudefs/repl/engine/store/vfs"
)

// transferMax is what one read asks for; the kernel's limit is 2 GiB.
const transferMax = 1 << 30

// Disk is the operating system's files, read, written and synced by io_uring.
// Names and directories, which are rarely touched, are vfs.OS's. What writes in
// bulk opens a queue (vfs.Queuer), whose ring its goroutine owns; everything else,
// readers that are behind, a segment's head, zeros, borrows a Caller.
type Disk struct {
	vfs.OS
	callers callers
	closed  atomic.Bool
}

var _ vfs.Queuer = (*Disk)(nil)

// DiskOptions of OpenDisk; the zero value is the default.
type DiskOptions struct {
	Setup Setup // where rings begin stepping down
}

// OpenDisk returns an error that wraps ErrUnsupported where there is no io_uring.
func OpenDisk(o DiskOptions) (*Disk, error) {
	d := &Disk{}
	d.callers.setup = o.Setup
	c, err := d.callers.take()
	if err != nil {
		return nil, err
	}
	d.callers.give(c)
	return d, nil
}

// Close gives the rings back, those of operations under way when they end. Files
// then answer fs.ErrClosed; queues are their goroutines' to close.
func (d *Disk) Close() error {
	if d.closed.Swap(true) {
		return ErrClosed
	}
	d.callers.end()
	return nil
}

// Stats returns the counters of all files and queues. Any goroutine.
func (d *Disk) Stats() CallStats { return d.callers.counts.stats() }

// Create implements vfs.FS; the result is a *DiskFile.
func (d *Disk) Create(name string) (vfs.File, error) {
	return d.open(name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL)
}

// Open implements vfs.FS; the result is a *DiskFile. One that may only be read is
// opened for reading; writing to it then fails.
func (d *Disk) Open(name string) (vfs.File, error) {
	f, err := d.open(name, unix.O_RDWR)
	if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EROFS) {
		f, err = d.open(name, unix.O_RDONLY)
	}
	return f, err
}

// open does without package os, which offers each file to its poller.
func (d *Disk) open(name string, flags int) (vfs.File, error) {
	fd, err := openFD(name, flags)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	if flags&unix.O_CREAT != 0 {
		if err := unix.Fchmod(fd, uint32(vfs.PrivateFileMode)); err != nil { // whatever the umask
			return nil, errors.Join(&fs.PathError{Op: "chmod", Path: name, Err: err}, unix.Close(fd))
		}
	}
	return &DiskFile{d: d, f: os.NewFile(uintptr(fd), name), past: notOpen}, nil
}

func openFD(name string, flags int) (int, error) {
	for {
		fd, err := unix.Open(name, flags|unix.O_CLOEXEC, uint32(vfs.PrivateFileMode))
		if err != unix.EINTR {
			return fd, err
		}
	}
}

const (
	notOpen = -1
	refused = -2
)

// DiskFile is an open file. Errors carry the path and unwrap to the errno.
type DiskFile struct {
	d *Disk
	f *os.File

	mu     sync.RWMutex // read-locked while an operation is under way
	closed bool
	past   int // a descriptor that goes past the system's cache; a queue's goroutine opens it
}

// ReadAt implements vfs.File.
func (f *DiskFile) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, &fs.PathError{Op: "read", Path: f.f.Name(), Err: unix.EINVAL}
	}
	err = f.borrow(func(c *Caller) error {
		for n < len(p) {
			c.memory = p[n:min(len(p), n+transferMax)]
			c.op().Read(0, int(f.f.Fd()), c.memory, off+int64(n))
			moved, err := c.call()
			if err != nil {
				return err
			}
			if moved == 0 {
				return io.EOF
			}
			n += moved
		}
		return nil
	})
	if err == io.EOF {
		return n, err
	}
	return n, f.wrap("read", err)
}

// WriteAt implements vfs.File.
func (f *DiskFile) WriteAt(parts [][]byte, off int64) error {
	return f.wrap("writev", f.borrow(func(c *Caller) error {
		c.parts = parts
		for len(parts) > 0 {
			parts = parts[c.slot.Gather(parts):]
			for c.slot.Len() > 0 {
				c.op().writeGathered(0, int(f.f.Fd()), c.slot, off)
				moved, err := c.call()
				if err == nil && moved == 0 {
					err = io.ErrShortWrite
				}
				if err != nil {
					return err
				}
				c.slot.Advance(moved)
				off += int64(moved)
			}
		}
		return nil
	}))
}

// Sync implements vfs.File.
func (f *DiskFile) Sync() error {
	return f.wrap("fdatasync", f.borrow(func(c *Caller) error {
		c.op().Fsync(0, int(f.f.Fd()), true)
		_, err := c.call()
		return err
	}))
}

// Refresh implements vfs.File, by a POSIX_FADV_DONTNEED behind the sync: Linux
// then drops the clean pages of a file that nobody has mapped.
func (f *DiskFile) Refresh() error {
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
func (f *DiskFile) Size() (int64, error) {
	info, err := f.f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// Truncate implements vfs.File.
func (f *DiskFile) Truncate(size int64) error { return f.f.Truncate(size) }

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
	return errors.Join(f.f.Close(), err)
}

func (f *DiskFile) wrap(verb string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: verb, Path: f.f.Name(), Err: err}
}

// borrow does something with a ring.
func (f *DiskFile) borrow(do func(*Caller) error) error {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.closed || f.d.closed.Load() {
		return fs.ErrClosed
	}
	c, err := f.d.callers.take()
	if err != nil {
		return err
	}
	defer f.d.callers.give(c)
	return do(c)
}

func (f *DiskFile) isClosed() bool {
	f.mu.RLock()
	defer f.mu.RUnlock()
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
		self := "/proc/self/fd/" + strconv.Itoa(int(f.f.Fd())) // whatever its name is by now
		if f.past, err = openFD(self, unix.O_WRONLY|unix.O_DIRECT); err != nil {
			f.past = refused
			return refused, fmt.Errorf("O_DIRECT: %w", err)
		}
	}
	if f.past < 0 {
		return refused, errors.New("O_DIRECT refused before")
	}
	return f.past, nil
}
