package uring

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/claudefs/repl/wire"
	"github.com/claudefs/repl/wire/link"
	"github.com/claudefs/repl/wire/link/socket"
)

// Conn is one TCP link by rings of its own: one that Send calls, one that Recv
// does. See link.Conn for what may be concurrent.
type Conn struct {
	t             *Transport
	local, remote string
	closed        atomic.Bool
	lost          atomic.Bool // the kernel told of a reset or timeout

	sendMu  sync.Mutex // held by the one sender, and by Close
	sending *Caller
	sendErr error

	recvMu    sync.Mutex // held by the one receiver, and by Close
	receiving *Caller
	reader    *link.Reader
	bound     int // bytes of a frame; 0 = what the format allows
	recvErr   error

	fdMu sync.Mutex // guards fd against Close; who has one of the others need not take it
	fd   int        // -1 = closed
}

var (
	_ link.Conn     = (*Conn)(nil)
	_ link.Informer = (*Conn)(nil)
	_ link.Bounder  = (*Conn)(nil)
)

// newConn makes a link of a connected, blocking socket, which is the link's from
// here on, whatever it returns.
func newConn(t *Transport, fd int) (*Conn, error) {
	c := &Conn{t: t, fd: fd, local: nameOf(unix.Getsockname(fd)), remote: nameOf(unix.Getpeername(fd))}
	c.reader = link.NewReader((*stream)(c), t.pool)
	var err error
	if c.sending, err = t.callers.take(); err == nil {
		c.receiving, err = t.callers.take()
	}
	if err != nil {
		t.callers.give(c.sending)
		return nil, errors.Join(err, unix.Close(fd))
	}
	return c, nil
}

func nameOf(address unix.Sockaddr, err error) string {
	switch a := address.(type) {
	case *unix.SockaddrInet4:
		return (&net.TCPAddr{IP: a.Addr[:], Port: a.Port}).String()
	case *unix.SockaddrInet6:
		return (&net.TCPAddr{IP: a.Addr[:], Port: a.Port}).String()
	}
	return fmt.Sprintf("unknown address (%v)", err)
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
		for left := slot.Len(); left > 0; {
			c.sending.op().SendMsg(0, c.fd, slot, unix.MSG_WAITALL)
			n, err := c.sending.call()
			if err != nil {
				return err
			}
			left = slot.Advance(n)
		}
		parts = parts[taken:]
	}
	return nil
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
	n, err := s.receiving.receive(s.fd, p, s.t.spin)
	if n == 0 && err == nil {
		return 0, io.EOF
	}
	return n, err
}

// ReadFull fills p by one operation, where Read would take several: what of a
// frame is still missing is on its way.
func (s *stream) ReadFull(p []byte) (n int, err error) {
	s.receiving.memory = p
	for n < len(p) && err == nil {
		var got int
		s.receiving.op().Recv(0, s.fd, p[n:], unix.MSG_WAITALL)
		got, err = s.receiving.call()
		n += got
		if got == 0 && err == nil {
			err = io.EOF
		}
	}
	return n, err
}

// Close implements link.Conn. The kernel goes on delivering what Send gave it.
func (c *Conn) Close() error {
	if c.closed.Swap(true) {
		return nil
	}
	_ = unix.Shutdown(c.fd, unix.SHUT_RDWR) // ends what is under way; of a lost link nothing is
	c.sendMu.Lock()
	defer c.sendMu.Unlock()
	c.recvMu.Lock()
	defer c.recvMu.Unlock()
	c.fdMu.Lock()
	defer c.fdMu.Unlock()
	_ = unix.Close(c.fd) // gone, whatever it says
	c.fd = -1
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
	c.fdMu.Lock()
	defer c.fdMu.Unlock()
	if c.fd >= 0 {
		socket.ReadInfo(c.fd, &info)
	}
	return info
}

func (c *Conn) errClosed() error {
	return fmt.Errorf("%s to %s: %w", c.local, c.remote, link.ErrClosed)
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
		over := c.lost.Load() || socket.Over(c.fd)
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
