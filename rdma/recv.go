package rdma

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/claudefs/repl/wire"
	"github.com/claudefs/repl/wire/link"
)

// Recv implements link.Conn. A frame of Options.LandBytesMin or more lies in the
// ring, where the peer's device wrote it, and its last Release is what gives the
// peer the room back: who keeps it, keeps the peer waiting (Frame.Scarce).
func (c *Conn) Recv() (*link.Frame, error) {
	if !c.hold() {
		return nil, c.closedError()
	}
	defer c.unhold()
	if c.recvErr != nil {
		return nil, c.recvErr
	}
	f, err := c.next()
	if err != nil {
		if !errors.Is(err, link.ErrClosed) {
			c.recvErr = err
		}
		return nil, err
	}
	c.t.counts.framesReceived.Add(1)
	return f, nil
}

// hold keeps the ring mapped while the receiver looks at it.
func (c *Conn) hold() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.ringHolds++
	return true
}

func (c *Conn) unhold() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dropRing()
}

func (c *Conn) next() (*link.Frame, error) {
	if len(c.rest) == 0 {
		if err := c.await(); err != nil {
			return nil, err
		}
	}
	if len(c.rest) < wire.EnvelopeBytes {
		return nil, fmt.Errorf("message %d ends %d bytes into an envelope: %w", c.restNumber, len(c.rest),
			io.ErrUnexpectedEOF)
	}
	var e wire.Envelope
	if err := wire.DecodeEnvelope(c.rest, &e); err != nil {
		return nil, fmt.Errorf("frame envelope: %w", err)
	}
	size := e.FrameBytes()
	if size > len(c.rest) {
		return nil, fmt.Errorf("message %d ends after %d of %d bytes of a frame: %w", c.restNumber, len(c.rest), size,
			io.ErrUnexpectedEOF)
	}
	f := c.frame(size)
	f.Envelope = e
	if err := wire.CheckFrame(&f.Envelope, f.Bytes); err != nil {
		f.Release()
		return nil, fmt.Errorf("frame of %d bytes: %w", size, err)
	}
	if c.rest = c.rest[size:]; len(c.rest) == 0 {
		c.mu.Lock()
		c.unref(c.restNumber)
		c.mu.Unlock()
	}
	return f, nil
}

// await waits for the next message and takes it. What has come is handed out before
// anybody hears that nothing more will.
func (c *Conn) await() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.handed == c.near.taken || c.closed {
		switch {
		case c.closed:
			return c.closedError()
		case c.peerBye && c.handed >= c.peerSent:
			return io.EOF
		case c.broken != nil:
			return c.broken
		}
		c.arrived.Wait()
	}
	c.handed++
	at := c.near.at(c.handed)
	offset := at.start % uint64(c.near.ringBytes)
	c.rest = c.objects.ring[offset:][:at.size():at.size()]
	c.restNumber = c.handed
	c.refs[c.handed%uint64(len(c.refs))] = 1
	return nil
}

// unref drops a hold of a message. Room goes back to the peer in the order of
// messages. c.mu is held.
func (c *Conn) unref(number uint64) {
	count := uint64(len(c.refs))
	c.refs[number%count]--
	before := c.near.freed
	for c.near.freed < c.handed && c.refs[(c.near.freed+1)%count] == 0 {
		c.near.freed++
	}
	if c.near.freed > before && c.posting {
		c.flush()
	}
}

// frame makes the next size bytes of the message a frame: where they lie, or a copy.
func (c *Conn) frame(size int) *link.Frame {
	if size < c.t.o.LandBytesMin {
		f := c.t.o.Pool.Take(size)
		copy(f.Bytes, c.rest)
		c.t.o.Pool.CountCopied(size)
		c.t.counts.landCopied.Add(uint64(size))
		return f
	}
	c.mu.Lock()
	c.refs[c.restNumber%uint64(len(c.refs))]++
	c.ringHolds++
	c.mu.Unlock()
	f := c.frames.take(c)
	f.number = c.restNumber
	f.frame.Lend(c.rest[:size:size])
	return f.frame
}

// ringFrame is a frame that lies in the ring; it is used again and again.
type ringFrame struct {
	frame  *link.Frame
	number uint64 // of its message
}

// frameList keeps idle frames: never more than were held at a time.
type frameList struct {
	mu   sync.Mutex
	idle []*ringFrame
}

func (l *frameList) take(c *Conn) *ringFrame {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.idle); n > 0 {
		f := l.idle[n-1]
		l.idle = l.idle[:n-1]
		return f
	}
	f := new(ringFrame)
	f.frame = link.NewFrame(func() { c.frameReleased(f) })
	return f
}

func (c *Conn) frameReleased(f *ringFrame) {
	number := f.number
	c.frames.mu.Lock()
	c.frames.idle = append(c.frames.idle, f)
	c.frames.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unref(number)
	c.dropRing()
}
