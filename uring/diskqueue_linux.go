package uring

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/claudefs/repl/engine/store/vfs"
)

const (
	// diskStageBytes is how much of one write may be copied so that it can go past the
	// system's cache: what many small batches are gathered to while a write is under
	// way. It is not registered with the ring: that gains nothing that can be measured,
	// and would count as locked memory, of which rings must find some.
	diskStageBytes = 128 << 10
	// diskCopyBytesMax: a write with a part of so many bytes or more is not copied, as
	// nothing that large is between a host and its journal.
	diskCopyBytesMax = 16 << 10
	// diskBlockBytes is what a write past the cache is aligned to; journals write in such
	// pieces, and no disk asks for more.
	diskBlockBytes = 4096

	diskWakeUser = ^uint64(0) - 1
)

// diskQueue carries the durable writes of one goroutine. A write that is alone is made
// by that goroutine's own system calls, which wait on its own thread; several go
// through a ring, all at once.
//
//	Write ─┬─ alone ────────────────────────────▶ pwritev2 (O_DIRECT, RWF_DSYNC), or pwritev and fdatasync
//	       └─ several ─┬─ small ─▶ stage ─▶ WRITE, O_DIRECT ─▶ one fdatasync for all that ended
//	                   └─ else, or refused ─▶ line ─▶ WRITEV, RWF_DSYNC
//
// What the kernel does for a ring past the cache ends on a worker of one processor, and
// with RWF_DSYNC that worker sleeps and is woken twice more, for the write and for the
// flush. On a busy machine it waits for a tick then, milliseconds each time, where a
// thread that waits for itself runs at once, on any processor. So nothing is flushed by
// a worker but what is written through the cache, in line: of those the kernel takes one
// at a time anyhow, and a failed flush then speaks for no other one.
type diskQueue struct {
	d     *Disk
	ring  *Ring // nil: there is none, and every write is made alone
	waker *Waker
	stage *Region
	all   []diskWrite
	free  []*diskWrite
	ready []*diskWrite // not begun
	line  []*diskWrite // wait for the buffered one
	front *diskWrite   // the buffered one that the kernel has
	ended []*diskWrite // past the cache, and not flushed
	done  []vfs.Written
	took  func(Completion)
	once  pwritten

	direct  bool
	about   string
	armed   bool // the waker's read is prepared
	watched bool // … and the kernel has it
	woken   bool
	failed  error
	kept    bool // failed, and the kernel may still have what was lent
	counted Stats
	bell    *vfs.Bell // for sleeping while the kernel has nothing: that costs no thread
}

// diskWrite is one write under way.
type diskWrite struct {
	index int
	f     *DiskFile
	user  uint64
	off   int64
	bytes int
	large int      // bytes of the largest part
	parts [][]byte // of a gathered one: those behind what slot holds
	all   [][]byte // lent
	stage []byte
	slot  *Slot
	held  []runtime.Pinner
	past  bool // it goes past the cache
	under bool
	// revoked is how often the kernel gave it up.
	revoked int
}

// OpenQueue implements vfs.Queuer. Files must be this disk's. Without a ring, for
// whatever reason there is none just now, the queue works, one write at a time, and
// About and CallStats say so.
func (d *Disk) OpenQueue(o vfs.QueueOptions) (_ vfs.Queue, err error) {
	if o.Depth < 1 || o.Depth > 64 {
		return nil, fmt.Errorf("queue of depth %d: 1 to 64", o.Depth)
	}
	q := &diskQueue{d: d, all: make([]diskWrite, o.Depth), direct: !o.Buffered, bell: vfs.NewBell()}
	if q.stage, err = Map(len(q.all) * diskStageBytes); err != nil {
		return nil, err
	}
	for i := range q.all {
		q.all[i].index = i
		q.all[i].stage = q.stage.Bytes()[i*diskStageBytes : (i+1)*diskStageBytes]
		q.free = append(q.free, &q.all[len(q.all)-1-i])
	}
	q.took = q.completed
	q.about = fmt.Sprintf("io_uring, %d at once where as many wait: past the cache where every batch is below %d KiB",
		o.Depth, diskCopyBytesMax>>10)
	if o.Buffered {
		q.about = fmt.Sprintf("io_uring, %d at once where as many wait: through the cache, as asked for", o.Depth)
	}
	if err = q.open(d.setup); err != nil {
		q.without(err)
	}
	return q, nil
}

