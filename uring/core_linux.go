//go:build !giouring

package uring

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Driver names what drives the kernel's rings in this build.
const Driver = "raw"

// core is the ring by raw system calls: the two mappings, and the owner's ends.
type core struct {
	fd, enterFD     int
	enterFlags      uintptr
	rings, sqeMem   []byte
	control         *Region // what register and enter point the kernel at
	arg             *eventsArg
	self            *update
	sqes            []SQE
	cqes            []Completion
	sqHead, sqTail  *uint32
	cqHead, cqTail  *uint32
	sqFlags, cqLost *uint32
	tail            uint32 // what next has given out; published by enter
	registered      bool
}

func (c *core) open(entries, completions uint32, setup Setup) (err error) {
	*c = core{fd: -1}
	if c.control, err = Map(os.Getpagesize()); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.close())
		}
	}()
	c.arg = at[eventsArg](c.control.Bytes(), 0)
	c.self = at[update](c.control.Bytes(), 64)
	p := at[params](c.control.Bytes(), 128)
	p.flags, p.cqEntries = setup.flags(), completions
	// Unsafe rule 4 (Pointer to uintptr in the call itself).
	fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, uintptr(entries), uintptr(unsafe.Pointer(p)), 0)
	if errno != 0 {
		return errno
	}
	c.fd, c.enterFD = int(fd), int(fd)
	if missing := featRequired &^ p.features; missing != 0 {
		return fmt.Errorf("%w: kernel %s: missing io_uring features %#x, want 5.15 or newer",
			ErrUnsupported, release(), missing)
	}
	return c.mapRings(p)
}

func (c *core) mapRings(p *params) (err error) {
	const prot, flags = unix.PROT_READ | unix.PROT_WRITE, unix.MAP_SHARED | unix.MAP_POPULATE
	size := max(uintptr(p.sq.array)+uintptr(p.sqEntries)*unsafe.Sizeof(uint32(0)),
		uintptr(p.cq.cqes)+uintptr(p.cqEntries)*unsafe.Sizeof(Completion{}))
	if c.rings, err = unix.Mmap(c.fd, mapRings, int(size), prot, flags); err != nil {
		return fmt.Errorf("map the rings: %w", err)
	}
	size = uintptr(p.sqEntries) * unsafe.Sizeof(SQE{})
	if c.sqeMem, err = unix.Mmap(c.fd, mapSQEs, int(size), prot, flags); err != nil {
		return fmt.Errorf("map the submissions: %w", err)
	}
	c.sqes = array[SQE](c.sqeMem, 0, int(p.sqEntries))
	c.cqes = array[Completion](c.rings, uintptr(p.cq.cqes), int(p.cqEntries))
	c.sqHead, c.sqTail = at[uint32](c.rings, uintptr(p.sq.head)), at[uint32](c.rings, uintptr(p.sq.tail))
	c.cqHead, c.cqTail = at[uint32](c.rings, uintptr(p.cq.head)), at[uint32](c.rings, uintptr(p.cq.tail))
	c.sqFlags, c.cqLost = at[uint32](c.rings, uintptr(p.sq.flags)), at[uint32](c.rings, uintptr(p.cq.overflow))
	// The indirection table is the identity, once and for all.
	for i, index := 0, array[uint32](c.rings, uintptr(p.sq.array), int(p.sqEntries)); i < len(index); i++ {
		index[i] = uint32(i)
	}
	return nil
}

func (c *core) sizes() (entries, completions int) { return len(c.sqes), len(c.cqes) }
func (c *core) descriptor() int                   { return c.fd }
func (c *core) lost() uint32                      { return atomic.LoadUint32(c.cqLost) }

func (c *core) next() *SQE {
	if c.queued() == len(c.sqes) {
		return nil
	}
	s := &c.sqes[c.tail&uint32(len(c.sqes)-1)]
	*s = SQE{}
	c.tail++
	return s
}

func (c *core) queued() int { return int(c.tail - atomic.LoadUint32(c.sqHead)) }

