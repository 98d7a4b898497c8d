package tcp

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/claudefs/repl/wire"
	"github.com/claudefs/repl/wire/link"
	"github.com/claudefs/repl/wire/link/socket"
)

// Conn is one TCP link. See link.Conn for what may be concurrent.
type Conn struct {
	socket *net.TCPConn
	closed atomic.Bool
	lost   atomic.Bool // the kernel reported a reset or timeout

	// For the receiving goroutine.
	reader  *link.Reader
	bound   int // bytes of a frame; 0 = what the format allows
	recvErr error

	// For the sending goroutine. Writing eats a net.Buffers, so it gets a copy of
	// the parts: vector keeps the memory, unsent is what the write eats.
	vector  [][]byte
	unsent  net.Buffers
	sendErr error
}

var (
	_ link.Conn     = (*Conn)(nil)
	_ link.Informer = (*Conn)(nil)
	_ link.Bounder  = (*Conn)(nil)
)

func newConn(socket *net.TCPConn, pool *link.Pool) *Conn {
	return &Conn{socket: socket, reader: link.NewReader(socket, pool)}
}

// Send implements link.Conn.
func (c *Conn) Send(parts [][]byte) error {
	if c.closed.Load() {
		return c.classify(net.ErrClosed)
	}
	if c.sendErr != nil {
		return c.sendErr
	}
	if err := c.write(parts); err != nil {
		c.sendErr = c.classify(err)
		return c.sendErr
	}
	return nil
}

func (c *Conn) write(parts [][]byte) error {
	if err := link.CheckParts(parts); err != nil {
		return err
	}
	c.vector = append(c.vector[:0], parts...)
	c.unsent = c.vector
	_, err := c.unsent.WriteTo(c.socket)
	// After an error some parts were not eaten: do not keep them alive.
	clear(c.vector)
	return err
}

// Recv implements link.Conn.
func (c *Conn) Recv() (*link.Frame, error) {
	if c.closed.Load() {
		return nil, c.classify(net.ErrClosed)
	}
	if c.recvErr != nil {
		return nil, c.recvErr
	}
	f, err := c.next()
	if err != nil {
		c.recvErr = c.classify(err)
		return nil, c.recvErr
	}
	return f, nil
}

func (c *Conn) next() (*link.Frame, error) {
	if c.bound == 0 {
		return c.reader.Next()
	}
	f, err := link.ReadFrame(c.socket, c.bound)
	if errors.Is(err, wire.ErrVersion) || errors.Is(err, wire.ErrProtocol) || errors.Is(err, wire.ErrCorrupt) {
		c.linger()
	}
	return f, err
}

// linger takes a little of what came behind a frame that does not hold: a socket that is
// closed with bytes unread resets the connection, and what was sent before is lost.
func (c *Conn) linger() {
	if c.socket.SetReadDeadline(time.Now().Add(lingerMax)) == nil {
		_, _ = io.CopyN(io.Discard, c.socket, lingerBytes) // it may end as it likes
	}
}

const (
	lingerMax   = 20 * time.Millisecond
	lingerBytes = 4 << 10
)

// BoundFrames implements link.Bounder.
func (c *Conn) BoundFrames(bytes int) {
	if c.bound = bytes; bytes >= wire.FrameBytesMax {
		c.bound = 0
	}
}

// Socket is the connection itself, for another transport that takes it over: all that
// was received is bounded frames, so nothing was read ahead.
func (c *Conn) Socket() *net.TCPConn { return c.socket }

// Close implements link.Conn. The kernel goes on delivering what Send gave it.
func (c *Conn) Close() error {
	if c.closed.Swap(true) {
		return nil
	}
	return c.socket.Close()
}

// LocalAddr implements link.Conn.
func (c *Conn) LocalAddr() string { return c.socket.LocalAddr().String() }

// RemoteAddr implements link.Conn.
func (c *Conn) RemoteAddr() string { return c.socket.RemoteAddr().String() }

// Info implements link.Informer, by asking the kernel.
func (c *Conn) Info() link.Info {
	info := link.Info{Transport: "tcp"}
	raw, err := c.socket.SyscallConn()
	if err != nil {
		return info
	}
	// It fails only on a closed socket, whose figures are unknown.
	_ = raw.Control(func(fd uintptr) { socket.ReadInfo(int(fd), &info) })
	return info
}

// classify turns what the socket said into the link's words.
//
// The kernel tells of a reset or timeout once, to whichever call comes first.
// After that reading looks like an orderly close, and writing like one of the
// peer's. Neither may pass as such: so the first remembers, and the reader also
// asks the kernel, in case the first has not got that far. (A connection that
// was reset behind the peer's close then counts as lost: the safe side.)
func (c *Conn) classify(err error) error {
	_, fromSocket := errors.AsType[*net.OpError](err)
	switch {
	case errors.Is(err, net.ErrClosed):
		return fmt.Errorf("%s to %s: %w", c.LocalAddr(), c.RemoteAddr(), link.ErrClosed)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		if c.lost.Load() || c.broken() {
			return fmt.Errorf("%w: %s ended without a close", link.ErrLost, c.RemoteAddr())
		}
		return err
	case errors.Is(err, syscall.EPIPE) && !c.lost.Load():
		return fmt.Errorf("by %s: %w", c.RemoteAddr(), link.ErrClosed)
	case fromSocket:
		c.lost.Store(true)
		return fmt.Errorf("%w: %w", link.ErrLost, err)
	}
	return fmt.Errorf("link with %s: %w", c.RemoteAddr(), err)
}

// broken says whether the connection is over, rather than half closed by the
// peer. Where the system does not tell, it says no.
func (c *Conn) broken() bool {
	raw, err := c.socket.SyscallConn()
	if err != nil {
		return false
	}
	over := false
	// It fails only on a socket that was closed here, which classify tells apart.
	_ = raw.Control(func(fd uintptr) { over = socket.Over(int(fd)) })
	return over
}
