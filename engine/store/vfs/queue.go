package vfs

import (
	"sync/atomic"
)

// Queuer is a file system that can have several durable writes to its files under
// way at once. On others one writes with WriteAt and Sync, one after another.
type Queuer interface {
	FS
	// OpenQueue opens a queue for the calling goroutine, which it may lock to its
	// thread until Close. An error says why there is none.
	OpenQueue(o QueueOptions) (Queue, error)
}

// QueueOptions of a queue.
type QueueOptions struct {
	// Depth is how many writes may be under way; 1 to 64.
	Depth int
	// Buffered has every write go through the system's cache, also where it could
	// go past it.
	Buffered bool
}

// Queue has durable writes under way. One goroutine opens, uses and closes it;
// only Wake is for everybody. The goroutine sleeps in Wait and nowhere else:
//
//	q.Idle()                    // publish …
//	if nothing is to be done {  // … then look once more …
//		done = q.Wait(done, true)  // … then sleep: until a write ends, or Wake
//	} else {
//		q.Busy()
//	}
//
// Whoever brings work puts it where that goroutine looks, then calls Wake, which
// costs one load unless the goroutine is idle.
type Queue interface {
	// Write begins to write the concatenation of parts at off of f, a file of the
	// queue's file system: what WriteAt does and then Sync, for these bytes and the
	// size needed to read them. parts and what it lists stay lent, and f open, until
	// Wait returns user. Writes under way do not overlap, and are Depth at most.
	// They end in any order.
	Write(f File, parts [][]byte, off int64, user uint64)
	// Room says whether a Write of so many bytes, the largest part of partBytes, may
	// begin now or behind another one at most.
	Room(bytes, partBytes int) bool
	// Wait appends the writes that ended since to done. With sleep it waits until
	// there is one or, if Idle was called before, somebody calls Wake; with nothing
	// under way and not idle it returns at once. It ends idleness.
	Wait(done []Written, sleep bool) []Written
	Idle()
	Busy()
	Wake()
	// Wakes counts how often Wake had to end a sleep.
	Wakes() uint64
	// About says in one line how it writes, and why not better.
	About() string
	// Close waits for what is under way, whose outcome nobody learns.
	Close() error
}

// Written is the end of a queue's write. After an error its bytes may be there or
// not, and like a failed Sync it is final.
type Written struct {
	User uint64
	Err  error
}

// Bell wakes one goroutine that sleeps, see Queue.
type Bell struct {
	idle  atomic.Bool
	kick  chan struct{} // capacity 1: who takes the flag down, and only who does, sends
	wakes atomic.Uint64

	published bool // the goroutine's: Idle, and neither Busy nor Sleep since
}

// NewBell returns a bell whose goroutine is awake.
func NewBell() *Bell { return &Bell{kick: make(chan struct{}, 1)} }

// Idle publishes that the goroutine is about to sleep. Goroutine only.
func (b *Bell) Idle() {
	if !b.published {
		b.published = true
		b.idle.Store(true)
	}
}

// Busy takes it back, and with it a wake that came meanwhile. Goroutine only.
func (b *Bell) Busy() {
	if b.published && !b.idle.CompareAndSwap(true, false) {
		<-b.kick
	}
	b.published = false
}

// Sleep returns when somebody has called Wake since Idle. Goroutine only.
func (b *Bell) Sleep() {
	if b.published {
		<-b.kick
		b.published = false
	}
}

// Wake ends a sleep, or one that is about to begin. Any goroutine.
func (b *Bell) Wake() {
	if b.idle.Load() && b.idle.CompareAndSwap(true, false) {
		b.wakes.Add(1)
		b.kick <- struct{}{}
	}
}

// Wakes counts the sleeps that Wake ended.
func (b *Bell) Wakes() uint64 { return b.wakes.Load() }
