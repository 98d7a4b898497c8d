package uring

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"strconv"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/claudefs/repl/engine/store/vfs"
)

const (
	// diskRingsMax is how many operations outside queues run at once: readers that are
	// behind, a segment's head, zeros. A ring costs about 6 locked pages.
	diskRingsMax = 4
	// transferMax is what one read asks for; the kernel's limit is 2 GiB.
	transferMax = 1 << 30
)

// Disk is the operating system's files, read, written and synced by io_uring.
// Names and directories, which are rarely touched, are vfs.OS's. What writes in
// bulk opens a queue (vfs.Queuer), whose ring its goroutine owns; everything else
// borrows a small ring for one operation, which is submitted and waited for by one
// system call of the caller's own thread.
type Disk struct {
	vfs.OS
	rings chan *diskRing // those that wait; capacity diskRingsMax

	mu     sync.Mutex
	opened int
	closed bool
	setup  Setup
}

var _ vfs.Queuer = (*Disk)(nil)

// DiskOptions of OpenDisk; the zero value is the default.
type DiskOptions struct {
	Setup Setup // where rings begin stepping down
}

// OpenDisk returns an error that wraps ErrUnsupported where there is no io_uring.
func OpenDisk(o DiskOptions) (*Disk, error) {
	d := &Disk{rings: make(chan *diskRing, diskRingsMax), setup: o.Setup}
	r, err := openDiskRing(d.setup)
	if err != nil {
		return nil, err
	}
	d.opened = 1
	d.rings <- r
	return d, nil
}

// Close gives the rings back, after the operations under way. Files then answer
// fs.ErrClosed; queues are their goroutines' to close.
func (d *Disk) Close() error {
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return ErrClosed
	}
	d.closed = true
	opened := d.opened
	d.mu.Unlock()
	var errs []error
	for range opened {
		errs = append(errs, (<-d.rings).close())
	}
	close(d.rings)
	return errors.Join(errs...)
}

// ring takes one that waits, or another one, or waits for one.
func (d *Disk) ring() (*diskRing, error) {
	select {
	case r, ok := <-d.rings:
		return given(r, ok)
	default:
	}
	if r := d.another(); r != nil {
		return r, nil
	}
	r, ok := <-d.rings
	return given(r, ok)
}

// another opens a ring if there may be one more; nil: those that there are will do.
func (d *Disk) another() *diskRing {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed || d.opened == diskRingsMax {
		return nil
	}
	r, err := openDiskRing(d.setup)
	if err != nil {
		return nil // memory is short
	}
	d.opened++
	return r
}

func given(r *diskRing, ok bool) (*diskRing, error) {
	if !ok {
		return nil, fs.ErrClosed
	}
	return r, nil
}

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
	return &DiskFile{d: d, f: os.NewFile(uintptr(fd), name), past: notOpen}, nil
}

func openFD(name string, flags int) (int, error) {
	for {
		fd, err := unix.Open(name, flags|unix.O_CLOEXEC, 0o640)
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
	err = f.borrow(func(r *diskRing) error {
		for n < len(p) {
			rest := p[n:]
			r.held.Pin(unsafe.SliceData(rest))
			r.ring.Next().Read(0, int(f.f.Fd()), rest[:min(len(rest), transferMax)], off+int64(n))
			moved, err := r.wait()
			r.held.Unpin()
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
	return f.wrap("writev", f.borrow(func(r *diskRing) error {
		slot := r.ring.Slot()
		defer r.ring.Release(slot)
		for len(parts) > 0 {
			taken := slot.Gather(parts)
			for _, p := range parts[:taken] {
				if len(p) > 0 {
					r.held.Pin(unsafe.SliceData(p))
				}
			}
			parts = parts[taken:]
			for slot.Len() > 0 {
				r.ring.Next().writeGathered(0, int(f.f.Fd()), slot, off)
				moved, err := r.wait()
				if err == nil && moved == 0 {
					err = io.ErrShortWrite
				}
				if err != nil {
					r.held.Unpin()
					return err
				}
				slot.Advance(moved)
				off += int64(moved)
			}
			r.held.Unpin()
		}
		return nil
	}))
}

// Sync implements vfs.File.
func (f *DiskFile) Sync() error {
	return f.wrap("fdatasync", f.borrow(func(r *diskRing) error {
		r.ring.Next().Fsync(0, int(f.f.Fd()), true)
		_, err := r.wait()
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

// borrow does something with a ring, on one thread.
func (f *DiskFile) borrow(do func(*diskRing) error) error {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.closed {
		return fs.ErrClosed
	}
	r, err := f.d.ring()
	if err != nil {
		return err
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	r.ring.thread = unix.Gettid() // ours while it is lent
	err = do(r)
	f.d.rings <- r
	return err
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

// diskRing is a ring that threads use one after another.
type diskRing struct {
	ring *Ring
	held runtime.Pinner // the memory of the operation under way
	res  Completion
	took func(Completion)
}

func openDiskRing(setup Setup) (*diskRing, error) {
	ring, err := Open(Options{Entries: 2, Slots: 1, SlotParts: 256, Setup: max(setup, SetupCoop)})
	if err != nil {
		return nil, err
	}
	ring.core.forEveryThread()
	r := &diskRing{ring: ring}
	r.took = func(c Completion) { r.res = c }
	return r, nil
}

// wait submits what was prepared and returns what became of it. A signal does not
// cut it short.
func (r *diskRing) wait() (moved int, err error) {
	for {
		if _, err = r.ring.SubmitAndWait(1, -1); err == nil || errors.Is(err, ErrBusy) {
			if r.ring.Completions(r.took) > 0 {
				return int(max(r.res.Res, 0)), r.res.Err()
			}
			continue
		}
		return 0, err
	}
}

func (r *diskRing) close() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	r.ring.thread = unix.Gettid()
	return r.ring.Close()
}
