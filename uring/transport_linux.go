package uring

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/claudefs/repl/wire/link"
	"github.com/claudefs/repl/wire/link/socket"
)

const transportName = "io_uring"

// TransportOptions configures NewTransport. The zero value is ready to use.
type TransportOptions struct {
	// Congestion names the congestion control of every socket, "cubic" say. Empty
	// leaves the system's choice.
	Congestion string
	// DeadAfter bounds how long a peer may leave data unacknowledged, unread or
	// keepalive probes unanswered before the link is lost; 0 means 20 s, the least
	// is 3 s.
	DeadAfter time.Duration
	// Pool lends the memory of received frames. Nil: the transport has its own.
	Pool *link.Pool
	// Setup is where rings begin stepping down; at SetupCoop at the earliest.
	Setup Setup
	// NoSpin: receivers sleep at once, where they else look for up to 20 µs for what
	// is about to come, as long as that pays.
	NoSpin bool
}

// Transport opens TCP links that have rings of their own. Its methods may be
// called by any goroutine.
type Transport struct {
	socket  socket.Options
	pool    *link.Pool
	callers callers
	spin    bool
}

var _ link.Transport = (*Transport)(nil)

// NewTransport returns a transport, or what is wrong with o; the error wraps
// ErrUnsupported where the machine gives us no ring. Whether the kernel knows the
// congestion control shows at the first Dial or Listen.
func NewTransport(o TransportOptions) (*Transport, error) {
	t := &Transport{socket: socket.Options{Congestion: o.Congestion, DeadAfter: o.DeadAfter}, pool: o.Pool,
		spin: !o.NoSpin}
	if err := t.socket.Validate(); err != nil {
		return nil, fmt.Errorf("io_uring: %w", err)
	}
	if t.socket.DeadAfter == 0 {
		t.socket.DeadAfter = socket.DeadAfterDefault
	}
	if t.pool == nil {
		t.pool = new(link.Pool)
	}
	t.callers.setup = o.Setup
	c, err := t.callers.take()
	if err != nil {
		return nil, err
	}
	t.callers.give(c)
	return t, nil
}

// Stats returns the counters of all links and listeners. Any goroutine.
func (t *Transport) Stats() CallStats { return t.callers.counts.stats() }

// Close gives back the rings that wait for a link. Links and listeners live on;
// each gives its rings back when it is closed.
func (t *Transport) Close() error {
	t.callers.end()
	return nil
}

// Name implements link.Transport.
func (t *Transport) Name() string { return transportName }

// Dial implements link.Transport. addr is host:port; of several addresses of a
// host each is tried in turn.
func (t *Transport) Dial(ctx context.Context, addr string) (link.Conn, error) {
	addrs, err := resolve(ctx, addr)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", link.ErrUnreachable, err)
	}
	var faults []error
	for _, to := range addrs {
		if ctx.Err() != nil {
			faults = append(faults, fmt.Errorf("%s: %w", to, ctx.Err()))
			break
		}
		c, err := t.dial(ctx, to)
		if err == nil {
			return c, nil
		}
		faults = append(faults, fmt.Errorf("%s: %w", to, err))
	}
	return nil, fmt.Errorf("%w: %w", link.ErrUnreachable, errors.Join(faults...))
}

func (t *Transport) dial(ctx context.Context, to netip.AddrPort) (*Conn, error) {
	fd, err := t.open(to)
	if err != nil {
		return nil, err
	}
	caller, err := t.callers.take()
	if err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	defer t.callers.give(caller)
	// Shutting a socket down is what ends its connect.
	shut := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = unix.Shutdown(fd, unix.SHUT_RDWR) // of what is not connecting any more it fails
		close(shut)
	})
	caller.op().Connect(0, fd, caller.slot, to)
	_, err = caller.call()
	if !stop() {
		<-shut
		err = ctx.Err() // it may have connected all the same, but nobody waits for it
	}
	if err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return newConn(t, fd)
}

// Adopt makes a link of a connection that somebody else accepted, who also tuned it.
// It is the link's, or closed.
func (t *Transport) Adopt(c *net.TCPConn) (link.Conn, error) {
	defer c.Close() // without a word to the peer: another descriptor of it lives
	file, err := c.File()
	if err != nil {
		return nil, err
	}
	defer file.Close() // likewise
	fd, err := unix.FcntlInt(file.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	if err := unix.SetNonblock(fd, false); err != nil {
		return nil, errors.Join(os.NewSyscallError("fcntl", err), unix.Close(fd))
	}
	adopted, err := newConn(t, fd)
	if err != nil {
		return nil, err // no *Conn in an interface
	}
	return adopted, nil
}

// open makes a blocking, tuned socket of addr's family.
func (t *Transport) open(addr netip.AddrPort) (fd int, err error) {
	family := unix.AF_INET6
	if addr.Addr().Is4() {
		family = unix.AF_INET
	}
	if fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return -1, fmt.Errorf("socket: %w", err)
	}
	if err := socket.TuneAll(fd, &t.socket); err != nil {
		return -1, errors.Join(err, unix.Close(fd))
	}
	return fd, nil
}

// resolve looks up host:port; no host means this machine.
func resolve(ctx context.Context, addr string) ([]netip.AddrPort, error) {
	host, service, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	port, err := strconv.ParseUint(service, 10, 16)
	if err != nil {
		looked, err := net.DefaultResolver.LookupPort(ctx, "tcp", service)
		if err != nil {
			return nil, err
		}
		port = uint64(looked)
	}
	if host == "" {
		host = "127.0.0.1"
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	var addrs []netip.AddrPort
	for _, ip := range ips {
		if ip.Zone() != "" {
			return nil, fmt.Errorf("address %s: zones are for plain TCP links only", addr)
		}
		addrs = append(addrs, netip.AddrPortFrom(ip.Unmap(), uint16(port)))
	}
	return addrs, nil
}
