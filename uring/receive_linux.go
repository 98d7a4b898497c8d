package uring

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/claudefs/repl/wire"
	"github.com/claudefs/repl/wire/link"
	"github.com/claudefs/repl/wire/link/socket"
)

const (
	// aheadBytes is what a link receives beyond the frame it needs, as a
	// link.Reader does: of a 64 KiB frame at most a quarter is copied once more.
	aheadBytes  = 16 << 10
	aheadPieces = 4
	// directBytes: a frame that still lacks as much is received where it will lie.
	directBytes = 16 << 10
	// A link's inbox takes frames until one of these is reached.
	inboxBytesMax  = 1 << 20
	inboxFramesMax = 256
)

// inbox holds whole frames between the loop and the receiving goroutine, and
// the error behind them.
type inbox struct {
	arrived chan struct{} // capacity 1: something changed

	mu     sync.Mutex
	frames []*link.Frame // from lo on
	lo     int
	bytes  int
	full   bool // the loop waits for room
	err    error
}

func (b *inbox) signal() {
	select {
	case b.arrived <- struct{}{}:
	default:
	}
}

// push adds a frame; true if the inbox is full now.
func (b *inbox) push(f *link.Frame) bool {
	b.mu.Lock()
	if b.lo > 0 && len(b.frames) == cap(b.frames) {
		n := copy(b.frames, b.frames[b.lo:])
		clear(b.frames[n:])
		b.frames, b.lo = b.frames[:n], 0
	}
	b.frames = append(b.frames, f)
	b.bytes += len(f.Bytes)
	if b.bytes >= inboxBytesMax || len(b.frames)-b.lo >= inboxFramesMax {
		b.full = true
	}
	full := b.full
	b.mu.Unlock()
	b.signal()
	return full
}

// pop takes the next frame, or the error when none is left. resume: the loop
// waits for room and there is some again, half of all, so that it is told rarely.
func (b *inbox) pop() (f *link.Frame, resume bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.lo == len(b.frames) {
		return nil, false, b.err
	}
	f = b.frames[b.lo]
	b.frames[b.lo] = nil
	b.lo++
	b.bytes -= len(f.Bytes)
	if b.lo == len(b.frames) {
		b.frames, b.lo = b.frames[:0], 0
	}
	if b.full && b.bytes <= inboxBytesMax/2 && len(b.frames)-b.lo <= inboxFramesMax/2 {
		b.full, resume = false, true
	}
	return f, resume, nil
}

func (b *inbox) isFull() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.full
}

// fail puts an error behind the frames, unless there is one.
func (b *inbox) fail(err error) {
	b.mu.Lock()
	if b.err == nil {
		b.err = err
	}
	b.mu.Unlock()
	b.signal()
}

// drop releases what nobody will receive.
func (b *inbox) drop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, f := range b.frames[b.lo:] {
		f.Release()
	}
	clear(b.frames)
	b.frames, b.lo, b.bytes = b.frames[:0], 0, 0
}

type receiveState uint8

const (
	receiveIdle   receiveState = iota
	receivePosted              // in the loop's list
	receiveMulti               // multishot, into the pieces of ahead
	receiveEnding              // multishot, being canceled for a large frame
	receiveSingle              // once, into ahead
	receiveDirect              // once, into the frame
)

// receiver cuts a link's frames out of its stream, on the loop's thread:
//
//	          small frames                 a large one under way
//	multishot ─▶ pieces of ahead ─▶ frame   cancel ─▶ direct ─▶ frame
//	    ▲                                               │
//	    └── a small frame ◀── single ─▶ ahead ◀─────────┘
//
// Behind a large frame another one is expected, so that one receive is done at
// first, which needs no canceling.
type receiver struct {
	op
	conn  *Conn
	state receiveState
	ahead []byte
	ring  *BufferRing // over ahead; nil = one receive at a time
	group uint16
	held  []uint16 // pieces kept from the kernel while the inbox is full

	head   [wire.EnvelopeBytes]byte
	have   int         // bytes of head
	frame  *link.Frame // under way; nil = its head is
	at     int         // bytes of frame
	large  bool        // the last one was
	pinner runtime.Pinner
	err    error
	visit  func(uint16, []byte, bool) // piece, made once
}

// open begins to receive.
func (r *receiver) open(l *Loop) {
	r.visit = r.piece
	if group, ok := l.groups.take(); ok {
		ring, err := l.ring.NewBufferRing(BufferOptions{
			Group: group, Count: aheadPieces, Bytes: aheadBytes / aheadPieces, Memory: r.ahead,
		})
		if err != nil { // a kernel before 5.19, or no memory: one receive at a time
			l.groups.give(group)
			l.groups.none = errors.Is(err, unix.EINVAL)
		} else {
			r.ring, r.group, r.held = ring, group, make([]uint16, 0, aheadPieces)
		}
	}
	r.next(l)
}

// next has a receive started, if one is called for.
func (r *receiver) next(l *Loop) {
	if r.state == receiveIdle && r.err == nil && !r.conn.ended && !r.conn.inbox.isFull() {
		r.state = receivePosted
		l.later(&r.op)
	}
}

// resume: there is room in the inbox again.
func (r *receiver) resume(l *Loop) {
	if r.conn.freed || l.closing() {
		return
	}
	if r.state == receiveMulti {
		r.giveHeld()
	}
	r.next(l)
}

func (r *receiver) giveHeld() {
	for _, id := range r.held {
		r.ring.Give(id)
	}
	r.held = r.held[:0]
	r.ring.Publish()
}

