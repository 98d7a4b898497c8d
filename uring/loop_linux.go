package uring

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// loopEntries is room for one iteration's submissions; what does not fit waits
	// for the next.
	loopEntries = 256
	// loopSlots bounds sends, gathered writes and connects in flight; more wait.
	loopSlots = 256
	// loopSlotParts is one gather list; a longer one goes out in pieces. An engine's
	// frame of a megabyte in batches of 16 KiB fits.
	loopSlotParts = 128
	// fileOpsMax bounds the disk operations under way; more callers wait.
	fileOpsMax = 32
	// spinMax is how long the loop looks for more before it sleeps, and trafficFor
	// how long after traffic it does so. Both are measured: longer spins gain
	// nothing for round trips and cost the disk's completions their core.
	spinMaxOld = 20 * time.Microsecond
	trafficFor = time.Millisecond
	// spinProcsMin: with two of them a spinning loop keeps what it has just woken
	// from running. A round trip between processes on 2 cores took 190 µs with
	// spinning and 125 µs without.
	spinProcsMin = 4
	// endWithin bounds the wait for the kernel to end what it has under way.
	endWithin = 5 * time.Second
)

// Users of completions that are no operation's index.
const (
	userWaker  = 1<<32 + iota // the read that ends the loop's sleep
	userCancel                // the answer to a cancel, which tells nothing
)

// Loop is one ring and the goroutine that owns it, locked to its thread. It
// serves the links and the files of one engine. Its methods, Transports and FS
// may be used by any goroutine.
type Loop struct {
	ring  *Ring
	waker *Waker
	queue opQueue
	spin  bool
	old   bool          // do as an old kernel needs it
	done  chan struct{} // closed when the goroutine has ended

	ending atomic.Bool  // Close was called
	over   atomic.Bool  // nobody takes from queue any more
	err    error        // why the loop ended; set before over
	fileOp chan *fileOp // the free ones

	// The goroutine's own.
	todo    opList // to be started, in order
	flying  []*op  // by user
	free    []uint32
	aborts  []*op // to be canceled
	armed   bool  // the waker's read is under way
	owners  map[owner]struct{}
	groups  groups
	traffic time.Time // of the network, last seen
	active  bool      // traffic in this iteration
	disk    int       // disk operations under way
	clean   bool      // the ring ended with nothing in flight
	counted counters
	visit   func(Completion) // completed, made once
}

// owner is what holds descriptors and memory of the loop: a link or a listener.
type owner interface {
	// end begins to give everything back. It happens at once, or when the last
	// operation under way has completed.
	end(l *Loop)
	// abandon gives back what can be, while the kernel may still use the rest.
	abandon(l *Loop, err error)
}

// LoopStats counts since OpenLoop.
type LoopStats struct {
	Enters    uint64 // system calls of the ring
	Submitted uint64 // operations
	Completed uint64 // completions
	Wakes     uint64 // times a sleeping loop was woken by a system call
	Spins     uint64 // times it looked for more before it slept
	NoBuffers uint64 // receives that ended for want of buffers
	Overflows uint64 // times completions had to be fetched from the kernel's overflow list
	Links     int    // links and listeners open
}

// counters are the goroutine's figures where others can read them.
type counters struct {
	enters, submitted, completed, spins, noBuffers, overflows atomic.Uint64
	owners                                                    atomic.Int64
}

// LoopOptions of OpenLoop; the zero value is the default.
type LoopOptions struct {
	// Setup is where the ring begins stepping down. From SetupCoop on the loop also
	// does without what came with later kernels: buffer rings, multishot.
	Setup Setup
}

// OpenLoop starts a loop. The error wraps ErrUnsupported where the machine gives
// us no ring.
func OpenLoop(o LoopOptions) (*Loop, error) {
	l := &Loop{
		old:  o.Setup >= SetupCoop,
		spin: runtime.GOMAXPROCS(0) >= spinProcsMin, done: make(chan struct{}), owners: map[owner]struct{}{},
		fileOp: make(chan *fileOp, fileOpsMax),
	}
	for range fileOpsMax {
		l.fileOp <- newFileOp()
	}
	l.groups.none, l.visit = l.old, l.completed
	var err error
	if l.waker, err = NewWaker(); err != nil {
		return nil, err
	}
	opened := make(chan error)
	go func() { // Ends when Close is called, or when the ring fails.
		defer close(l.done)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		var err error
		l.ring, err = Open(Options{Entries: loopEntries, Slots: loopSlots, SlotParts: loopSlotParts, Setup: o.Setup})
		opened <- err
		if err == nil {
			l.run()
		}
	}()
	if err := <-opened; err != nil {
		return nil, errors.Join(err, l.waker.Close())
	}
	return l, nil
}