func (q *diskQueue) open(setup Setup) (err error) {
	entries := 4
	for entries < len(q.all)+2 {
		entries *= 2
	}
	o := Options{Entries: entries, Slots: 1, SlotParts: 1024, Setup: setup, AnyThread: true}
	if q.ring, err = Open(o); err != nil {
		return err
	}
	if err = q.ring.try(); err == nil {
		q.waker, err = NewWaker()
	}
	if err != nil {
		return errors.Join(err, q.ring.Close())
	}
	return nil
}

// without has the queue go on by system calls.
func (q *diskQueue) without(err error) {
	q.ring = nil
	q.about = "system calls, one write at a time: no ring: " + err.Error()
	q.d.counts.refuse(err)
}

// Write implements vfs.Queue.
func (q *diskQueue) Write(f vfs.File, parts [][]byte, off int64, user uint64) {
	n := len(q.free) - 1
	o := q.free[n]
	q.free = q.free[:n]
	o.f, o.user, o.off, o.all, o.bytes, o.large, o.under = f.(*DiskFile), user, off, parts, 0, 0, true
	o.revoked = 0
	for _, p := range parts {
		o.bytes += len(p)
		o.large = max(o.large, len(p))
	}
	if q.failed != nil {
		q.end(o, q.failed)
		return
	}
	q.ready = append(q.ready, o)
}

// start begins what Write brought: alone, if nothing else is under way.
func (q *diskQueue) start(sleep bool) {
	alone := q.ring == nil || sleep && len(q.ready) == 1 && q.inflight() == 1
	for _, o := range q.ready {
		switch {
		case alone:
			q.alone(o)
		case q.goesPast(o) && q.writePast(o):
		default:
			q.line = append(q.line, o)
		}
	}
	q.ready = q.ready[:0]
	q.advance()
}

// goesPast says whether a write is copied and goes past the cache.
func (q *diskQueue) goesPast(o *diskWrite) bool {
	return q.stages(o.bytes, o.large) && o.bytes%diskBlockBytes == 0 && o.off%diskBlockBytes == 0
}

// stages says whether such a write is copied and goes past the cache.
func (q *diskQueue) stages(bytes, largest int) bool {
	return q.direct && bytes <= diskStageBytes && largest < diskCopyBytesMax
}

// writePast begins a write past the cache; false: the file system refuses it.
func (q *diskQueue) writePast(o *diskWrite) bool {
	fd, err := o.f.openPast()
	if err != nil {
		q.refused(err)
		return false
	}
	o.past = true
	q.ring.Next().Write(uint64(o.index), fd, q.copied(o), o.off)
	return true
}

// copied puts a write into its stage.
func (q *diskQueue) copied(o *diskWrite) []byte {
	b := o.stage[:0]
	for _, p := range o.all {
		b = append(b, p...)
	}
	q.d.counts.stagedBytes.Add(uint64(len(b)))
	return b
}

// refused has everything go through the cache from here on.
func (q *diskQueue) refused(err error) {
	if !errors.Is(err, fs.ErrClosed) && !forNow(err) {
		q.direct = false
		q.about = fmt.Sprintf("io_uring, %d at once: through the cache: %v", len(q.all), err)
	}
}

