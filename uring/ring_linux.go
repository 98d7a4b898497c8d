package uring

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// Setup is how the kernel serves a ring, best first. Open steps down to what the
// kernel knows.
type Setup uint8

const (
	// SetupBest is where Open begins by default: SetupDefer.
	SetupBest Setup = iota
	// SetupDefer: one thread submits, and completions run only when it enters
	// (kernel 6.1).
	SetupDefer
	// SetupSingle: one thread submits; completions run at its next system call (6.0).
	SetupSingle
	// SetupCoop: completions run at the thread's next system call (5.19).
	SetupCoop
	// SetupSubmitAll: a bad submission does not hold back those after it (5.18).
	SetupSubmitAll
	// SetupPlain: completions interrupt the thread (5.15).
	SetupPlain
)

func (s Setup) flags() uint32 {
	switch s {
	case SetupDefer:
		return setupCQSize | setupSubmitAll | setupTaskrunFlag | setupSingleIssuer | setupDeferTaskrun
	case SetupSingle:
		return setupCQSize | setupSubmitAll | setupTaskrunFlag | setupSingleIssuer | setupCoopTaskrun
	case SetupCoop:
		return setupCQSize | setupSubmitAll | setupTaskrunFlag | setupCoopTaskrun
	case SetupSubmitAll:
		return setupCQSize | setupSubmitAll
	}
	return setupCQSize
}

func (s Setup) String() string {
	switch s {
	case SetupBest:
		return "best"
	case SetupDefer:
		return "single issuer, deferred work"
	case SetupSingle:
		return "single issuer, cooperative work"
	case SetupCoop:
		return "cooperative work"
	case SetupSubmitAll:
		return "submit all"
	}
	return "plain"
}

// Options of Open; the zero value is the default.
type Options struct {
	Entries     int   // submissions, a power of two, at most 4,096; 0 = 64
	Completions int   // a power of two, at least 4 × Entries; 0 = that
	Slots       int   // operations with a header, address or time at once; 0 = 64
	SlotParts   int   // parts of one gather list, at most 1,024; 0 = 64
	Setup       Setup // where to begin stepping down
	// AnyThread: the owner need not stay on one thread. Setup is SetupCoop at best
	// then. What one thread submitted completes there: let as little as possible be
	// in flight when the owner moves, and it does not move while it waits.
	AnyThread bool
}

func (o Options) withDefaults() (Options, error) {
	if o.Entries == 0 {
		o.Entries = 64
	}
	if o.Completions == 0 {
		o.Completions = 4 * o.Entries
	}
	if o.Slots == 0 {
		o.Slots = 64
	}
	if o.SlotParts == 0 {
		o.SlotParts = 64
	}
	if o.Setup == SetupBest {
		o.Setup = SetupDefer
	}
	if o.AnyThread {
		o.Setup = max(o.Setup, SetupCoop)
	}
	var errs []error
	refuse := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	refuse(o.Entries < 1 || o.Entries > 4096 || o.Entries&(o.Entries-1) != 0,
		"Entries %d: a power of two up to 4096", o.Entries)
	refuse(o.Completions < 4*o.Entries || o.Completions > 65536 || o.Completions&(o.Completions-1) != 0,
		"Completions %d: a power of two from 4 × Entries to 65536", o.Completions)
	refuse(o.Slots < 1 || o.Slots > 65536, "Slots %d: 1 to 65536", o.Slots)
	refuse(o.SlotParts < 1 || o.SlotParts > 1024, "SlotParts %d: 1 to 1024", o.SlotParts)
	refuse(o.Setup > SetupPlain, "Setup %d: unknown", o.Setup)
	return o, errors.Join(errs...)
}

// Stats counts since Open. The owner reads it.
type Stats struct {
	Enters      uint64 // system calls
	Submitted   uint64
	Completed   uint64
	Overflows   uint64 // times completions had to be fetched from the kernel's overflow list
	Lost        uint64 // completions that the kernel dropped: its memory ran out; operations are unaccounted for
	Interrupted uint64 // waits that a signal cut short, and that were resumed
}