// discard takes back what was not published; the kernel looks no further than
// the published tail.
func (c *core) discard() {
	c.tail = atomic.LoadUint32(c.sqHead)
	atomic.StoreUint32(c.sqTail, c.tail)
}

func (c *core) enter(wait uint32, events bool, limit *timespec) unix.Errno {
	flags, arg, size := c.enterFlags, unsafe.Pointer(nil), uintptr(0)
	if events || wait > 0 {
		flags |= enterGetEvents
	}
	if limit != nil {
		// Unsafe rule 2 (Pointer to uintptr, not back): limit is off the heap.
		*c.arg = eventsArg{timespec: uint64(uintptr(unsafe.Pointer(limit)))}
		flags |= enterExtArg
		arg, size = unsafe.Pointer(c.arg), unsafe.Sizeof(*c.arg)
	}
	atomic.StoreUint32(c.sqTail, c.tail)
	// Unsafe rule 4 (Pointer to uintptr in the call itself).
	_, _, errno := unix.Syscall6(unix.SYS_IO_URING_ENTER, uintptr(c.enterFD), uintptr(c.queued()),
		uintptr(wait), flags, uintptr(arg), size)
	return errno
}

func (c *core) fetch() unix.Errno {
	_, _, errno := unix.Syscall6(unix.SYS_IO_URING_ENTER, uintptr(c.enterFD), 0, 0, c.enterFlags|enterGetEvents, 0, 0)
	return errno
}

func (c *core) ready() int { return int(atomic.LoadUint32(c.cqTail) - atomic.LoadUint32(c.cqHead)) }

func (c *core) each(visit func(Completion)) int {
	head, tail := atomic.LoadUint32(c.cqHead), atomic.LoadUint32(c.cqTail)
	mask := uint32(len(c.cqes) - 1)
	for i := head; i != tail; i++ {
		visit(c.cqes[i&mask])
	}
	atomic.StoreUint32(c.cqHead, tail)
	return int(tail - head)
}

func (c *core) pending() (work, overflow bool) {
	flags := atomic.LoadUint32(c.sqFlags)
	return flags&sqTaskrun != 0, flags&sqOverflow != 0
}

func (c *core) register(op uint32, arg unsafe.Pointer, count uint32) (int, unix.Errno) {
	for {
		// Unsafe rule 4 (Pointer to uintptr in the call itself).
		n, _, errno := unix.Syscall6(unix.SYS_IO_URING_REGISTER, uintptr(c.fd), uintptr(op), uintptr(arg),
			uintptr(count), 0, 0)
		if errno != unix.EINTR {
			return int(n), errno
		}
	}
}

// registerSelf saves the kernel a look-up of the descriptor in each enter. A
// thread has 16 such places; without one, or before 5.18, enter uses the plain
// descriptor.
func (c *core) registerSelf() bool {
	*c.self = update{offset: ^uint32(0), data: uint64(c.fd)}
	if n, errno := c.register(registerRingFDs, unsafe.Pointer(c.self), 1); errno != 0 || n != 1 {
		return false
	}
	c.enterFD, c.enterFlags, c.registered = int(c.self.offset), enterRegisteredRing, true
	return true
}

func (c *core) close() error {
	var errs []error
	if c.registered {
		*c.self = update{offset: uint32(c.enterFD)}
		if _, errno := c.register(unregisterRingFDs, unsafe.Pointer(c.self), 1); errno != 0 {
			errs = append(errs, fmt.Errorf("unregister the ring: %w", errno))
		}
	}
	if c.fd >= 0 {
		errs = append(errs, unix.Close(c.fd))
	}
	for _, mem := range [][]byte{c.sqeMem, c.rings} {
		if mem != nil {
			errs = append(errs, unix.Munmap(mem))
		}
	}
	errs = append(errs, c.control.Free())
	*c = core{fd: -1} // a use after close is a nil pointer, not a fault in unmapped memory
	return errors.Join(errs...)
}
