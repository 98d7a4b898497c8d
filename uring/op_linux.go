package uring

import (
	"runtime"
	"sync/atomic"
	"unsafe"
)

// op is one operation that a goroutine hands to the loop, again and again: it is
// made once, with the link or file that it belongs to. Its poster waits at done
// and has it back then.
type op struct {
	next *op
	task task
	done chan struct{} // capacity 1; nil = nobody waits
	err  error         // the outcome, for who was waiting
	lost func(error)   // instead of done, where the poster may not be waiting

	// The loop's own.
	user   uint32
	flying bool // the kernel has it
	lent   bool // the kernel kept its memory: the loop ended without it
}

// task is what the loop does with an operation.
type task interface {
	// start prepares one submission at most and counts it with Loop.fly, or
	// finishes. False: there is no slot.
	start(l *Loop) bool
	// completed takes one completion.
	completed(l *Loop, c Completion)
}

// finish tells the poster.
func (o *op) finish(err error) {
	o.err = err
	if o.lost != nil {
		o.lost(err)
	}
	if o.done != nil {
		o.done <- struct{}{}
	}
}

// opQueue takes operations from any goroutine to one. It is a stack that is
// taken as a whole and turned over: a post is one compare-and-swap, without a
// lock. An operation is in it once at most, so it is bounded by the operations
// that exist: four for a link, two for a listener, fileOpsMax for files.
type opQueue struct{ top atomic.Pointer[op] }

func (q *opQueue) push(o *op) {
	for {
		top := q.top.Load()
		o.next = top
		if q.top.CompareAndSwap(top, o) {
			return
		}
	}
}

func (q *opQueue) empty() bool { return q.top.Load() == nil }

// takeAll returns all in the order of their posting, linked by next.
func (q *opQueue) takeAll() (first *op) {
	if q.empty() {
		return nil
	}
	for o := q.top.Swap(nil); o != nil; {
		next := o.next
		o.next = first
		first, o = o, next
	}
	return first
}

// opList is first in, first out, for one goroutine.
type opList struct{ head, tail *op }

func (q *opList) push(o *op) {
	o.next = nil
	if q.tail == nil {
		q.head = o
	} else {
		q.tail.next = o
	}
	q.tail = o
}

func (q *opList) pop() *op {
	o := q.head
	if o == nil {
		return nil
	}
	if q.head = o.next; q.head == nil {
		q.tail = nil
	}
	o.next = nil
	return o
}

// append moves all of other behind what is here.
func (q *opList) append(other *opList) {
	if other.head == nil {
		return
	}
	if q.tail == nil {
		q.head = other.head
	} else {
		q.tail.next = other.head
	}
	q.tail = other.tail
	*other = opList{}
}

// pinsEach is what a Pinner takes without an allocation.
const pinsEach = 5

// pins hold the memory of a call still while the kernel has its address: parts
// of frames and units come from the Go heap. They are taken and given back
// within one Send, ReadAt or WriteAt, so no pointer of ours outlives the call.
type pins []runtime.Pinner

func (p *pins) take(parts [][]byte) {
	for need := (len(parts) + pinsEach - 1) / pinsEach; len(*p) < need; {
		*p = append(*p, runtime.Pinner{})
	}
	for i, part := range parts {
		if len(part) > 0 {
			(*p)[i/pinsEach].Pin(unsafe.SliceData(part))
		}
	}
}

// giveBack releases count parts.
func (p *pins) giveBack(count int) {
	for i := range (count + pinsEach - 1) / pinsEach {
		(*p)[i].Unpin()
	}
}

// groups are the names of buffer rings.
type groups struct {
	free []uint16
	next uint16
	none bool // the kernel has no buffer rings, or no multishot receive
}

func (g *groups) take() (group uint16, ok bool) {
	if n := len(g.free); n > 0 {
		group, g.free = g.free[n-1], g.free[:n-1]
		return group, true
	}
	if g.none || g.next == 1<<15 {
		return 0, false
	}
	g.next++
	return g.next, true
}

func (g *groups) give(group uint16) { g.free = append(g.free, group) }