// advance gives the kernel the next buffered write, if it has none.
func (q *diskQueue) advance() {
	for q.front == nil && len(q.line) > 0 {
		o := q.line[0]
		q.line = append(q.line[:0], q.line[1:]...)
		o.parts, o.past = o.all, false
		if o.f.isClosed() {
			q.end(o, o.f.wrap("writev", fs.ErrClosed))
			continue
		}
		o.hold()
		o.slot = q.ring.Slot() // the only one
		q.front = o
		q.gather(o)
	}
}

// gather submits what comes next of a buffered write; an empty write ends.
func (q *diskQueue) gather(o *diskWrite) {
	if o.slot.Len() == 0 {
		o.parts = o.parts[o.slot.Gather(o.parts):]
	}
	if o.slot.Len() == 0 {
		q.end(o, nil)
		return
	}
	q.ring.Next().writeGathered(uint64(o.index), o.f.fd(), o.slot, o.off).DSync()
}

// completed takes one completion.
func (q *diskQueue) completed(c Completion) {
	if c.User == diskWakeUser {
		q.armed, q.watched, q.woken = false, false, true
		return
	}
	o := &q.all[c.User]
	err := c.Err()
	again := err == unix.EINTR || err == unix.EAGAIN
	if err == unix.ECANCELED && o.revoked < revokedMax {
		again = true
		o.revoked++
		q.d.counts.revoked.Add(1)
	}
	switch {
	case o.past && err == nil && int(c.Res) == o.bytes:
		q.ended = append(q.ended, o)
	case o.past && (err == nil || again || err == unix.EINVAL):
		// Short, or not aligned as this disk wants: once more, through the cache.
		if err == unix.EINVAL {
			q.refused(fmt.Errorf("O_DIRECT: %w", err))
		}
		q.line = append(q.line, o)
	case again:
		q.gather(o)
	case err != nil:
		q.end(o, o.f.wrap("writev", err))
	case c.Res == 0:
		q.end(o, o.f.wrap("writev", io.ErrShortWrite))
	default:
		o.slot.Advance(int(c.Res))
		o.off += int64(c.Res)
		q.gather(o)
	}
}

// end notes that a write ended, and takes its memory back.
func (q *diskQueue) end(o *diskWrite, err error) {
	if o.slot != nil {
		q.unhold(o)
	}
	q.done = append(q.done, vfs.Written{User: o.user, Err: err})
	o.f, o.parts, o.all, o.under = nil, nil, nil, false
	q.free = append(q.free, o)
}

// unhold gives back what a buffered write held.
func (q *diskQueue) unhold(o *diskWrite) {
	q.ring.Release(o.slot)
	o.slot, q.front = nil, nil
	for i := range (len(o.all) + diskPinsEach - 1) / diskPinsEach {
		o.held[i].Unpin()
	}
}

// Room implements vfs.Queue: a write through the cache may wait behind one other, so
// that the next ones gather meanwhile. So does a small one behind a write that is not
// begun: what gathers costs one flush, and both would cost two, and a worker's wakes.
func (q *diskQueue) Room(bytes, partBytes int) bool {
	switch {
	case q.ring == nil, len(q.ready) == q.inflight() && bytes < diskStageBytes:
		return q.inflight() == 0
	}
	return len(q.free) > 0 && (len(q.line) == 0 || q.stages(bytes, partBytes))
}

// Wait implements vfs.Queue.
func (q *diskQueue) Wait(done []vfs.Written, sleep bool) []vfs.Written {
	q.start(sleep)
	for q.failed == nil && q.inflight() > 0 {
		n, limit := 0, time.Duration(waitNone)
		if sleep && len(q.done) == 0 && !q.woken {
			n, limit = 1, waitForEver
		}
		_, err := q.ring.SubmitAndWait(n, limit)
		q.count()
		if err != nil && !errors.Is(err, ErrBusy) {
			q.fail(err)
			break
		}
		q.ring.Completions(q.took)
		q.advance()
		if q.ring.Queued() > 0 { // the next one of the line need not wait for us
			_ = q.ring.Submit() // what is not taken goes with the next Wait
			q.count()
		}
		q.flush()
		if n == 0 || len(q.done) > 0 || q.woken {
			break
		}
	}
	if sleep && len(q.done) == 0 && q.inflight() == 0 && !q.woken {
		q.bell.Sleep()
	}
	q.woken = false
	q.Busy()
	done = append(done, q.done...)
	q.done = q.done[:0]
	return done
}

