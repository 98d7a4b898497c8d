package uring

import (
	"context"
	"fmt"
	"net"
	"time"

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
	c, err := t.callers.open()
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

// Dial implements link.Transport. addr is host:port; of several addresses of a host
// the first that answers is taken. Connecting goes by plain system calls, so that an
// address that says nothing holds no ring and no thread.
func (t *Transport) Dial(ctx context.Context, addr string) (link.Conn, error) {
	c, err := socket.Dial(ctx, addr, &t.socket)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", link.ErrUnreachable, err)
	}
	l, err := t.Adopt(c)
	if err != nil {
		_ = c.Close() // nobody used it
		return nil, err
	}
	return l, nil
}

// Adopt makes a link of a connection that somebody else dialed or accepted, who also
// tuned it. After an error it is still the caller's.
func (t *Transport) Adopt(c *net.TCPConn) (link.Conn, error) {
	adopted, err := newConn(t, c)
	if err != nil {
		return nil, err // no *Conn in an interface
	}
	return adopted, nil
}
