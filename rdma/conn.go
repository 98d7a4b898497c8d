package rdma

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/claudefs/repl/wire/link"
)

// Conn is one link. See link.Conn for what may be concurrent; SendLent is a Send.
type Conn struct {
	t             *Transport
	device        *opened
	control       net.Conn
	local, remote string
	objects       objects
	peer          offer
	immediate     bool // until a driver refuses

	mu      sync.Mutex
	moved   sync.Cond // on mu: for the sender, Close and teardown
	arrived sync.Cond // on mu: for the receiver
	closed  bool      // by Close at this end
	broken  error     // ErrLost and why
	posting bool      // the queue pair takes sends

	// The send queue. Sends are numbered from 1 over frames and notices alike.
	posted, completed uint64
	unsignalled       int // posted since one asked for a completion
	stage             stage
	flights           flights
	released, spare   []func() // lent parts that are free: to be told without mu
	sending           bool     // a Send is under way

	// What was sent, in the peer's ring, and what is to be told to the peer.
	far        spans
	sent       uint64 // messages, whole
	asked      bool   // for a credit that has not come yet
	wantStarve bool

	// What the peer sent, in the own ring.
	near      spans
	refs      []int32 // of message n at n % len(refs): frames and readers that hold it
	credited  uint64  // messages that the peer knows to be free
	starving  bool    // the peer asked for a credit
	handed    uint64  // messages that the receiver took
	peerBye   bool
	peerSent  uint64 // messages in all, once peerBye
	ringHolds int    // what keeps the ring mapped: frames, a reader, the link itself

	// For the receiving goroutine.
	rest       []byte // of the message at hand, in the ring
	restNumber uint64
	recvErr    error

	// For the sending goroutine.
	sendErr error
	out     outgoing

	frames  frameList // idle frames of the ring
	notices notices
	workers sync.WaitGroup // pump and watcher
	closing sync.Once
}

var (
	_ link.LendingConn = (*Conn)(nil)
	_ link.Informer    = (*Conn)(nil)
)

func (c *Conn) start() {
	c.posting = true
	c.device.add(c)
	c.workers.Add(2)
	go c.pump()  // ends when the link breaks or closes
	go c.watch() // ends with the control connection
}

// LocalAddr implements link.Conn.
func (c *Conn) LocalAddr() string { return c.local }

// RemoteAddr implements link.Conn.
func (c *Conn) RemoteAddr() string { return c.remote }

// Info implements link.Informer.
func (c *Conn) Info() link.Info { return link.Info{Transport: transportName} }

// lose ends the link without a close: the queue pair goes to ERR at once, so that
// the peer writes nothing more. c.mu is held.
func (c *Conn) lose(why error) {
	if c.broken != nil {
		return
	}
	c.broken = &Failure{Peer: c.remote, Why: why, class: []error{link.ErrLost}}
	if c.posting {
		c.posting = false
		// The link is lost whether or not the device could do that.
		_ = c.objects.pair.Fail()
	}
	_ = c.control.Close() // so that the peer knows as well
	c.moved.Broadcast()
	c.arrived.Broadcast()
}

// Failure is why there is no link, or none any more. It wraps Why and the classes of
// package link.
type Failure struct {
	Peer  string // its address
	Why   error  // in the words of the device, the peer or the control connection
	class []error
}

// Error tells it all.
func (f *Failure) Error() string {
	return fmt.Sprintf("%v: rdma with %s: %v", f.class[0], f.Peer, f.Why)
}

// Unwrap is for package errors.
func (f *Failure) Unwrap() []error { return append(slices.Clone(f.class), f.Why) }

func (c *Conn) closedError() error { return fmt.Errorf("rdma with %s: %w", c.remote, link.ErrClosed) }

// watch reads the control connection, whose end is the peer's.
func (c *Conn) watch() {
	defer c.workers.Done()
	r := setupReader{from: c.control}
	for {
		kind, body, err := r.next()
		c.mu.Lock()
		switch {
		case err != nil && c.peerBye:
			c.awaitRest()
		case err != nil:
			c.lose(fmt.Errorf("control connection: %w", noEOF(err)))
		case kind == setupBye && len(body) == 8:
			c.bye(byeNumber(body))
		default:
			c.lose(fmt.Errorf("control connection: kind %d, %d bytes", kind, len(body)))
			err = errStop
		}
		c.mu.Unlock()
		if err != nil {
			return
		}
	}
}

var errStop = errors.New("stop")

// bye notes an orderly close: what comes behind the last message is the end.
func (c *Conn) bye(sent uint64) {
	if !c.peerBye {
		c.peerBye, c.peerSent = true, sent
	}
	c.moved.Broadcast()
	c.arrived.Broadcast()
}

// awaitRest bounds the wait for messages that a peer which is gone had sent.
func (c *Conn) awaitRest() {
	if c.near.taken >= c.peerSent || c.broken != nil {
		return
	}
	time.AfterFunc(c.t.o.DrainMax, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.near.taken < c.peerSent && !c.closed {
			c.lose(fmt.Errorf("closed after %d messages, %d have come", c.peerSent, c.near.taken))
		}
	})
}

// Close implements link.Conn. When it returns, the queue pair is in ERR and the
// ring's key is worth nothing: nothing of this link lands any more. Before, it gives
// the peer's device Options.DrainMax to take what was sent.
func (c *Conn) Close() error {
	c.closing.Do(func() {
		c.mu.Lock()
		c.closed = true
		c.moved.Broadcast()
		c.arrived.Broadcast()
		c.drain()
		c.mu.Unlock()
		c.teardown()
	})
	return nil
}

// drain says goodbye on both ways, and waits until the goodbye on the queue pair is
// taken: all sends before it are then, too. A peer that has said goodbye itself takes
// nothing any more. c.mu is held.
func (c *Conn) drain() {
	for c.sending { // it sees closed, and stops
		c.moved.Wait()
	}
	if !c.posting {
		return
	}
	sent := c.sent
	c.unsignalled = signalEvery // the goodbye asks for its completion
	last := c.posted + 1
	waiting := c.notify(notice{kind: noticeBye, number: sent})
	c.mu.Unlock()
	_ = c.control.SetWriteDeadline(time.Now().Add(c.t.o.DrainMax))
	// A peer that does not hear it finds the connection ended without it: lost.
	_, _ = c.control.Write(setup(setupBye, appendNumber(nil, sent)))
	c.mu.Lock()
	late := false
	timer := time.AfterFunc(c.t.o.DrainMax, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		late = true
		c.moved.Broadcast()
	})
	defer timer.Stop()
	for waiting && c.completed < last && c.posting && !c.peerBye && !late {
		c.moved.Wait()
	}
}

// teardown gives everything back, in the order that keeps the device away from
// memory that is gone.
func (c *Conn) teardown() {
	c.mu.Lock()
	if c.posting {
		c.posting = false
		_ = c.objects.pair.Fail() // it is closed next
	}
	c.mu.Unlock()
	_ = c.control.Close() // nobody needs it any more
	c.objects.queue.Wake()
	c.workers.Wait()
	c.device.remove(c)
	c.objects.close()
	c.mu.Lock()
	for !c.flights.empty() {
		c.land(c.flights.pop())
	}
	tell := c.takeReleased()
	c.dropRing()
	c.mu.Unlock()
	for _, release := range tell {
		release()
	}
	c.device.release()
}

// dropRing gives up one hold of the ring's memory; the last one unmaps it. c.mu is
// held.
func (c *Conn) dropRing() {
	if c.ringHolds--; c.ringHolds == 0 {
		UnmapMemory(c.objects.ring)
		c.objects.ring = nil
	}
}
