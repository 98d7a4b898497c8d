package uring

import (
	"sync"

	"golang.org/x/sys/unix"
)

const (
	// stagedBytesMax is the largest frame that Send copies, so as not to wait for
	// the loop: a hand-over and back takes longer than copying it.
	stagedBytesMax = 16<<10 - 1
	// stageBytes is each of the two stages.
	stageBytes = 64 << 10
)

// sendOp sends a link's frames. Small ones are copied to a stage, and Send
// returns; while one stage is on its way the next one fills, so that frames
// gather without a timer and an idle link sends at once. A large frame goes out
// from where it lies, behind what is staged, while Send waits.
//
//	Send ─ small ─▶ staged ⇄ spare ─┐
//	     ─ large ─▶ (waits) ────────┴─▶ one gathered send in flight ─▶ socket
//
// There is one send in flight at a time, since after a short one a second would
// overtake the rest.
type sendOp struct {
	op
	conn  *Conn
	pins  pins          // the sending goroutine's
	woken chan struct{} // capacity 1: look again

	mu     sync.Mutex
	posted bool     // the loop has it, and looks for more before it lets go
	staged []byte   // to be sent next
	large  [][]byte // behind staged; nil = none
	err    error

	// The loop's own.
	spare   []byte   // the other stage; on its way if slot is taken
	list    [][]byte // what is on its way
	parts   [][]byte // of list, behind what slot holds
	slot    *Slot    // nil = nothing is on its way
	carries bool     // large is among what is on its way
	flushed bool     // the link is closed, and the last try was made
}

// send hands over parts of size bytes.
func (s *sendOp) send(parts [][]byte, size int) error {
	if size <= stagedBytesMax {
		return s.stage(parts, size)
	}
	s.pins.take(parts)
	s.mu.Lock()
	s.large = parts
	s.hand()
	for s.large != nil && s.err == nil {
		s.wait()
	}
	s.large = nil
	err := s.err
	s.mu.Unlock()
	if !s.lent {
		s.pins.giveBack(len(parts))
	}
	return err
}

// stage copies a small frame.
func (s *sendOp) stage(parts [][]byte, size int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.err == nil && len(s.staged)+size > stageBytes {
		s.wait()
	}
	if s.err != nil {
		return s.err
	}
	for _, part := range parts {
		s.staged = append(s.staged, part...)
	}
	s.hand()
	return nil
}

// hand posts the operation unless the loop has it. s.mu is held, and is not
// while it is posted.
func (s *sendOp) hand() {
	if s.posted || s.err != nil {
		return
	}
	s.posted = true
	s.mu.Unlock()
	s.conn.loop.post(&s.op)
	s.mu.Lock()
}

// wait returns when something changed. s.mu is held, and is not meanwhile.
func (s *sendOp) wait() {
	s.mu.Unlock()
	<-s.woken
	s.mu.Lock()
}

func (s *sendOp) wake() {
	select {
	case s.woken <- struct{}{}:
	default:
	}
}

// fail ends sending for good; the first error counts.
func (s *sendOp) fail(err error) {
	s.mu.Lock()
	if s.err == nil {
		s.err = err
	}
	s.posted = false
	s.mu.Unlock()
	s.wake()
}

// busy: the loop is not done with it.
func (s *sendOp) busy() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.posted
}

// drop forgets the stages, whose memory is given back. No Send is under way in
// them: each sees err first.
func (s *sendOp) drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.staged, s.spare = nil, nil
}

func (s *sendOp) start(l *Loop) bool {
	if l.closing() || s.flushed || s.conn.freed {
		s.end(l, ErrClosed)
		return true
	}
	if s.slot == nil {
		if s.slot = l.ring.Slot(); s.slot == nil {
			return false
		}
	}
	if s.slot.Len() == 0 && len(s.parts) == 0 && !s.load() {
		s.release(l)
		s.conn.free(l)
		return true
	}
	if s.slot.Len() == 0 {
		s.parts = s.parts[s.slot.Gather(s.parts):]
	}
	// With MSG_WAITALL kernels from 5.19 on send the whole by themselves. Behind
	// Close the socket takes what it has room for.
	flags := unix.MSG_WAITALL
	if s.conn.ended {
		flags, s.flushed = unix.MSG_DONTWAIT, true
	}
	l.ring.Next().SendMsg(l.fly(&s.op), s.conn.fd, s.slot, flags)
	return true
}

// load takes what is to be sent next; false: nothing is, and the operation is
// the sender's again.
func (s *sendOp) load() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.carries = s.large != nil && s.err == nil
	if len(s.staged) == 0 && !s.carries {
		s.posted = false
		return false
	}
	s.staged, s.spare = s.spare[:0], s.staged
	s.parts = append(s.list[:0], s.spare)
	s.parts = append(s.parts, s.large...)
	s.list = s.parts
	s.wake()
	return true
}

// sent: all that was loaded is on its way.
func (s *sendOp) sent() {
	clear(s.list) // they belong to others
	if !s.carries {
		return
	}
	s.carries = false
	s.mu.Lock()
	s.large = nil
	s.mu.Unlock()
	s.wake()
}

func (s *sendOp) completed(l *Loop, c Completion) {
	err := c.Err()
	switch {
	case err == nil:
		l.active = true
		if s.slot.Advance(int(c.Res)) == 0 && len(s.parts) == 0 {
			s.sent()
		}
	case transient(err) && !s.flushed, c.Canceled() && s.conn.ended && !s.flushed:
	default:
		if s.conn.ended {
			err = ErrClosed
		}
		s.end(l, err)
		return
	}
	l.later(&s.op)
}

// end gives the operation up.
func (s *sendOp) end(l *Loop, err error) {
	s.release(l)
	clear(s.list)
	s.fail(err)
	s.conn.free(l)
}

func (s *sendOp) release(l *Loop) {
	if s.slot != nil {
		l.ring.Release(s.slot)
		s.slot = nil
	}
}