// Ring is one io_uring. See the package's rules: one locked thread, off-heap
// memory.
type Ring struct {
	core
	fd         int // for all goroutines, after Close too
	setup      Setup
	thread     int  // 0 = any
	registered bool // enter uses a registered descriptor
	pinned     bool // buffers are registered
	visiting   bool
	closed     bool
	stats      Stats
	inFlight   int       // submitted and not completed for good; messages from other rings make it too small
	underway   *underway // where the kernel cannot cancel everything at once; else nil
	slots      *slots
	scratch    *Region // what register points the kernel at, and the limit of a wait
	limit      *timespec
	bufferMem  []*BufferRing
}

// Open creates a ring for the calling goroutine, which is locked to its thread.
func Open(o Options) (*Ring, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	r := &Ring{setup: o.Setup}
	if !o.AnyThread {
		r.thread = unix.Gettid()
	}
	for {
		err = r.core.open(uint32(o.Entries), uint32(o.Completions), r.setup)
		if !errors.Is(err, unix.EINVAL) || r.setup == SetupPlain {
			break
		}
		r.setup++
	}
	if err != nil {
		return nil, explain(err)
	}
	if r.slots, err = openSlots(o.Slots, o.SlotParts); err != nil {
		return nil, errors.Join(err, r.core.close())
	}
	if r.scratch, err = Map(scratchBytes); err != nil {
		return nil, errors.Join(err, r.slots.region.Free(), r.core.close())
	}
	r.limit = at[timespec](r.scratch.Bytes(), 0)
	r.fd = r.descriptor()
	if r.setup > SetupCoop {
		r.underway = &underway{users: map[uint64]int{}}
	}
	r.registered = !o.AnyThread && r.registerSelf() // a registered descriptor is one thread's
	return r, nil
}

// Setup is what the kernel granted.
func (r *Ring) Setup() Setup { return r.setup }

// FD is the ring's descriptor, for SQE.MsgRing of other rings. Any goroutine may
// ask.
func (r *Ring) FD() int { return r.fd }

// Stats counts since Open.
func (r *Ring) Stats() Stats {
	if !r.closed {
		r.stats.Lost = uint64(r.lost())
	}
	return r.stats
}

// Next is the next free submission, zeroed; nil when Space is 0: Submit first.
// One that was taken is submitted, so it must be filled.
func (r *Ring) Next() *SQE {
	s := r.next()
	if r.underway != nil && s != nil {
		r.underway.prepared = append(r.underway.prepared, s)
	}
	return s
}

// Space is how many submissions can be prepared before Submit. A linked chain
// must fit: what the next Submit begins is no longer linked.
func (r *Ring) Space() int {
	entries, _ := r.sizes()
	return entries - r.queued()
}

// Submit hands what was prepared to the kernel, without waiting. ErrBusy: the
// rest, Queued of it, stays prepared; consume completions and submit again.
func (r *Ring) Submit() error {
	for r.queued() > 0 {
		if err := r.enter(0, false, nil); err != nil {
			return err
		}
	}
	return nil
}

// Queued counts what was prepared and not yet submitted.
func (r *Ring) Queued() int { return r.queued() }

// Pending: a SubmitAndWait(0, 0) would find completions. It costs two loads and
// no system call, which is what a spinning owner wants. Rings below SetupDefer
// may learn of completions late: they need a system call now and then.
func (r *Ring) Pending() bool {
	work, overflow := r.pending()
	return work || overflow || r.ready() > 0
}

// SubmitAndWait submits what was prepared and waits until n completions are
// ready or timeout has passed: 0 does not wait but fetches what there is, below 0
// waits without end. It returns how many are ready, which is less than n only after
// the timeout or an error. Signals do not cut it short. n over the ring's
// completions counts as all of them.
func (r *Ring) SubmitAndWait(n int, timeout time.Duration) (ready int, err error) {
	_, completions := r.sizes()
	n = min(n, completions)
	var start time.Time
	if timeout > 0 {
		start = time.Now()
	}
	wait, left := uint32(max(n, 0)), timeout
	if timeout == 0 {
		wait = 0
	}
	for {
		work, overflow := r.pending()
		if ready = r.ready(); ready >= n && n > 0 && r.queued() == 0 && !work && !overflow {
			return ready, nil
		}
		var limit *timespec
		if timeout > 0 {
			*r.limit = toTimespec(left)
			limit = r.limit
		}
		err = r.enter(wait, true, limit)
		if ready = r.ready(); err != nil || (r.queued() == 0 && (ready >= n || timeout == 0)) {
			return ready, err
		}
		if timeout > 0 {
			if left = timeout - time.Since(start); left <= 0 {
				left, wait = 0, 0 // what is still queued goes out all the same
				if r.queued() == 0 {
					return ready, nil
				}
			}
		}
	}
}