// Stats counts since OpenLoop.
func (l *Loop) Stats() LoopStats {
	c := &l.counted
	return LoopStats{
		Enters: c.enters.Load(), Submitted: c.submitted.Load(), Completed: c.completed.Load(), Spins: c.spins.Load(),
		NoBuffers: c.noBuffers.Load(), Overflows: c.overflows.Load(), Wakes: l.waker.Wakes(),
		Links: int(c.owners.Load()),
	}
}

// Close ends every operation, closes links and listeners, and gives the ring
// back. Later operations return link.ErrClosed or fs.ErrClosed. The error is the
// ring's that ended the loop, if one did. A second call returns the same.
func (l *Loop) Close() error {
	l.ending.Store(true)
	l.waker.Wake()
	<-l.done
	if errors.Is(l.err, ErrClosed) {
		return nil
	}
	return l.err
}

// do hands an operation to the loop and waits for its end.
func (l *Loop) do(o *op) error {
	l.post(o)
	<-o.done
	return o.err
}

// post hands an operation over. Both sides write first and look second, so that
// either the loop's last look finds the operation or its poster sees over.
func (l *Loop) post(o *op) {
	l.queue.push(o)
	l.waker.Wake()
	if l.over.Load() {
		l.refuse()
	}
}

// refuse answers what was posted behind the loop's end. Any goroutine.
func (l *Loop) refuse() {
	for o := l.queue.takeAll(); o != nil; {
		next := o.next
		o.finish(l.err)
		o = next
	}
}

func (l *Loop) run() {
	var err error
	for err == nil && !l.ending.Load() {
		l.collect()
		l.start()
		err = l.wait()
		l.ring.Completions(l.visit)
		l.account()
	}
	l.shutDown(err)
}

// collect takes what was posted.
func (l *Loop) collect() {
	for o := l.queue.takeAll(); o != nil; {
		next := o.next
		l.todo.push(o)
		o = next
	}
}

// start submits what waits, as far as there is room. Each operation takes one
// submission at most.
func (l *Loop) start() {
	if !l.armed && l.ring.Space() > 0 {
		l.waker.Arm(l.ring.Next(), userWaker)
		l.armed = true
	}
	for len(l.aborts) > 0 && l.ring.Space() > 0 {
		last := len(l.aborts) - 1
		if o := l.aborts[last]; o.flying {
			l.ring.Next().Cancel(userCancel, uint64(o.user))
		}
		l.aborts[last] = nil
		l.aborts = l.aborts[:last]
	}
	var held opList
	for l.ring.Space() > 0 {
		o := l.todo.pop()
		if o == nil {
			break
		}
		if !o.task.start(l) { // no slot: one comes with a completion
			held.push(o)
		}
	}
	held.append(&l.todo)
	l.todo = held
}

// later has an operation started (again) in the next iteration.
func (l *Loop) later(o *op) { l.todo.push(o) }

// fly gives an operation its user, until its last completion.
func (l *Loop) fly(o *op) uint64 {
	if n := len(l.free); n > 0 {
		o.user, l.free = l.free[n-1], l.free[:n-1]
	} else {
		o.user = uint32(len(l.flying))
		l.flying = append(l.flying, nil)
	}
	l.flying[o.user] = o
	o.flying = true
	return uint64(o.user)
}

// abort cancels an operation if it is under way.
func (l *Loop) abort(o *op) {
	if o.flying {
		l.aborts = append(l.aborts, o)
	}
}

// wait submits, and returns when there is something to do.
func (l *Loop) wait() error {
	if l.ring.Space() == 0 || len(l.aborts) > 0 {
		return l.enter(0, 0)
	}
	if l.spin && l.disk == 0 && l.busy() {
		if err := l.enter(0, 0); err != nil || l.look() {
			return err
		}
	}
	l.waker.Idle()
	defer l.waker.Busy()
	if !l.queue.empty() || l.ending.Load() {
		return nil
	}
	return l.enter(1, -1)
}

