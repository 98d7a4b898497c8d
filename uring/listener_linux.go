package uring

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/claudefs/repl/wire/link"
)

// acceptedMax bounds the links that wait for Accept; the kernel's own backlog
// takes more, up to net.core.somaxconn.
const acceptedMax = 64

// listener accepts links by the ring.
type listener struct {
	t    *Transport
	addr string
	fd   int

	accepted  chan accepted
	over      chan struct{} // closed with the listener
	closed    atomic.Bool
	closeOnce sync.Once
	arming    acceptOp
	posted    atomic.Bool // arming is the loop's
	closing   closeListenerOp

	// The loop's own.
	single       bool // the kernel has no multishot accept
	stopping     bool // the queue is full
	ended, freed bool
	closeAwaited bool
}

// accepted is what Accept returns next.
type accepted struct {
	fd  int
	err error
}

// Listen implements link.Transport. addr is host:port; no host means all.
func (t *Transport) Listen(addr string) (link.Listener, error) {
	fd, name, err := t.bind(addr)
	if err != nil {
		return nil, fmt.Errorf("listen at %s: %w", addr, err)
	}
	n := &listener{
		t: t, addr: name, fd: fd, single: t.loop.old,
		accepted: make(chan accepted, acceptedMax), over: make(chan struct{}),
	}
	n.arming = acceptOp{op{}, n}
	n.arming.task = &n.arming
	n.closing = closeListenerOp{op{done: make(chan struct{}, 1)}, n}
	n.closing.task = &n.closing
	joining := joinOp{op{done: make(chan struct{}, 1)}, n}
	joining.task = &joining
	if err := t.loop.do(&joining.op); err != nil {
		return nil, errors.Join(link.ErrClosed, unix.Close(fd))
	}
	return n, nil
}

// bind makes a listening socket; an empty host takes both families, if the
// machine has both.
func (t *Transport) bind(addr string) (fd int, name string, err error) {
	tries := []netip.AddrPort{}
	if len(addr) > 0 && addr[0] == ':' {
		at, err := resolve(context.Background(), "127.0.0.1"+addr)
		if err != nil {
			return -1, "", err
		}
		tries = append(tries, netip.AddrPortFrom(netip.IPv6Unspecified(), at[0].Port()),
			netip.AddrPortFrom(netip.IPv4Unspecified(), at[0].Port()))
	} else if tries, err = resolve(context.Background(), addr); err != nil {
		return -1, "", err
	}
	for _, at := range tries {
		if fd, err = t.bindTo(at); err == nil {
			return fd, nameOf(unix.Getsockname(fd)), nil
		}
	}
	return -1, "", err
}

func (t *Transport) bindTo(at netip.AddrPort) (fd int, err error) {
	if fd, err = t.open(at); err != nil {
		return -1, err
	}
	var to unix.Sockaddr = &unix.SockaddrInet6{Port: int(at.Port()), Addr: at.Addr().As16()}
	if at.Addr().Is4() {
		to = &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}
	} else if err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 0); err != nil {
		return -1, errors.Join(os.NewSyscallError("setsockopt", err), unix.Close(fd))
	}
	// As net does: a server started again takes its address although old
	// connections are still being forgotten.
	err = os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1))
	if err == nil {
		err = os.NewSyscallError("bind", unix.Bind(fd, to))
	}
	if err == nil {
		err = os.NewSyscallError("listen", unix.Listen(fd, unix.SOMAXCONN))
	}
	if err != nil {
		return -1, errors.Join(err, unix.Close(fd))
	}
	return fd, nil
}

// Accept implements link.Listener.
func (n *listener) Accept() (link.Conn, error) {
	for {
		if n.closed.Load() {
			return nil, n.errClosed()
		}
		if len(n.accepted) < acceptedMax/2 && n.posted.CompareAndSwap(false, true) {
			n.t.loop.post(&n.arming.op)
		}
		select {
		case <-n.over:
			return nil, n.errClosed()
		case a := <-n.accepted:
			if a.err != nil {
				return nil, fmt.Errorf("accept at %s: %w", n.addr, a.err)
			}
			c, err := newConn(n.t.loop, a.fd, n.t.pool)
			if err != nil {
				return nil, fmt.Errorf("accept at %s: %w", n.addr, err)
			}
			return c, nil
		}
	}
}

