package stripe

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"

	"github.com/claudefs/repl/wire"
	"github.com/claudefs/repl/wire/link"
)

// Transport makes links over several connections of another transport. Its
// methods may be called by any goroutine.
type Transport struct {
	inner   link.Transport
	streams int
}

var _ link.Transport = (*Transport)(nil)

// New returns a transport whose Dial opens streams connections of inner a link, 1
// to wire.StreamsMax. Its listeners take what others dial, whatever their number.
func New(inner link.Transport, streams int) (*Transport, error) {
	if streams < 1 || streams > wire.StreamsMax {
		return nil, fmt.Errorf("stripe: %d connections per link, want 1 to %d", streams, wire.StreamsMax)
	}
	return &Transport{inner: inner, streams: streams}, nil
}

// Name implements link.Transport: it is the inner one's.
func (t *Transport) Name() string { return t.inner.Name() }

// Dial implements link.Transport. The first connection finds an address of addr that
// answers, the others go there, all at once; if one fails, so does the link.
func (t *Transport) Dial(ctx context.Context, addr string) (link.Conn, error) {
	first, err := t.inner.Dial(ctx, addr)
	if err != nil || t.streams == 1 {
		return first, err
	}
	join := wire.Join{Streams: uint16(t.streams)}
	_, _ = rand.Read(join.Link[:]) // never fails
	streams := make([]link.Conn, t.streams)
	streams[0] = first
	faults := make([]error, t.streams)
	var dials sync.WaitGroup
	for i := range streams {
		join.Stream = uint16(i)
		frame := join.AppendTo(nil, 0)
		dials.Go(func() {
			if i > 0 {
				streams[i], faults[i] = t.inner.Dial(ctx, first.RemoteAddr())
			}
			if faults[i] == nil {
				faults[i] = streams[i].Send([][]byte{frame})
			}
		})
	}
	dials.Wait()
	for i, err := range faults {
		if err != nil {
			_ = closeAll(streams)
			return nil, fmt.Errorf("connection %d of %d: %w", i+1, t.streams, err)
		}
	}
	return &conn{streams: streams}, nil
}

// Listen implements link.Transport.
func (t *Transport) Listen(addr string) (link.Listener, error) {
	inner, err := t.inner.Listen(addr)
	if err != nil {
		return nil, err
	}
	return newListener(inner, limitsDefault, nil), nil
}

// conn is a link of several connections. An error stays with the connection whose
// turn it is, so the turn does not pass on, and neither does the link.
type conn struct {
	streams []link.Conn
	out, in int // whose turn it is; the sender's, the receiver's
}

var _ interface {
	link.Conn
	link.Informer
} = (*conn)(nil)

func (c *conn) Send(parts [][]byte) error {
	err := c.streams[c.out].Send(parts)
	if err == nil {
		c.out = (c.out + 1) % len(c.streams)
	}
	return err
}

func (c *conn) Recv() (*link.Frame, error) {
	f, err := c.streams[c.in].Recv()
	if err == nil {
		c.in = (c.in + 1) % len(c.streams)
	}
	return f, err
}

func (c *conn) Close() error       { return closeAll(c.streams) }
func (c *conn) LocalAddr() string  { return c.streams[0].LocalAddr() }
func (c *conn) RemoteAddr() string { return c.streams[0].RemoteAddr() }

// Info is the first connection's, but for what adds up.
func (c *conn) Info() link.Info {
	info := link.InfoOf(c.streams[0])
	for _, s := range c.streams[1:] {
		more := link.InfoOf(s)
		info.Retransmitted += more.Retransmitted
		info.ReceivedBytes += more.ReceivedBytes
	}
	info.Streams = len(c.streams)
	return info
}

func closeAll(streams []link.Conn) error {
	var faults []error
	for _, s := range streams {
		if s != nil {
			faults = append(faults, s.Close())
		}
	}
	return errors.Join(faults...)
}