// lacks is how much of the frame under way is still to come.
func (r *receiver) lacks() int {
	if r.frame == nil {
		return 0
	}
	return len(r.frame.Bytes) - r.at
}

func (r *receiver) start(l *Loop) bool {
	r.state = receiveIdle
	if r.conn.ended || l.closing() {
		r.conn.free(l)
		return true
	}
	fd, user := r.conn.fd, l.fly(&r.op)
	switch {
	case r.lacks() >= directBytes:
		rest := r.frame.Bytes[r.at:]
		r.pinner.Pin(&rest[0])
		r.state = receiveDirect
		l.ring.Next().Recv(user, fd, rest, unix.MSG_WAITALL)
	case r.ring == nil || r.large:
		r.state = receiveSingle
		l.ring.Next().Recv(user, fd, r.ahead, 0)
	default:
		r.giveHeld()
		r.state = receiveMulti
		l.ring.Next().RecvMultishot(user, fd, r.ring, false)
	}
	return true
}

func (r *receiver) completed(l *Loop, c Completion) {
	was := r.state
	if !c.More() {
		r.state = receiveIdle
	}
	switch was {
	case receiveMulti, receiveEnding:
		r.received(l, c)
	case receiveSingle:
		if c.Res > 0 {
			r.feed(r.ahead[:c.Res])
		}
	case receiveDirect:
		r.pinner.Unpin()
		if c.Res > 0 {
			r.at += int(c.Res)
			r.deliver()
		}
	}
	l.active = l.active || c.Res > 0
	if c.Res <= 0 {
		r.ended(l, c, was)
	}
	if r.conn.ended {
		r.conn.free(l)
		return
	}
	if r.state == receiveMulti && r.lacks() >= directBytes {
		r.state = receiveEnding
		l.abort(&r.op)
	}
	r.next(l)
}

// received takes pieces out of a multishot completion.
func (r *receiver) received(l *Loop, c Completion) {
	id, ok := c.Buffer()
	if !ok {
		return
	}
	r.ring.Take(c, r.visit)
	// A full inbox keeps the pieces, so that the kernel runs out of them; the
	// receive that it then ends is armed again with room.
	if r.err != nil || r.conn.inbox.isFull() {
		r.held = append(r.held, id)
		return
	}
	r.ring.Give(id)
	r.ring.Publish()
}

func (r *receiver) piece(_ uint16, data []byte, _ bool) { r.feed(data) }

// ended judges a completion that brought nothing.
func (r *receiver) ended(l *Loop, c Completion, was receiveState) {
	err := c.Err()
	switch {
	case err == nil:
		r.endOfStream()
	case c.NoBuffers():
		l.counted.noBuffers.Add(1)
	case err == unix.EINVAL && was == receiveMulti: // a kernel before 6.0
		r.close(l)
		l.groups.none = true
	case c.Canceled(), transient(err):
	default:
		r.fail(err)
	}
}

// feed takes bytes of the stream.
func (r *receiver) feed(data []byte) {
	for len(data) > 0 && r.err == nil {
		if r.frame == nil {
			n := copy(r.head[r.have:], data)
			r.have += n
			if data = data[n:]; r.have < len(r.head) {
				return
			}
			// The sizes are the sender's claim until here: no memory before the check.
			var e wire.Envelope
			if err := wire.DecodeEnvelope(r.head[:], &e); err != nil {
				r.fail(fmt.Errorf("frame envelope: %w", err))
				return
			}
			r.frame = r.conn.pool.Take(e.FrameBytes())
			r.frame.Envelope = e
			r.at, r.have = copy(r.frame.Bytes, r.head[:]), 0
		}
		n := copy(r.frame.Bytes[r.at:], data)
		r.conn.pool.CountCopied(n)
		r.at += n
		data = data[n:]
		r.deliver()
	}
}

// deliver hands the frame over if it is whole.
func (r *receiver) deliver() {
	if r.lacks() > 0 {
		return
	}
	f := r.frame
	r.frame, r.at = nil, 0
	r.large = len(f.Bytes) >= directBytes+wire.EnvelopeBytes
	r.conn.inbox.push(f)
}

// endOfStream: the peer closed, or so it looks after a reset that another
// operation was told of.
func (r *receiver) endOfStream() {
	c := r.conn
	got := r.have + r.at
	switch {
	case c.lost.Load() || socket.Over(c.fd):
		r.fail(fmt.Errorf("%w: %s ended without a close", link.ErrLost, c.remote))
	case got == 0:
		r.fail(io.EOF)
	default:
		want := max(wire.EnvelopeBytes, r.at+r.lacks())
		r.fail(fmt.Errorf("frame cut after %d of at least %d bytes: %w", got, want, io.ErrUnexpectedEOF))
	}
}

// fail ends receiving for good; what arrived before is still delivered.
func (r *receiver) fail(err error) {
	if r.err != nil {
		return
	}
	r.err = err
	if r.frame != nil {
		r.frame.Release()
		r.frame = nil
	}
	if _, fromKernel := errors.AsType[unix.Errno](err); fromKernel {
		r.conn.lost.Store(true)
	}
	r.conn.inbox.fail(err)
}

// close gives up the buffer ring; nothing is under way.
func (r *receiver) close(l *Loop) {
	if r.ring == nil {
		return
	}
	// It fails only if the kernel does not know the group any more.
	_ = r.ring.Close()
	r.ring = nil
	l.groups.give(r.group)
}

// drop releases the frame under way.
func (r *receiver) drop() {
	r.pinner.Unpin() // of a receive whose completion nobody took
	if r.frame != nil {
		r.frame.Release()
		r.frame = nil
	}
}