// enter is one io_uring_enter. That a wait was interrupted or timed out is not an
// error; the kernel's head of the submission ring alone says what it took.
func (r *Ring) enter(wait uint32, events bool, limit *timespec) error {
	if r.stats.Enters%ownerCheckEvery == 0 {
		r.owned()
	}
	r.stats.Enters++
	before := r.queued()
	errno := r.core.enter(wait, events, limit)
	taken := before - r.queued()
	r.stats.Submitted += uint64(taken)
	r.inFlight += taken
	if r.underway != nil {
		r.underway.submitted(taken)
	}
	switch errno {
	case 0:
		if before > 0 && taken == 0 {
			return fmt.Errorf("%w: %d submissions not taken", ErrBusy, before)
		}
	case unix.EINTR:
		r.stats.Interrupted++
	case unix.ETIME:
	case unix.EAGAIN, unix.EBUSY:
		return fmt.Errorf("%w: %d submissions not taken: %w", ErrBusy, r.queued(), errno)
	default:
		return fmt.Errorf("io_uring_enter: %w", errno)
	}
	return nil
}

// Completions visits what is ready, in the kernel's order, and then gives the
// places back all at once; it returns how many. visit may prepare and submit, but
// not call Completions. What overflowed is fetched and visited too; nothing is
// submitted by it.
func (r *Ring) Completions(visit func(Completion)) (count int) {
	if r.visiting {
		panic("uring: Completions within Completions")
	}
	r.visiting = true
	defer func() { r.visiting = false }()
	for round := 0; ; round++ {
		n := r.each(func(c Completion) {
			if !c.More() {
				r.inFlight--
				if r.underway != nil {
					r.underway.ended(c.User)
				}
			}
			visit(c)
		})
		count += n
		if _, overflow := r.pending(); !overflow || round == overflowRoundsMax {
			break
		}
		r.stats.Overflows++
		r.stats.Enters++
		if r.fetch() != 0 { // the owner's next Submit or wait fetches, or tells the error
			break
		}
	}
	r.stats.Completed += uint64(count)
	return count
}

const (
	// ownerCheckEvery enters the thread is compared: it costs a system call.
	ownerCheckEvery = 256
	// overflowRoundsMax bounds one Completions; the rest is there at the next.
	overflowRoundsMax = 16
	closeWithin       = 5 * time.Second
	closeUser         = ^uint64(0)
)

// owned panics on another thread than Open's: the kernel would answer for the
// wrong ring or not at all, since registered descriptors belong to a thread.
func (r *Ring) owned() {
	if tid := unix.Gettid(); r.thread != 0 && tid != r.thread {
		panic(fmt.Sprintf("uring: ring of thread %d used by thread %d", r.thread, tid))
	}
	if r.closed {
		panic("uring: ring used after Close")
	}
}

// Close drops what was prepared, cancels what is in flight, waits for its end and
// gives everything back, buffer rings included. What the kernel cannot cancel, a
// disk write under way, it waits for, 5 s at most: then the ring's memory is
// kept, the error says so, and the memory lent to those operations must not be
// freed either. User 1<<64 - 1 is Close's own. A second call returns ErrClosed.
func (r *Ring) Close() error {
	if r.closed {
		return ErrClosed
	}
	r.owned()
	r.Stats() // the last reading
	r.discard()
	if r.underway != nil {
		r.underway.prepared = r.underway.prepared[:r.queued()] // none, or what became harmless
	}
	if err := r.drain(); err != nil {
		r.closed = true
		return fmt.Errorf("close ring, its memory is kept: %w", err)
	}
	var errs []error
	if r.pinned { // the kernel would unpin them later, when it gets round to it
		errs = append(errs, r.UnregisterBuffers())
	}
	r.closed = true
	for _, b := range r.bufferMem {
		errs = append(errs, b.unregister())
	}
	errs = append(errs, r.core.close())
	for _, b := range r.bufferMem {
		errs = append(errs, b.free())
	}
	errs = append(errs, r.slots.region.Free(), r.scratch.Free())
	return errors.Join(errs...)
}
