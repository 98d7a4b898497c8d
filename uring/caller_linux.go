package uring

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/claudefs/repl/wire/link"
)

// callerParts is one gather list of a Caller. An engine's frame of a megabyte in
// batches of 16 KiB fits; a longer one goes out in pieces.
const callerParts = 128

// spinMax is how long a Caller looks for its completion before it sleeps. Longer
// spins gain nothing for round trips: a wake-up costs about as much.
const spinMax = 20 * time.Microsecond

// revokedMax is how often an operation is submitted again that Linux gave up before it
// began. What must wait is for a worker of the thread that submits; where none comes
// to be, because signals keep interrupting that (Go's runtime sends them) or memory is
// short, what waits ends as canceled (create_worker_cont in io-wq.c). Nothing else
// here ends that way: no operation is ever canceled.
const revokedMax = 100

// busyMax is how often in a row the kernel may take nothing before the ring is given up.
const busyMax = 1000

// Caller is a ring for one operation at a time, of whichever goroutine holds it:
// the operation is submitted and waited for in one system call of that goroutine's
// own. So nothing is handed to another thread and back, nothing is pinned beyond
// the call, and there is nothing to cancel: what makes the operation end ends the
// call.
type Caller struct {
	core
	filled *SQE // the submission being made
	slots  *slots
	slot   *Slot
	counts *callCounts
	spin   link.Spinner
	last   Completion
	plain  bool             // there is no ring, or none of use: system calls do it
	ringed bool             // there is one, of use or not
	taken  bool             // the failed ring had taken the operation: its memory must be left to it
	take   func(Completion) // made once

	// What is lent to the operation under way. The kernel has its address as a
	// number, which keeps nothing alive: these do, and what they hold is never on a
	// stack, which moves, but on the heap, where nothing does, or off it.
	memory []byte
	parts  [][]byte
}

// callCounts are shared by the Callers of a transport or a file system.
type callCounts struct {
	enters, calls, spins, hits, stagedBytes, revoked, plain, refused atomic.Uint64

	why atomic.Pointer[string] // of the last refusal; nil = none
}

// refuse counts a ring that was not to be had, or is of no use any more.
func (c *callCounts) refuse(err error) {
	text := err.Error()
	c.why.Store(&text)
	c.refused.Add(1)
}

func (c *callCounts) stats() CallStats {
	s := CallStats{
		Enters: c.enters.Load(), Calls: c.calls.Load(), Spins: c.spins.Load(), Hits: c.hits.Load(),
		StagedBytes: c.stagedBytes.Load(), Revoked: c.revoked.Load(), Plain: c.plain.Load(), Refused: c.refused.Load(),
	}
	if why := c.why.Load(); why != nil {
		s.Reason = *why
	}
	return s
}

// openCaller makes one. The thread that submits is the one that waits, but each
// call may come from another: so the ring has no single issuer, and no registered
// descriptor, which would belong to one thread.
func openCaller(setup Setup, counts *callCounts) (*Caller, error) {
	c, err := plainCaller(counts)
	if err != nil {
		return nil, err
	}
	for setup = max(setup, SetupCoop); ; setup++ {
		if err = c.core.open(1, 4, setup); !errors.Is(err, unix.EINVAL) || setup == SetupPlain {
			break
		}
	}
	if err != nil {
		return nil, errors.Join(explain(err), c.slots.region.Free())
	}
	c.plain, c.ringed = false, true
	c.op().Nop(0) // a filter may allow the setup and nothing else
	if _, err := c.call(); err != nil {
		return nil, errors.Join(explain(err), c.close())
	}
	return c, nil
}

// plainCaller makes one without a ring.
func plainCaller(counts *callCounts) (c *Caller, err error) {
	c = &Caller{counts: counts, plain: true}
	c.take = func(done Completion) { c.last = done }
	if c.slots, err = openSlots(1, callerParts); err != nil {
		return nil, err
	}
	c.slot = &c.slots.all[0]
	return c, nil
}

// close gives the ring back. Nothing is under way: calls end before they return.
func (c *Caller) close() error {
	var err error
	if c.ringed {
		err = c.core.close()
	}
	if c.taken {
		return err // the kernel may still read the slot
	}
	return errors.Join(err, c.slots.region.Free())
}

// op is the submission of the next call, zeroed.
func (c *Caller) op() *SQE {
	c.filled = c.next()
	return c.filled
}

// call submits what op gave out, waits for it, and returns its result: a count,
// a descriptor. While it waits, its thread sleeps, as in any blocking system call.
func (c *Caller) call() (int, error) {
	again := *c.filled
	c.counts.calls.Add(1)
	for revoked := 0; ; {
		done, err := c.complete()
		if err != nil {
			c.plain, c.taken = true, c.queued() == 0
			c.counts.refuse(err)
			return 0, fmt.Errorf("%w: %w", errRing, err)
		}
		switch err = done.Err(); {
		case err == nil:
			return int(done.Res), nil
		case err == unix.EINTR:
		case err == unix.ECANCELED && revoked < revokedMax:
			revoked++
			c.counts.revoked.Add(1)
		default:
			return 0, err
		}
		*c.op() = again
	}
}

