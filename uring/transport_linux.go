package uring

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/claudefs/repl/wire/link"
	"github.com/claudefs/repl/wire/link/socket"
)

const transportName = "io_uring"

// TransportOptions configures Loop.Transport. The zero value is ready to use.
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
}

// Transport opens TCP links on the loop's ring. Its methods may be called by any
// goroutine; after Loop.Close they return link.ErrClosed.
type Transport struct {
	loop   *Loop
	socket socket.Options
	pool   *link.Pool
}

var _ link.Transport = (*Transport)(nil)

// Transport returns a transport over this loop, or what is wrong with o. Whether
// the kernel knows the congestion control shows at the first Dial or Listen.
func (l *Loop) Transport(o TransportOptions) (*Transport, error) {
	t := &Transport{loop: l, socket: socket.Options{Congestion: o.Congestion, DeadAfter: o.DeadAfter}, pool: o.Pool}
	if err := t.socket.Validate(); err != nil {
		return nil, fmt.Errorf("io_uring: %w", err)
	}
	if t.socket.DeadAfter == 0 {
		t.socket.DeadAfter = socket.DeadAfterDefault
	}
	if t.pool == nil {
		t.pool = new(link.Pool)
	}
	return t, nil
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
	d := &connectOp{fd: fd, to: to}
	d.op = op{task: d, done: make(chan struct{}, 1)}
	d.cancel = cancelOp{op{done: make(chan struct{}, 1)}, &d.op}
	d.cancel.task = &d.cancel
	t.loop.post(&d.op)
	select {
	case <-d.done:
		err = d.err
	case <-ctx.Done():
		// It may have connected all the same, but nobody waits for it.
		_ = t.loop.do(&d.cancel.op)
		<-d.done
		err = ctx.Err()
	}
	if err != nil {
		if errors.Is(err, ErrClosed) {
			err = link.ErrClosed
		}
		_ = unix.Close(fd) // nothing was connected
		return nil, err
	}
	return newConn(t.loop, fd, t.pool)
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

// connectOp is one connect.
type connectOp struct {
	op
	fd     int
	to     netip.AddrPort
	slot   *Slot
	cancel cancelOp
}

func (d *connectOp) start(l *Loop) bool {
	if l.closing() {
		d.finish(l.err)
		return true
	}
	if d.slot = l.ring.Slot(); d.slot == nil {
		return false
	}
	l.ring.Next().Connect(l.fly(&d.op), d.fd, d.slot, d.to)
	return true
}

func (d *connectOp) completed(l *Loop, c Completion) {
	l.ring.Release(d.slot)
	err := c.Err()
	if l.closing() && err != nil {
		err = l.err
	}
	d.finish(err)
}

// cancelOp ends another operation, which tells its own poster.
type cancelOp struct {
	op
	target *op
}

func (o *cancelOp) start(l *Loop) bool {
	l.abort(o.target)
	o.finish(nil)
	return true
}

func (o *cancelOp) completed(*Loop, Completion) {}
