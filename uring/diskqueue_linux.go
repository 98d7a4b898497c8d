package uring

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"runtime"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/claudefs/repl/engine/store/vfs"
)

const (
	// diskStageBytes is how much of one write may be copied so that it can go past the
	// system's cache: what many small batches are gathered to while a write is under
	// way. All of a queue's are registered, and count as locked memory.
	diskStageBytes = 128 << 10
	// diskCopyBytesMax: a write with a part of so many bytes or more is not copied, as
	// nothing that large is between a host and its journal.
	diskCopyBytesMax = 16 << 10
	// diskBlockBytes is what a write past the cache is aligned to; journals write in such
	// pieces, and no disk asks for more.
	diskBlockBytes = 4096

	diskWakeUser = ^uint64(0) - 1
)

// diskQueue is the ring of one goroutine that writes durably. Small writes are
// copied into registered memory and go past the system's cache, all at once; others
// are gathered from where they lie and go through it, in line, one at a time: the
// kernel would take them one at a time anyhow, and a failed flush then speaks for
// no other one.
//
//	Write ─┬─ parts < 16 KiB, 128 KiB at most ─▶ stage ─▶ WRITE_FIXED, O_DIRECT ─┐
//	       └─ else, or refused ─▶ line ─▶ WRITEV ────────────────────────────────┴▶ RWF_DSYNC
type diskQueue struct {
	d     *Disk
	ring  *Ring
	waker *Waker
	stage *Region
	all   []diskWrite
	free  []*diskWrite
	line  []*diskWrite // wait for the buffered one
	front *diskWrite   // the buffered one that the kernel has
	done  []vfs.Written
	took  func(Completion)

	registered int
	direct     bool
	about      string
	armed      bool // the kernel has the waker's read
	woken      bool
	failed     error
	kept       bool // failed, and the kernel may still have what was lent
	counted    Stats
	bell       *vfs.Bell // for sleeping while the kernel has nothing: that costs no thread
}

