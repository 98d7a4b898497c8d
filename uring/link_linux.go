package uring

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/claudefs/repl/wire"
	"github.com/claudefs/repl/wire/link"
	"github.com/claudefs/repl/wire/link/socket"
)

// Conn is one TCP link by rings of its own: one that Send calls, one that Recv
// does. An operation takes what the socket has, or has room for, and ends at once;
// who finds nothing waits as Go's own connections do, a goroutine and not a thread. See
// link.Conn for what may be concurrent.
type Conn struct {
	t             *Transport
	socket        *net.TCPConn
	raw           syscall.RawConn
	local, remote string
	closed        atomic.Bool
	lost          atomic.Bool // the kernel reported a reset or timeout

	sendMu  sync.Mutex // held by the one sender, and by Close
	sending *Caller
	push    func(fd uintptr) bool // made once: pushOnce
	left    int                   // of the message
	pushErr error
	sendErr error

	recvMu    sync.Mutex // held by the one receiver, and by Close
	receiving *Caller
	look      func(fd uintptr) bool // made once: lookOnce
	into      []byte
	got       int
	lookErr   error
	reader    *link.Reader
	bound     int // bytes of a frame; 0 = what the format allows
	recvErr   error
}

var (
	_ link.Conn     = (*Conn)(nil)
	_ link.Informer = (*Conn)(nil)
	_ link.Bounder  = (*Conn)(nil)
)

// newConn makes a link of a connection, which stays the caller's after an error.
func newConn(t *Transport, socket *net.TCPConn) (*Conn, error) {
	raw, err := socket.SyscallConn()
	if err != nil {
		return nil, err
	}
	c := &Conn{t: t, socket: socket, raw: raw, local: socket.LocalAddr().String(), remote: socket.RemoteAddr().String()}
	c.look, c.push = c.lookOnce, c.pushOnce
	c.reader = link.NewReader((*stream)(c), t.pool)
	if c.sending, err = t.callers.take(); err == nil {
		c.receiving, err = t.callers.take()
	}
	if err != nil {
		t.callers.give(c.sending)
		return nil, err
	}
	return c, nil
}

// Send implements link.Conn.
func (c *Conn) Send(parts [][]byte) error {
	c.sendMu.Lock()
	defer c.sendMu.Unlock()
	switch {
	case c.closed.Load():
		return c.errClosed()
	case c.sendErr != nil:
		return c.sendErr
	}
	if err := c.send(parts); err != nil {
		c.sendErr = c.failure(err)
	}
	return c.sendErr
}

// send has one operation under way at a time, so nothing overtakes.
func (c *Conn) send(parts [][]byte) error {
	if err := link.CheckParts(parts); err != nil {
		return err
	}
	slot := c.sending.slot
	c.sending.parts = parts
	defer func() { c.sending.parts = nil }()
	for len(parts) > 0 {
		taken := slot.Gather(parts)
		c.left = slot.Len()
		for c.left > 0 {
			if err := c.raw.Write(c.push); err != nil {
				return err
			}
			if c.pushErr != nil {
				return c.pushErr
			}
		}
		parts = parts[taken:]
	}
	return nil
}

// pushOnce sends what fits; false: the socket has no room.
func (c *Conn) pushOnce(fd uintptr) bool {
	slot := c.sending.slot
	for c.left > 0 {
		n, err := c.sending.send(int(fd))
		if err == unix.EAGAIN {
			return false
		}
		if c.pushErr = err; err != nil {
			return true
		}
		c.left = slot.Advance(n)
	}
	return true
}

// Recv implements link.Conn.
func (c *Conn) Recv() (*link.Frame, error) {
	c.recvMu.Lock()
	defer c.recvMu.Unlock()
	switch {
	case c.closed.Load():
		return nil, c.errClosed()
	case c.recvErr != nil:
		return nil, c.recvErr
	}
	f, err := c.next()
	if err != nil {
		c.recvErr = c.failure(err)
		return nil, c.recvErr
	}
	return f, nil
}