// errRing marks an error of the ring, not of the operation.
var errRing = errors.New("ring failed")

// send sends what fits of the slot's message, without waiting.
func (c *Caller) send(fd int) (n int, err error) {
	if !c.plain {
		c.op().SendMsg(0, fd, c.slot, unix.MSG_DONTWAIT)
		if n, err = c.call(); !c.plain || c.taken {
			return n, err
		}
	}
	c.counts.plain.Add(1)
	return again(func() (uintptr, unix.Errno) {
		// Unsafe rule 4 (Pointer to uintptr in the call itself); the message is off the heap.
		n, _, errno := unix.Syscall(unix.SYS_SENDMSG, uintptr(fd), uintptr(unsafe.Pointer(c.slot.message())),
			unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		return n, errno
	})
}

// recv receives what is there, without waiting.
func (c *Caller) recv(fd int, p []byte) (n int, err error) {
	if !c.plain {
		c.op().Recv(0, fd, p, unix.MSG_DONTWAIT)
		if n, err = c.call(); !c.plain || c.taken {
			return n, err
		}
	}
	c.counts.plain.Add(1)
	return again(func() (uintptr, unix.Errno) {
		// Unsafe rule 4 (Pointer to uintptr in the call itself).
		n, _, errno := unix.Syscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))),
			uintptr(len(p)), unix.MSG_DONTWAIT, 0, 0)
		return n, errno
	})
}

// again makes a system call until no signal interrupts it.
func again(call func() (uintptr, unix.Errno)) (int, error) {
	for {
		switch n, errno := call(); errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
		default:
			return 0, errno
		}
	}
}

// complete enters until the operation has completed. An error is the ring's: the
// operation may still be under way then.
func (c *Caller) complete() (Completion, error) {
	for busy := 0; ; {
		c.counts.enters.Add(1)
		errno := c.enter(1, true, nil)
		if c.ready() > 0 {
			c.each(c.take)
			return c.last, nil
		}
		switch errno {
		case 0, unix.EINTR:
		case unix.EAGAIN, unix.EBUSY: // the kernel has no memory for it just now
			if busy++; busy > busyMax && c.queued() > 0 {
				return Completion{}, fmt.Errorf("io_uring_enter, %d times: %w", busyMax, errno)
			}
			runtime.Gosched()
		default:
			return Completion{}, fmt.Errorf("io_uring_enter: %w", errno)
		}
	}
}

// receive takes what is there for p, at least a byte, or none at the end; EAGAIN:
// nothing is. With spin it looks on for spinMax, as long as that pays.
func (c *Caller) receive(fd int, p []byte, spin bool) (int, error) {
	c.memory = p
	var begin time.Time
	for looks := 0; ; looks++ {
		n, err := c.recv(fd, p)
		if err != unix.EAGAIN {
			if looks > 0 {
				c.spun(true)
			}
			return n, err
		}
		if looks == 0 {
			if !spin || !c.spin.Worth() {
				return 0, err
			}
			begin = time.Now()
			c.counts.spins.Add(1)
		} else if time.Since(begin) > spinMax {
			c.spun(false)
			return 0, err
		}
		runtime.Gosched()
	}
}

func (c *Caller) spun(found bool) {
	if c.spin.Done(found); found {
		c.counts.hits.Add(1)
	}
}

// callers keeps Callers between two uses: to make one takes the kernel longer
// than to use it a hundred times.
type callers struct {
	setup  Setup
	counts callCounts
	rings  atomic.Int64

	mu    sync.Mutex
	idle  []*Caller
	ended bool
}

// callersIdleMax is how many are kept: those of eight links.
const callersIdleMax = 16

func (s *callers) take() (*Caller, error) {
	s.mu.Lock()
	if n := len(s.idle); n > 0 {
		defer s.mu.Unlock()
		c := s.idle[n-1]
		s.idle = s.idle[:n-1]
		return c, nil
	}
	s.mu.Unlock()
	c, err := s.open()
	if err == nil {
		return c, nil
	}
	s.counts.refuse(err)
	return plainCaller(&s.counts)
}

// open makes one, if that leaves room for others.
func (s *callers) open() (*Caller, error) {
	if most := ringsMax(); s.rings.Add(1) > most {
		s.rings.Add(-1)
		return nil, fmt.Errorf("%w: %d rings of links at most, so that journals find locked memory: %s", ErrUnsupported,
			most, lockLimit())
	}
	c, err := openCaller(s.setup, &s.counts)
	if err != nil {
		s.rings.Add(-1)
	}
	return c, err
}

// close closes one that open made, or a plain one.
func (s *callers) close(c *Caller) {
	if c.ringed {
		s.rings.Add(-1)
	}
	_ = c.close() // its memory is gone, whatever it says
}

// give takes one back, or nothing.
func (s *callers) give(c *Caller) {
	if c == nil {
		return
	}
	c.spin, c.memory, c.parts = link.Spinner{}, nil, nil
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended && !c.plain && len(s.idle) < callersIdleMax {
		s.idle = append(s.idle, c)
		return
	}
	s.close(c)
}

// end closes those that are idle, and from now on what is given back.
func (s *callers) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	for _, c := range s.idle {
		s.close(c)
	}
	s.idle = nil
}