// busy: there was traffic lately.
func (l *Loop) busy() bool {
	now := time.Now()
	if l.active {
		l.traffic, l.active = now, false
	}
	return now.Sub(l.traffic) < trafficFor
}

// look spins, at most for spinMax; true when there is something to do.
func (l *Loop) look() bool {
	l.counted.spins.Add(1)
	for begin := time.Now(); ; {
		for range 32 {
			if !l.queue.empty() || l.ring.Pending() {
				return true
			}
		}
		if time.Since(begin) > spinMaxOld {
			return false
		}
	}
}

// enter is SubmitAndWait. A kernel that takes no more takes it after completions
// were consumed, which the caller does next.
func (l *Loop) enter(n int, timeout time.Duration) error {
	_, err := l.ring.SubmitAndWait(n, timeout)
	if errors.Is(err, ErrBusy) {
		runtime.Gosched()
		return nil
	}
	return err
}

func (l *Loop) completed(c Completion) {
	switch c.User {
	case userWaker:
		l.armed = false
		return
	case userCancel:
		return
	}
	o := l.flying[c.User]
	if !c.More() {
		l.flying[c.User] = nil
		l.free = append(l.free, o.user)
		o.flying = false
	}
	o.task.completed(l, c)
}

// account publishes the ring's figures.
func (l *Loop) account() {
	s := l.ring.Stats()
	l.counted.enters.Store(s.Enters)
	l.counted.submitted.Store(s.Submitted)
	l.counted.completed.Store(s.Completed)
	l.counted.overflows.Store(s.Overflows)
}

func (l *Loop) add(o owner) {
	l.owners[o] = struct{}{}
	l.counted.owners.Store(int64(len(l.owners)))
}

func (l *Loop) remove(o owner) {
	delete(l.owners, o)
	l.counted.owners.Store(int64(len(l.owners)))
}

// shutDown ends everything, in good order if the ring still works.
func (l *Loop) shutDown(err error) {
	l.err = ErrClosed
	if err != nil {
		l.err = fmt.Errorf("io_uring: %w", err)
	}
	if err == nil {
		err = l.windDown()
	}
	closed := l.ring.Close()
	l.clean = closed == nil
	if closed != nil && err == nil {
		l.err = closed
	}
	if closed != nil {
		kept.add(l)
	}
	for _, o := range l.flying { // nobody took their completions
		if o != nil {
			o.lent = closed != nil
			o.finish(l.err)
		}
	}
	for o := range l.owners {
		o.abandon(l, l.err)
	}
	clear(l.owners)
	l.counted.owners.Store(0)
	for o := l.todo.pop(); o != nil; o = l.todo.pop() {
		o.finish(l.err)
	}
	l.over.Store(true)
	l.refuse()
	// It fails only if it was closed before.
	_ = l.waker.Close()
}

// kept are the loops whose memory the kernel did not give back: it must outlive
// them, and it stays pinned. So this is the one thing that the package keeps.
var kept keptLoops

type keptLoops struct {
	mu    sync.Mutex
	loops []*Loop
}

func (k *keptLoops) add(l *Loop) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.loops = append(k.loops, l)
}

// windDown cancels what is under way and sees it end.
func (l *Loop) windDown() error {
	l.collect()
	for o := range l.owners {
		o.end(l)
	}
	for _, o := range l.flying {
		if o != nil {
			l.abort(o)
		}
	}
	deadline := time.Now().Add(endWithin)
	for len(l.free) < len(l.flying) || len(l.aborts) > 0 {
		if time.Now().After(deadline) {
			return nil // ring.Close says what it could not end
		}
		l.start()
		if err := l.enter(1, 10*time.Millisecond); err != nil {
			return err
		}
		l.ring.Completions(l.visit)
	}
	l.account()
	return nil
}

// closing: the loop takes no new operations.
func (l *Loop) closing() bool { return l.err != nil }

// transient: the operation is to be tried again as it is.
func transient(err error) bool { return err == unix.EINTR || err == unix.EAGAIN }
