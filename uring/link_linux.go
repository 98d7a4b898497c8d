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

// Conn is one TCP link on the loop's ring. See link.Conn for what may be
// concurrent.
type Conn struct {
	loop          *Loop
	pool          *link.Pool
	memory        *Region // what is received ahead, and what is staged to be sent
	local, remote string
	closed        atomic.Bool
	lost          atomic.Bool // the kernel told of a reset or timeout

	// For the sending goroutine.
	sending sendOp
	sendErr error

	inbox     inbox
	recvErr   error // the receiving goroutine's
	receiving receiver

	opening, resuming, closing connOp
	resumed                    atomic.Bool // resuming is posted
	closeOnce                  sync.Once

	fdMu sync.Mutex // guards fd against the loop, which closes it
	fd   int        // -1 = closed; the loop reads it without the lock

	ended bool // the loop's: close has begun
	freed bool // the loop's: nothing is held any more
	// closeAwaited is the loop's: Close waits.
	closeAwaited bool
}

var (
	_ link.Conn     = (*Conn)(nil)
	_ link.Informer = (*Conn)(nil)
)

// newConn makes a link of a connected, blocking socket, which is the link's from
// here on, whatever it returns.
func newConn(l *Loop, fd int, pool *link.Pool) (*Conn, error) {
	c := &Conn{loop: l, fd: fd, pool: pool, local: nameOf(unix.Getsockname(fd)), remote: nameOf(unix.Getpeername(fd))}
	c.sending.conn = c
	c.sending.op = op{task: &c.sending, lost: c.sending.fail}
	c.sending.woken = make(chan struct{}, 1)
	c.inbox.arrived = make(chan struct{}, 1)
	c.receiving.conn = c
	c.receiving.op.task = &c.receiving
	c.opening = connOp{op{done: make(chan struct{}, 1)}, c, (*Conn).begin}
	c.closing = connOp{op{done: make(chan struct{}, 1)}, c, (*Conn).shut}
	c.resuming = connOp{op{}, c, (*Conn).resume}
	for _, o := range []*connOp{&c.opening, &c.closing, &c.resuming} {
		o.task = o
	}
	region, err := Map(aheadBytes + 2*stageBytes)
	if err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	c.memory = region
	c.receiving.ahead = region.Bytes()[:aheadBytes:aheadBytes]
	c.sending.staged = region.Bytes()[aheadBytes : aheadBytes : aheadBytes+stageBytes]
	c.sending.spare = region.Bytes()[aheadBytes+stageBytes : aheadBytes+stageBytes : aheadBytes+2*stageBytes]
	if err := l.do(&c.opening.op); err != nil {
		return nil, errors.Join(c.failure(err), region.Free(), unix.Close(fd))
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
	if err != nil { // a connection that ended before it was looked at
		return "a peer that left"
	}
	return "an unknown kind of address"
}

// connOp is an operation on a link that the loop itself carries out.
type connOp struct {
	op
	conn *Conn
	run  func(c *Conn, l *Loop)
}

func (o *connOp) start(l *Loop) bool {
	o.run(o.conn, l)
	return true
}

func (o *connOp) completed(*Loop, Completion) {}

// begin makes the link the loop's, which starts to receive.
func (c *Conn) begin(l *Loop) {
	if l.closing() {
		c.opening.finish(l.err)
		return
	}
	l.add(c)
	c.receiving.open(l)
	c.opening.finish(nil)
}

// Send implements link.Conn.
func (c *Conn) Send(parts [][]byte) error {
	if c.closed.Load() {
		return c.errClosed()
	}
	if c.sendErr != nil {
		return c.sendErr
	}
	err := link.CheckParts(parts)
	if err == nil {
		size := 0
		for _, part := range parts {
			size += len(part)
		}
		err = c.sending.send(parts, size)
	}
	if err != nil {
		c.sendErr = c.failure(err)
	}
	return c.sendErr
}

// Recv implements link.Conn.
func (c *Conn) Recv() (*link.Frame, error) {
	for {
		if c.closed.Load() {
			return nil, c.errClosed()
		}
		if c.recvErr != nil {
			return nil, c.recvErr
		}
		f, resume, err := c.inbox.pop()
		if resume && c.resumed.CompareAndSwap(false, true) {
			c.loop.post(&c.resuming.op)
		}
		if f != nil {
			if err = wire.CheckFrame(&f.Envelope, f.Bytes); err == nil {
				return f, nil
			}
			err = fmt.Errorf("frame of %d bytes: %w", len(f.Bytes), err)
			f.Release()
		}
		if err != nil {
			c.recvErr = c.failure(err)
			continue
		}
		<-c.inbox.arrived
	}
}

// resume goes on receiving after the inbox had been full.
func (c *Conn) resume(l *Loop) {
	c.resumed.Store(false)
	c.receiving.resume(l)
}

// Close implements link.Conn. The kernel goes on delivering what Send gave it.
func (c *Conn) Close() error {
	c.closed.Store(true)
	// Its outcome is that of closing a socket, which is closed whatever it says.
	c.closeOnce.Do(func() { _ = c.loop.do(&c.closing.op) })
	return nil
}

// shut ends what is under way; the last of it frees the link.
func (c *Conn) shut(l *Loop) {
	if c.freed || l.closing() {
		c.closing.finish(nil)
		return
	}
	c.closeAwaited = true
	c.end(l)
}

// end implements owner.
func (c *Conn) end(l *Loop) {
	c.ended = true
	l.abort(&c.sending.op)
	l.abort(&c.receiving.op)
	c.free(l)
}

// free gives everything back once nothing is under way.
func (c *Conn) free(l *Loop) {
	if !c.ended || c.freed || c.sending.busy() || c.receiving.state != receiveIdle {
		return
	}
	c.freed = true
	c.receiving.close(l)
	c.sending.fail(ErrClosed)
	c.freeMemory()
	c.closeSocket()
	l.remove(c)
	c.inbox.fail(ErrClosed)
	c.inbox.drop()
	if c.closeAwaited {
		c.closing.finish(nil)
	}
}

// abandon implements owner: the loop ended first.
func (c *Conn) abandon(l *Loop, err error) {
	c.freed = true
	c.closeSocket()
	c.sending.fail(err)
	if l.clean {
		c.freeMemory()
	}
	c.inbox.fail(err)
	if c.closed.Load() {
		c.inbox.drop()
	}
	if c.closeAwaited {
		c.closing.finish(nil)
	}
}

func (c *Conn) freeMemory() {
	c.receiving.drop()
	c.sending.drop()
	_ = c.memory.Free() // once, by freed
}

func (c *Conn) closeSocket() {
	c.fdMu.Lock()
	defer c.fdMu.Unlock()
	_ = unix.Close(c.fd) // gone, whatever it says
	c.fd = -1
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

// failure turns what the kernel or the loop said into the link's words. The
// kernel tells of a reset or timeout once, to whichever operation comes first;
// after that reading looks like an orderly close, and writing like one of the
// peer's. So the first remembers, and the receiver asks the kernel too.
func (c *Conn) failure(err error) error {
	_, fromKernel := errors.AsType[unix.Errno](err)
	switch {
	case c.closed.Load(), c.loop.ending.Load(), errors.Is(err, ErrClosed):
		return c.errClosed()
	case errors.Is(err, link.ErrLost), err == io.EOF:
		return err
	case errors.Is(err, unix.EPIPE) && !c.lost.Load():
		return fmt.Errorf("by %s: %w", c.remote, link.ErrClosed)
	case fromKernel:
		c.lost.Store(true)
		return fmt.Errorf("%w: with %s: %w", link.ErrLost, c.remote, err)
	}
	return fmt.Errorf("link with %s: %w", c.remote, err)
}
