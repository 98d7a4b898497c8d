package fakeverbs

import (
	"fmt"
	"sync"

	"github.com/claudefs/repl/rdma"
)

type completionQueue struct {
	device   *device
	number   uint32
	capacity int
	entries  []entry
	pairs    map[*queuePair]bool
	dead     error
	armed    bool
	closed   bool

	notified chan struct{} // one notification, taken by Wait
	woken    chan struct{}
	wakeOnce sync.Once
}

// entry is a completion with what polling it gives back.
type entry struct {
	rdma.Completion
	pair  *queuePair
	sends uint64 // the pair's sends up to here leave its queue; 0 = a receive
}

func (q *completionQueue) Number() uint32 { return q.number }

// add puts a completion in; one too many kills the queue and its pairs.
func (q *completionQueue) add(e entry) {
	if q.dead != nil {
		return
	}
	if len(q.entries) == q.capacity {
		q.overrun()
		return
	}
	q.entries = append(q.entries, e)
	if q.armed {
		q.armed = false
		q.notify()
	}
}

// overrun kills the queue and the pairs that complete to it.
func (q *completionQueue) overrun() {
	if q.dead != nil {
		return
	}
	q.dead = fmt.Errorf("completion queue of %d entries: %w", q.capacity, rdma.ErrOverrun)
	q.device.tell(rdma.Event{Kind: rdma.EventCompletions, Number: q.number, Text: "CQ error"})
	for _, p := range q.device.f.sorted() {
		if p.completions == q {
			p.fail()
			p.tellFatal()
		}
	}
	q.notify()
}

func (q *completionQueue) notify() {
	select {
	case q.notified <- struct{}{}:
	default:
	}
}

func (q *completionQueue) Poll(into []rdma.Completion) (int, error) {
	f := q.device.f
	f.mu.Lock()
	defer f.mu.Unlock()
	if q.device.host.gone {
		return 0, fmt.Errorf("%s: poll: %w", q.device.host.name, rdma.ErrDeviceGone)
	}
	if q.dead != nil {
		return 0, q.dead
	}
	n := 0
	for ; n < len(into) && len(q.entries) > 0; n++ {
		i := q.next()
		e := q.entries[i]
		q.entries = append(q.entries[:i], q.entries[i+1:]...)
		into[n] = e.Completion
		if e.sends > 0 {
			e.pair.reclaimed = max(e.pair.reclaimed, e.sends)
		}
	}
	return n, nil
}

// next is the index of the entry to take: the oldest, or with Shuffle the oldest
// of some queue pair.
func (q *completionQueue) next() int {
	if !q.device.f.o.Shuffle {
		return 0
	}
	var oldest []int
	seen := make(map[*queuePair]bool)
	for i := range q.entries {
		if p := q.entries[i].pair; !seen[p] {
			seen[p] = true
			oldest = append(oldest, i)
		}
	}
	return oldest[q.device.f.random.IntN(len(oldest))]
}

// drop forgets what a pair that is closed has completed.
func (q *completionQueue) drop(p *queuePair) {
	kept := q.entries[:0]
	for _, e := range q.entries {
		if e.pair != p {
			kept = append(kept, e)
		}
	}
	q.entries = kept
}

func (q *completionQueue) Arm() error {
	q.device.f.mu.Lock()
	defer q.device.f.mu.Unlock()
	if err := q.device.ready(CallArm); err != nil {
		return err
	}
	q.armed = true
	return nil
}

func (q *completionQueue) Wait() error {
	select {
	case <-q.notified:
	case <-q.woken:
	}
	return nil
}

func (q *completionQueue) Wake() { q.wakeOnce.Do(func() { close(q.woken) }) }

func (q *completionQueue) Close() error {
	f := q.device.f
	f.mu.Lock()
	defer f.mu.Unlock()
	if q.closed {
		return nil
	}
	if len(q.pairs) > 0 {
		return fmt.Errorf("completion queue: close: %d queue pairs: %w", len(q.pairs), rdma.ErrInUse)
	}
	q.closed = true
	q.device.children--
	f.objects.CompletionQueues--
	return nil
}
