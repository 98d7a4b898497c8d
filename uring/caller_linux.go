package uring

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

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
	broken bool             // the ring failed: not to be used again
	take   func(Completion) // made once

	// What is lent to the operation under way. The kernel has its address as a
	// number, which keeps nothing alive: these do, and what they hold is never on a
	// stack, which moves, but on the heap, where nothing does, or off it.
	memory []byte
	parts  [][]byte
}

// callCounts are shared by the Callers of a transport or a file system.
type callCounts struct{ enters, calls, spins, hits, stagedBytes, revoked atomic.Uint64 }

func (c *callCounts) stats() CallStats {
	return CallStats{
		Enters: c.enters.Load(), Calls: c.calls.Load(), Spins: c.spins.Load(), Hits: c.hits.Load(),
		StagedBytes: c.stagedBytes.Load(), Revoked: c.revoked.Load(),
	}
}

// openCaller makes one. The thread that submits is the one that waits, but each
// call may come from another: so the ring has no single issuer, and no registered
// descriptor, which would belong to one thread.
func openCaller(setup Setup, counts *callCounts) (*Caller, error) {
	c := &Caller{counts: counts}
	c.take = func(done Completion) { c.last = done }
	var err error
	for setup = max(setup, SetupCoop); ; setup++ {
		if err = c.core.open(1, 4, setup); !errors.Is(err, unix.EINVAL) || setup == SetupPlain {
			break
		}
	}
	if err != nil {
		return nil, explain(err)
	}
	if c.slots, err = openSlots(1, callerParts); err != nil {
		return nil, errors.Join(err, c.core.close())
	}
	c.slot = &c.slots.all[0]
	return c, nil
}

// close gives the ring back. Nothing is under way: calls end before they return.
func (c *Caller) close() error { return errors.Join(c.core.close(), c.slots.region.Free()) }

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
			c.broken = true
			return 0, err
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

// complete enters until the operation has completed. An error is the ring's: the
// operation may still be under way then.
func (c *Caller) complete() (Completion, error) {
	for {
		c.counts.enters.Add(1)
		errno := c.enter(1, true, nil)
		if c.ready() > 0 {
			c.each(c.take)
			return c.last, nil
		}
		switch errno {
		case 0, unix.EINTR:
		case unix.EAGAIN, unix.EBUSY: // the kernel has no memory for it just now
			runtime.Gosched()
		default:
			return Completion{}, fmt.Errorf("io_uring_enter: %w", errno)
		}
	}
}

// receive fills p with at least a byte, or none at the end. Before it sleeps it lets
// other goroutines run: a thread that goes to sleep takes its processor along for a
// while, and what is ready there would wait for another thread to be woken. With
// spin it goes on looking for spinMax, as long as that pays.
func (c *Caller) receive(fd int, p []byte, spin bool) (int, error) {
	c.memory = p
	var begin time.Time
	for looks := 0; ; looks++ {
		c.op().Recv(0, fd, p, unix.MSG_DONTWAIT)
		n, err := c.call()
		if err != unix.EAGAIN {
			if looks > 1 {
				c.spun(true)
			}
			return n, err
		}
		if looks == 1 {
			if spin = spin && c.spin.Worth(); spin {
				begin = time.Now()
				c.counts.spins.Add(1)
			}
		}
		if looks > 0 && !spin {
			break
		}
		if looks > 1 && time.Since(begin) > spinMax {
			c.spun(false)
			break
		}
		runtime.Gosched()
	}
	c.op().Recv(0, fd, p, 0)
	return c.call()
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
	return openCaller(s.setup, &s.counts)
}

// give takes one back, or nothing.
func (s *callers) give(c *Caller) {
	if c == nil {
		return
	}
	c.spin, c.memory, c.parts = link.Spinner{}, nil, nil
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended && !c.broken && len(s.idle) < callersIdleMax {
		s.idle = append(s.idle, c)
		return
	}
	_ = c.close() // its memory is gone, whatever it says
}

// end closes those that are idle, and from now on what is given back.
func (s *callers) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	for _, c := range s.idle {
		_ = c.close() // as in give
	}
	s.idle = nil
}