func (n *listener) errClosed() error { return fmt.Errorf("accept at %s: %w", n.addr, link.ErrClosed) }

// Addr implements link.Listener.
func (n *listener) Addr() string { return n.addr }

// Close implements link.Listener. Links that nobody accepted are closed.
func (n *listener) Close() error {
	n.closed.Store(true)
	// The outcome is that of closing a socket, which is closed whatever it says.
	n.closeOnce.Do(func() { _ = n.t.loop.do(&n.closing.op) })
	return nil
}

// joinOp makes a listener the loop's and begins to accept.
type joinOp struct {
	op
	n *listener
}

func (o *joinOp) start(l *Loop) bool {
	if l.closing() {
		o.finish(l.err)
		return true
	}
	l.add(o.n)
	o.n.posted.Store(true)
	l.later(&o.n.arming.op)
	o.finish(nil)
	return true
}

func (o *joinOp) completed(*Loop, Completion) {}

// closeListenerOp ends a listener.
type closeListenerOp struct {
	op
	n *listener
}

func (o *closeListenerOp) start(l *Loop) bool {
	if o.n.freed || l.closing() {
		o.finish(nil)
		return true
	}
	o.n.closeAwaited = true
	o.n.end(l)
	return true
}

func (o *closeListenerOp) completed(*Loop, Completion) {}

// acceptOp is a listener's accept: multishot, or one at a time before kernel
// 5.19. posted is true from its posting to its last completion.
type acceptOp struct {
	op
	n *listener
}

func (o *acceptOp) start(l *Loop) bool {
	n := o.n
	switch {
	case n.ended || l.closing():
		n.posted.Store(false)
		n.free(l)
	case n.single:
		l.ring.Next().Accept(l.fly(&o.op), n.fd)
	default:
		l.ring.Next().AcceptMultishot(l.fly(&o.op), n.fd)
	}
	return true
}

func (o *acceptOp) completed(l *Loop, c Completion) {
	n, err := o.n, c.Err()
	if err == nil {
		n.take(int(c.Res))
	}
	if c.More() {
		if len(n.accepted) >= acceptedMax/2 && !n.stopping {
			n.stopping = true
			l.abort(&o.op)
		}
		return
	}
	n.stopping = false
	switch {
	case n.ended:
		n.posted.Store(false)
		n.free(l)
	case err == unix.EINVAL && !n.single:
		n.single = true
		l.later(&o.op)
	case err == nil || c.Canceled() || transient(err) || err == unix.ECONNABORTED:
		if len(n.accepted) < acceptedMax/2 {
			l.later(&o.op)
			return
		}
		n.posted.Store(false) // Accept posts it again when it has taken some
	default: // no descriptors left, say; the next Accept tries again
		n.posted.Store(false)
		n.offer(accepted{-1, err})
	}
}

// take queues a connection. Where nobody accepts, it is closed: the peer dials
// again.
func (n *listener) take(fd int) {
	if n.ended || !n.offer(accepted{fd, nil}) {
		_ = unix.Close(fd) // its peer is told, that is all
	}
}

func (n *listener) offer(a accepted) bool {
	select {
	case n.accepted <- a:
		return true
	default:
		return false
	}
}

// end implements owner.
func (n *listener) end(l *Loop) {
	n.ended = true
	l.abort(&n.arming.op)
	n.free(l)
}

func (n *listener) free(l *Loop) {
	if !n.ended || n.freed || n.posted.Load() && n.arming.flying {
		return
	}
	l.remove(n)
	n.abandon(l, nil)
}

// abandon implements owner.
func (n *listener) abandon(*Loop, error) {
	n.freed = true
	n.closed.Store(true)
	close(n.over)
	_ = unix.Close(n.fd) // gone, whatever it says
	for {
		select {
		case a := <-n.accepted:
			if a.err == nil {
				_ = unix.Close(a.fd) // as in take
			}
			continue
		default:
		}
		break
	}
	if n.closeAwaited {
		n.closing.finish(nil)
	}
}
