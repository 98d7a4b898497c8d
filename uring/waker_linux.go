package uring

import (
	"fmt"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Waker ends the sleep of a ring from any goroutine. The ring's side:
//
//	waker.Arm(ring.Next(), user)          // again after each completion of user
//	for {
//		work()                             // until the queues are empty
//		waker.Idle()                       // publish …
//		if queuesEmpty() {                 // … then look once more
//			ring.SubmitAndWait(1, -1)      // … then block
//		}
//		waker.Busy()
//		ring.Completions(…)
//	}
//
// The producers' side: put the work where the ring will look, then Wake. Both
// sides write first and read second, and Go's atomics are sequentially
// consistent, so either the producer sees idle and wakes, or the ring sees the
// work. The ring's own flag and the queue must be atomics, or behind a lock.
type Waker struct {
	idle    atomic.Bool
	mu      sync.RWMutex // guards fd against Close
	fd      int
	counter *Region
	woken   atomic.Uint64
}

// NewWaker makes one with its own eventfd.
func NewWaker() (*Waker, error) {
	counter, err := Map(int(unsafe.Sizeof(uint64(0))))
	if err != nil {
		return nil, err
	}
	// Blocking: on a non-blocking one the ring's read would answer EAGAIN.
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		_ = counter.Free()
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	return &Waker{fd: fd, counter: counter}, nil
}

// Arm prepares the read that a Wake completes. Owner of the ring only; one at a
// time, so again after each of its completions.
func (w *Waker) Arm(s *SQE, user uint64) { s.Read(user, w.fd, w.counter.Bytes()[:8], 0) }

// Idle publishes that the ring is about to block. Look at the queues after it.
func (w *Waker) Idle() { w.idle.Store(true) }

// Busy takes it back: until the next Idle a Wake costs one load.
func (w *Waker) Busy() { w.idle.Store(false) }

// Wake ends the ring's sleep, if it sleeps or is about to. Any goroutine, at any
// time; it does nothing after Close. Of many at once one enters the kernel.
func (w *Waker) Wake() {
	if !w.idle.Load() || !w.idle.CompareAndSwap(true, false) {
		return
	}
	w.mu.RLock()
	defer w.mu.RUnlock()
	if w.fd < 0 {
		return
	}
	w.woken.Add(1)
	for {
		// It cannot fail but by a signal: the counter is read before it is full.
		if _, err := unix.Write(w.fd, wakeOne[:]); err != unix.EINTR {
			return
		}
	}
}

// wakeOne is what a Wake adds: not zero in either byte order. On the stack it
// would be allocated under the race detector.
var wakeOne = [8]byte{0: 1, 7: 1}

// Wakes counts the times Wake entered the kernel.
func (w *Waker) Wakes() uint64 { return w.woken.Load() }

// Close closes the eventfd; the ring's read must have ended: close the ring first.
func (w *Waker) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fd < 0 {
		return ErrClosed
	}
	err := unix.Close(w.fd)
	w.fd = -1
	if freed := w.counter.Free(); err == nil {
		err = freed
	}
	return err
}
