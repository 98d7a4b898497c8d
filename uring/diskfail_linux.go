package uring

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
)

// fail gives the ring up, which is of no use any more: what the kernel does not have
// is made without it. If it has something, every write ends with an error, for nobody
// knows what becomes of that.
func (q *diskQueue) fail(err error) {
	if q.held() == 0 {
		q.withdraw(err)
		return
	}
	closing := q.ring.Close()
	q.failed = errors.Join(fmt.Errorf("journal ring: %w", err), closing)
	q.ready, q.line, q.ended, q.kept = nil, nil, nil, closing != nil
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

// held is how many writes the kernel has, or may have.
func (q *diskQueue) held() int {
	if q.watched {
		return q.ring.inFlight - 1
	}
	return q.ring.inFlight
}

// withdraw makes alone what was prepared for the ring, and all that comes.
func (q *diskQueue) withdraw(err error) {
	ring := q.ring
	ring.discard()
	for i := range q.all {
		if o := &q.all[i]; o.under {
			if o.slot != nil {
				q.unhold(o)
			}
			q.ready = append(q.ready, o)
		}
	}
	q.line, q.ended = nil, nil
	q.without(err)
	if ring.Close() == nil { // a kernel that takes nothing any more may keep the waker's read
		q.watched = false
	}
	q.start(true)
}

// pinned is what a kernel that did not end its writes may still read: permanently, because
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