func (c *Conn) next() (*link.Frame, error) {
	if c.bound > 0 {
		return link.ReadFrame((*stream)(c), c.bound)
	}
	return c.reader.Next()
}

// BoundFrames implements link.Bounder.
func (c *Conn) BoundFrames(bytes int) {
	c.recvMu.Lock()
	defer c.recvMu.Unlock()
	if c.bound = bytes; bytes >= wire.FrameBytesMax {
		c.bound = 0
	}
}

// stream is what the reader cuts frames out of.
type stream Conn

func (s *stream) Read(p []byte) (int, error) {
	s.into = p
	if err := s.raw.Read(s.look); err != nil {
		return 0, err
	}
	if s.into = nil; s.got == 0 && s.lookErr == nil {
		return 0, io.EOF
	}
	return s.got, s.lookErr
}

// lookOnce receives what is there; false: nothing is.
func (c *Conn) lookOnce(fd uintptr) bool {
	c.got, c.lookErr = c.receiving.receive(int(fd), c.into, c.t.spin)
	return c.lookErr != unix.EAGAIN
}

// ReadFull fills p: what of a frame is still missing is on its way.
func (s *stream) ReadFull(p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var got int
		got, err = s.Read(p[n:])
		n += got
	}
	return n, err
}

// Close implements link.Conn. The kernel goes on delivering what Send gave it.
func (c *Conn) Close() error {
	if c.closed.Swap(true) {
		return nil
	}
	// Ends what is under way; of a lost link nothing is.
	_ = c.raw.Control(func(fd uintptr) { _ = unix.Shutdown(int(fd), unix.SHUT_RDWR) })
	c.sendMu.Lock()
	defer c.sendMu.Unlock()
	c.recvMu.Lock()
	defer c.recvMu.Unlock()
	_ = c.socket.Close() // gone, whatever it says
	c.t.callers.give(c.sending)
	c.t.callers.give(c.receiving)
	c.sending, c.receiving = nil, nil
	return nil
}

// LocalAddr implements link.Conn.
func (c *Conn) LocalAddr() string { return c.local }

// RemoteAddr implements link.Conn.
func (c *Conn) RemoteAddr() string { return c.remote }

// Info implements link.Informer, by asking the kernel.
func (c *Conn) Info() link.Info {
	info := link.Info{Transport: transportName}
	_ = c.raw.Control(func(fd uintptr) { socket.ReadInfo(int(fd), &info) }) // of a closed one nothing is known
	return info
}

func (c *Conn) errClosed() error {
	return fmt.Errorf("%s to %s: %w", c.local, c.remote, link.ErrClosed)
}

func (c *Conn) over() (over bool) {
	_ = c.raw.Control(func(fd uintptr) { over = socket.Over(int(fd)) }) // closed meanwhile: the caller looks
	return over
}

// failure turns what the kernel said into the link's words. The kernel tells of a
// reset or timeout once, to whichever operation comes first; after that reading
// looks like an orderly close, and writing like one of the peer's. So the first
// remembers, and the receiver asks the kernel too.
func (c *Conn) failure(err error) error {
	_, fromKernel := errors.AsType[unix.Errno](err)
	switch {
	case c.closed.Load():
		return c.errClosed()
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		over := c.lost.Load() || c.over()
		switch {
		case c.closed.Load(): // meanwhile, and that may be why
			return c.errClosed()
		case over:
			return fmt.Errorf("%w: %s ended without a close", link.ErrLost, c.remote)
		}
		return err
	case errors.Is(err, unix.EPIPE) && !c.lost.Load():
		return fmt.Errorf("by %s: %w", c.remote, link.ErrClosed)
	case fromKernel:
		c.lost.Store(true)
		return fmt.Errorf("%w: with %s: %w", link.ErrLost, c.remote, err)
	}
	return fmt.Errorf("link with %s: %w", c.remote, err)
}
