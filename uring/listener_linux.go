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

// listener accepts links by a ring of its own.
type listener struct {
	t      *Transport
	addr   string
	closed atomic.Bool

	mu     sync.Mutex // held by Accept, and by Close
	fd     int
	caller *Caller
}

// Listen implements link.Transport. addr is host:port; no host means all.
func (t *Transport) Listen(addr string) (link.Listener, error) {
	fd, name, err := t.bind(addr)
	if err != nil {
		return nil, fmt.Errorf("listen at %s: %w", addr, err)
	}
	caller, err := t.callers.take()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listen at %s: %w", addr, err), unix.Close(fd))
	}
	return &listener{t: t, addr: name, fd: fd, caller: caller}, nil
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
	n.mu.Lock()
	defer n.mu.Unlock()
	for {
		if n.closed.Load() {
			return nil, n.errClosed()
		}
		n.caller.op().Accept(0, n.fd)
		fd, err := n.caller.call()
		switch {
		case err == nil:
			c, err := newConn(n.t, fd)
			if err != nil {
				return nil, fmt.Errorf("accept at %s: %w", n.addr, err)
			}
			return c, nil
		case n.closed.Load():
			return nil, n.errClosed()
		case err != unix.ECONNABORTED: // no descriptors left, say
			return nil, fmt.Errorf("accept at %s: %w", n.addr, err)
		}
	}
}

func (n *listener) errClosed() error { return fmt.Errorf("accept at %s: %w", n.addr, link.ErrClosed) }

// Addr implements link.Listener.
func (n *listener) Addr() string { return n.addr }

// Close implements link.Listener. Links that nobody accepted are reset.
func (n *listener) Close() error {
	if n.closed.Swap(true) {
		return nil
	}
	_ = unix.Shutdown(n.fd, unix.SHUT_RDWR) // ends the accept under way
	n.mu.Lock()
	defer n.mu.Unlock()
	_ = unix.Close(n.fd) // gone, whatever it says
	n.t.callers.give(n.caller)
	return nil
}