// flush makes durable what ended past the cache: a file's by one sync.
func (q *diskQueue) flush() {
	for len(q.ended) > 0 {
		f := q.ended[0].f
		err := f.Sync()
		rest := q.ended[:0]
		for _, o := range q.ended {
			if o.f == f {
				q.end(o, err)
			} else {
				rest = append(rest, o)
			}
		}
		q.ended = rest
	}
}

// count publishes what the ring did.
func (q *diskQueue) count() {
	if q.ring.Queued() == 0 {
		q.watched = q.armed
	}
	s := q.ring.Stats()
	q.d.counts.enters.Add(s.Enters - q.counted.Enters)
	q.d.counts.calls.Add(s.Submitted - q.counted.Submitted)
	q.counted = s
}

// Idle implements vfs.Queue.
func (q *diskQueue) Idle() {
	if q.failed != nil || q.ring == nil || q.inflight() == len(q.ready) {
		q.bell.Idle()
		return
	}
	if !q.armed {
		q.armed = true
		q.waker.Arm(q.ring.Next(), diskWakeUser)
	}
	q.waker.Idle()
}

// Busy implements vfs.Queue.
func (q *diskQueue) Busy() {
	if q.waker != nil {
		q.waker.Busy()
	}
	q.bell.Busy()
}

// Wake implements vfs.Queue.
func (q *diskQueue) Wake() {
	if q.waker != nil { // as it was at the opening
		q.waker.Wake()
	}
	q.bell.Wake()
}

// Wakes implements vfs.Queue.
func (q *diskQueue) Wakes() uint64 {
	if q.waker == nil {
		return q.bell.Wakes()
	}
	return q.waker.Wakes() + q.bell.Wakes()
}

// inflight is how many writes the kernel has, or will have next.
func (q *diskQueue) inflight() int { return len(q.all) - len(q.free) }

// About implements vfs.Queue.
func (q *diskQueue) About() string { return q.about }

// Close implements vfs.Queue.
func (q *diskQueue) Close() error {
	for q.failed == nil && q.inflight() > 0 {
		q.Wait(nil, true)
	}
	if q.failed == nil && q.ring != nil {
		if err := q.ring.Close(); err != nil {
			return err // the kernel may still have the memory, the waker's too
		}
	}
	if q.kept {
		return q.failed // likewise
	}
	err := q.failed
	if q.waker != nil && !q.watched {
		err = errors.Join(err, q.waker.Close())
	}
	return errors.Join(err, q.stage.Free())
}

const (
	waitNone    = 0
	waitForEver = -1

	opWritev = 2
	// diskPinsEach is what a Pinner takes without an allocation.
	diskPinsEach = 5
)

// hold pins what is lent: parts come from the Go heap too.
func (o *diskWrite) hold() {
	for need := (len(o.all) + diskPinsEach - 1) / diskPinsEach; len(o.held) < need; {
		o.held = append(o.held, runtime.Pinner{})
	}
	for i, part := range o.all {
		if len(part) > 0 {
			o.held[i/diskPinsEach].Pin(unsafe.SliceData(part))
		}
	}
}

// writeGathered writes what Slot.Gather put together at offset (writev).
func (s *SQE) writeGathered(user uint64, fd int, slot *Slot, offset int64) *SQE {
	list := slot.iov[slot.begin:slot.end]
	// Unsafe rule 2 (Pointer to uintptr, not back): the list is off the heap.
	s.set(opWritev, fd, uint64(uintptr(unsafe.Pointer(&list[0]))), uint32(len(list)), uint64(offset))
	return s.by(user)
}
