package tcp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/claudefs/repl/wire/link"
	"github.com/claudefs/repl/wire/link/socket"
)

// DeadAfterDefault is Options.DeadAfter where that is 0.
const DeadAfterDefault = socket.DeadAfterDefault

// Options configures a Transport. The zero value is ready to use.
type Options struct {
	// Congestion names the congestion control of every socket, "cubic" say. Empty
	// leaves the system's choice. Linux only.
	Congestion string
	// DeadAfter bounds how long a peer may leave data unacknowledged, unread or
	// keepalive probes unanswered before the link is lost. 0 means
	// DeadAfterDefault; the least is 3 s, since the kernel probes by the second.
	DeadAfter time.Duration
	// Pool lends the memory of received frames. Nil: the transport has its own.
	Pool *link.Pool
}

// Validate reports all faults at once.
func (o *Options) Validate() error {
	s := o.socket()
	if err := s.Validate(); err != nil {
		return fmt.Errorf("tcp: %w", err)
	}
	return nil
}

func (o *Options) socket() socket.Options {
	return socket.Options{Congestion: o.Congestion, DeadAfter: o.DeadAfter}
}

// Transport opens TCP links. Its methods may be called by any goroutine.
type Transport struct {
	options Options
}

var _ link.Transport = (*Transport)(nil)

// New returns a transport, or what is wrong with the options. Whether the
// kernel knows the congestion control shows at the first Dial or Listen.
func New(options Options) (*Transport, error) {
	if err := options.Validate(); err != nil {
		return nil, err
	}
	if options.DeadAfter == 0 {
		options.DeadAfter = DeadAfterDefault
	}
	if options.Pool == nil {
		options.Pool = new(link.Pool)
	}
	return &Transport{options: options}, nil
}

// Name implements link.Transport.
func (t *Transport) Name() string { return "tcp" }

// Dial implements link.Transport. addr is host:port.
func (t *Transport) Dial(ctx context.Context, addr string) (link.Conn, error) {
	o := t.options.socket()
	c, err := socket.Dial(ctx, addr, &o)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", link.ErrUnreachable, err)
	}
	return newConn(c, t.options.Pool), nil
}

// Listen implements link.Transport. addr is host:port; no host means all.
func (t *Transport) Listen(addr string) (link.Listener, error) {
	o := t.options.socket()
	l, err := socket.Listen(addr, &o)
	if err != nil {
		return nil, err
	}
	return &listener{socket: l, pool: t.options.Pool}, nil
}

// Adopt makes a link of a connection that somebody else accepted, who also tuned it.
func (t *Transport) Adopt(c *net.TCPConn) link.Conn { return newConn(c, t.options.Pool) }

type listener struct {
	socket *net.TCPListener
	pool   *link.Pool
}

func (l *listener) Accept() (link.Conn, error) {
	c, err := l.socket.AcceptTCP()
	if errors.Is(err, net.ErrClosed) {
		return nil, fmt.Errorf("accept at %s: %w", l.Addr(), link.ErrClosed)
	}
	if err != nil {
		return nil, err
	}
	return newConn(c, l.pool), nil
}

func (l *listener) Addr() string { return l.socket.Addr().String() }

func (l *listener) Close() error {
	if err := l.socket.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}