// diskWrite is one write under way.
type diskWrite struct {
	index int
	f     *DiskFile
	user  uint64
	off   int64
	bytes int
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

// OpenQueue implements vfs.Queuer. Files must be this disk's.
func (d *Disk) OpenQueue(o vfs.QueueOptions) (_ vfs.Queue, err error) {
	if o.Depth < 1 || o.Depth > 64 {
		return nil, fmt.Errorf("queue of depth %d: 1 to 64", o.Depth)
	}
	q := &diskQueue{d: d, all: make([]diskWrite, o.Depth), direct: !o.Buffered, bell: vfs.NewBell()}
	if err = q.open(d.callers.setup); err != nil {
		return nil, err
	}
	q.took = q.completed
	q.about = fmt.Sprintf("io_uring, %d at once: past the cache where every batch is below %d KiB",
		o.Depth, diskCopyBytesMax>>10)
	if o.Buffered {
		q.about = fmt.Sprintf("io_uring, %d at once: through the cache, as asked for", o.Depth)
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
	if q.waker, err = NewWaker(); err != nil {
		return errors.Join(err, q.ring.Close())
	}
	if q.stage, err = Map(len(q.all) * diskStageBytes); err != nil {
		return errors.Join(err, q.ring.Close(), q.waker.Close())
	}
	pieces := make([][]byte, len(q.all))
	for i := range q.all {
		pieces[i] = q.stage.Bytes()[i*diskStageBytes : (i+1)*diskStageBytes]
		q.all[i].index, q.all[i].stage = i, pieces[i]
		q.free = append(q.free, &q.all[len(q.all)-1-i])
	}
	if q.direct {
		if g, err := q.ring.RegisterBuffers(pieces); err == nil {
			q.registered = g.Buffers // the others are written all the same
		}
	}
	return nil
}

// Write implements vfs.Queue.
func (q *diskQueue) Write(f vfs.File, parts [][]byte, off int64, user uint64) {
	n := len(q.free) - 1
	o := q.free[n]
	q.free = q.free[:n]
	o.f, o.user, o.off, o.all, o.bytes, o.under = f.(*DiskFile), user, off, parts, 0, true
	o.revoked = 0
	largest := 0
	for _, p := range parts {
		o.bytes += len(p)
		largest = max(largest, len(p))
	}
	switch {
	case q.failed != nil:
		q.end(o, q.failed)
	case q.stages(o.bytes, largest) && o.bytes%diskBlockBytes == 0 && off%diskBlockBytes == 0 && q.writePast(o):
	default:
		q.line = append(q.line, o)
		q.advance()
	}
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
	b := o.stage[:0]
	for _, p := range o.all {
		b = append(b, p...)
	}
	o.past = true
	q.d.callers.counts.stagedBytes.Add(uint64(len(b)))
	if s := q.ring.Next(); o.index < q.registered {
		s.WriteFixed(uint64(o.index), fd, b, o.off, o.index).DSync()
	} else {
		s.Write(uint64(o.index), fd, b, o.off).DSync()
	}
	return true
}

// refused has everything go through the cache from here on.
func (q *diskQueue) refused(err error) {
	if !errors.Is(err, fs.ErrClosed) {
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
	q.ring.Next().writeGathered(uint64(o.index), int(o.f.f.Fd()), o.slot, o.off).DSync()
}

// completed takes one completion.
func (q *diskQueue) completed(c Completion) {
	if c.User == diskWakeUser {
		q.armed, q.woken = false, true
		return
	}
	o := &q.all[c.User]
	err := c.Err()
	again := err == unix.EINTR || err == unix.EAGAIN
	if err == unix.ECANCELED && o.revoked < revokedMax {
		again = true
		o.revoked++
		q.d.callers.counts.revoked.Add(1)
	}
	switch {
	case o.past && err == nil && int(c.Res) == o.bytes:
		q.end(o, nil)
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
		q.ring.Release(o.slot)
		o.slot, q.front = nil, nil
		for i := range (len(o.all) + diskPinsEach - 1) / diskPinsEach {
			o.held[i].Unpin()
		}
	}
	q.done = append(q.done, vfs.Written{User: o.user, Err: err})
	o.f, o.parts, o.all, o.under = nil, nil, nil, false
	q.free = append(q.free, o)
}

// Room implements vfs.Queue: a write through the cache may wait behind one other,
// so that the next ones gather meanwhile.
func (q *diskQueue) Room(bytes, partBytes int) bool {
	return len(q.free) > 0 && (len(q.line) == 0 || q.stages(bytes, partBytes))
}

// Wait implements vfs.Queue.
func (q *diskQueue) Wait(done []vfs.Written, sleep bool) []vfs.Written {
	for q.failed == nil {
		n, limit := 0, time.Duration(waitNone)
		if sleep && len(q.done) == 0 && !q.woken {
			if q.flying() == 0 {
				q.bell.Sleep()
				break
			}
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
		if n == 0 || len(q.done) > 0 || q.woken {
			if q.ring.Queued() > 0 { // the next one of the line need not wait for us
				_ = q.ring.Submit() // what is not taken goes with the next Wait
			}
			break
		}
	}
	if q.failed != nil && sleep && len(q.done) == 0 {
		q.bell.Sleep()
	}
	q.woken = false
	q.Busy()
	done = append(done, q.done...)
	q.done = q.done[:0]
	return done
}

// count publishes what the ring did.
func (q *diskQueue) count() {
	s := q.ring.Stats()
	q.d.callers.counts.enters.Add(s.Enters - q.counted.Enters)
	q.d.callers.counts.calls.Add(s.Submitted - q.counted.Submitted)
	q.counted = s
}

// fail ends every write with an error: the ring is of no use any more.
func (q *diskQueue) fail(err error) {
	closing := q.ring.Close()
	q.failed = errors.Join(fmt.Errorf("journal ring: %w", err), closing)
	q.line, q.kept = nil, closing != nil
	for i := range q.all {
		o := &q.all[i]
		if !o.under {
			continue
		}
		if q.kept && o.slot != nil {
			keepPinned(o.held)
			o.slot, o.held, q.front = nil, nil, nil
		}
		q.end(o, q.failed)
	}
}

// pinned is what a kernel that did not end its writes may still read: for ever, since
// nobody knows, and a Pinner that is collected before it is unpinned ends the program.
var pinned struct {
	sync.Mutex
	forEver [][]runtime.Pinner
}

func keepPinned(held []runtime.Pinner) {
	pinned.Lock()
	defer pinned.Unlock()
	pinned.forEver = append(pinned.forEver, held)
}

// Idle implements vfs.Queue.
func (q *diskQueue) Idle() {
	if q.failed != nil || q.flying() == 0 {
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
	q.waker.Busy()
	q.bell.Busy()
}

// Wake implements vfs.Queue.
func (q *diskQueue) Wake() {
	q.waker.Wake()
	q.bell.Wake()
}

// Wakes implements vfs.Queue.
func (q *diskQueue) Wakes() uint64 { return q.waker.Wakes() + q.bell.Wakes() }

// flying is how many writes the kernel has, or will have next.
func (q *diskQueue) flying() int { return len(q.all) - len(q.free) }

// About implements vfs.Queue.
func (q *diskQueue) About() string { return q.about }

// Close implements vfs.Queue.
func (q *diskQueue) Close() error {
	for q.failed == nil && q.flying() > 0 {
		q.Wait(nil, true)
	}
	if q.failed == nil {
		if err := q.ring.Close(); err != nil {
			return err // the kernel may still have the memory, the waker's too
		}
	}
	if q.kept {
		return q.failed // likewise
	}
	return errors.Join(q.failed, q.waker.Close(), q.stage.Free())
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
