//go:build giouring

package uring

import (
	"errors"
	"fmt"
	"syscall"
	"unsafe"

	"github.com/pawelgaczynski/giouring"
	"golang.org/x/sys/unix"
)

// Driver names what drives the kernel's rings in this build.
const Driver = "giouring"

// core is the ring by giouring, with what docs/giouring.md says is sound of it.
type core struct {
	ring     *giouring.Ring
	entries  int
	cqSize   int
	prepared []*SQE // since the last enter, for discard
}

// open asks for more submissions than it was told to: giouring cannot name the
// number of completions, and the kernel grants twice the submissions.
func (c *core) open(entries, completions uint32, setup Setup) error {
	c.ring = giouring.NewRing()
	err := c.ring.QueueInit(max(entries, completions/2), setup.flags()&^setupCQSize)
	if err != nil {
		return err
	}
	c.entries, c.cqSize = int(entries), int(completions)
	c.prepared = make([]*SQE, 0, entries)
	return nil
}

func (c *core) sizes() (entries, completions int) { return c.entries, c.cqSize }
func (c *core) descriptor() int                   { return c.ring.RingFd() }
func (c *core) lost() uint32                      { return 0 } // it does not tell

func (c *core) next() *SQE {
	if c.queued() >= c.entries {
		return nil
	}
	// Unsafe rule 1 (*T1 to *T2): both are the kernel's 64-byte submission.
	s := (*SQE)(unsafe.Pointer(c.ring.GetSQE()))
	*s = SQE{}
	c.prepared = append(c.prepared, s)
	return s
}

func (c *core) queued() int { return int(c.ring.SQReady()) }

// discard turns what is queued into nothing: what GetSQE gave out is submitted.
func (c *core) discard() {
	for _, s := range c.prepared {
		*s = SQE{}
		s.prepNop()
	}
}

func (c *core) enter(wait uint32, events bool, limit *timespec) unix.Errno {
	var err error
	c.prepared = c.prepared[:0]
	switch {
	case wait > 0:
		// Unsafe rule 1: on 64-bit systems both are two 64-bit integers; the limit
		// lies off the heap, because giouring keeps its address as a number.
		_, err = c.ring.SubmitAndWaitTimeout(wait, (*syscall.Timespec)(unsafe.Pointer(limit)), nil)
	case events:
		_, err = c.ring.SubmitAndGetEvents()
	default:
		_, err = c.ring.Submit()
	}
	return errnoOf(err)
}

func (c *core) fetch() unix.Errno {
	_, err := c.ring.GetEvents()
	return errnoOf(err)
}

func (c *core) ready() int { return int(c.ring.CQReady()) }

// each counts inside: ForEachCQE goes on to completions that arrive meanwhile, so
// a count taken before would not be the number visited.
func (c *core) each(visit func(Completion)) (count int) {
	c.ring.ForEachCQE(func(e *giouring.CompletionQueueEvent) {
		count++
		visit(Completion{User: e.UserData, Res: e.Res, Flags: e.Flags})
	})
	c.ring.CQAdvance(uint32(count))
	return count
}

func (c *core) pending() (work, overflow bool) { return false, c.ring.CQHasOverflow() }

func (c *core) register(op uint32, arg unsafe.Pointer, count uint32) (int, unix.Errno) {
	n, errno := c.ring.Register(c.ring.RingFd(), op, arg, count)
	return int(n), errno
}

// registerSelf stays off: UnregisterRingFd refuses exactly when the ring is
// registered, so the kernel would keep the ring beyond its close.
func (c *core) registerSelf() bool { return false }

func (c *core) close() error {
	c.ring.QueueExit()
	c.ring = nil // a use after close is a nil pointer, not a fault in unmapped memory
	return nil
}

func errnoOf(err error) unix.Errno {
	if err == nil {
		return 0
	}
	if errno, ok := errors.AsType[unix.Errno](err); ok {
		return errno
	}
	panic(fmt.Sprintf("uring: giouring answered %v", err))
}
