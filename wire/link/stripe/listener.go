package stripe

import (
	"fmt"
	"sync"
	"time"

	"github.com/claudefs/repl/wire"
	"github.com/claudefs/repl/wire/link"
)

// limits are how many connections may wait for their first frame, for the others of
// their link or for Accept; and for how long, but for Accept.
type limits struct {
	count int
	wait  time.Duration
}

var limitsDefault = limits{count: 1024, wait: 10 * time.Second}

// firstBytesMax is the largest first frame of a connection: a join, or a hello, which
// has about 1 KiB at most. A stranger claims no memory beyond a read-ahead.
const firstBytesMax = 4 << 10

// accepted is what Accept returns; of a link, how many of its connections were counted
// as offered.
type accepted struct {
	conn        link.Conn
	err         error
	connections int
}

type listener struct {
	inner   link.Listener
	limits  limits
	ready   chan accepted
	closed  chan struct{}
	once    sync.Once
	workers sync.WaitGroup // accept, and one per connection without a first frame

	mu      sync.Mutex
	waiting map[link.Conn]struct{} // without a first frame
	partial map[[16]byte]*partial
	offered int // connections of links that nobody has accepted yet
	ended   bool
}

// partial is a link that has not all its connections yet.
type partial struct {
	streams []link.Conn // nil = not there yet
	missing int
	timer   *time.Timer
}

// Gather returns a listener that makes links of inner's connections. It closes inner
// with itself. Links that lend memory it takes as they are.
func Gather(inner link.Listener) link.Listener { return newListener(inner, limitsDefault) }

func newListener(inner link.Listener, limits limits) *listener {
	l := &listener{
		inner: inner, limits: limits, ready: make(chan accepted), closed: make(chan struct{}),
		waiting: make(map[link.Conn]struct{}), partial: make(map[[16]byte]*partial),
	}
	l.workers.Go(l.accept) // ends with the inner listener
	return l
}

func (l *listener) Addr() string { return l.inner.Addr() }

func (l *listener) Accept() (link.Conn, error) {
	select {
	case <-l.closed: // Before anything that is ready.
		return nil, fmt.Errorf("accept at %s: %w", l.Addr(), link.ErrClosed)
	default:
	}
	select {
	case a := <-l.ready:
		l.mu.Lock()
		l.offered -= a.connections
		l.mu.Unlock()
		return a.conn, a.err
	case <-l.closed:
		return nil, fmt.Errorf("accept at %s: %w", l.Addr(), link.ErrClosed)
	}
}

// Close also ends the connections that are no link yet.
func (l *listener) Close() error {
	err := l.inner.Close()
	l.once.Do(func() { close(l.closed) })
	l.mu.Lock()
	l.ended = true
	for c := range l.waiting {
		_ = c.Close()
	}
	for id, p := range l.partial {
		l.drop(id, p)
	}
	l.mu.Unlock()
	l.workers.Wait()
	return err
}

// hand gives Accept its next result, unless the listener closes first.
func (l *listener) hand(a accepted) {
	select {
	case l.ready <- a:
	case <-l.closed:
		if a.conn != nil {
			_ = a.conn.Close()
		}
	}
}

func (l *listener) accept() {
	for {
		c, err := l.inner.Accept()
		select {
		case <-l.closed:
			if err == nil {
				_ = c.Close()
			}
			return
		default:
		}
		_, lends := c.(link.LendingConn)
		switch {
		case err != nil || lends:
			l.hand(accepted{conn: c, err: err})
		case l.admit(c):
			l.workers.Go(func() { l.greet(c) }) // ends with the first frame, or the connection
		default:
			_ = c.Close()
		}
	}
}

func (l *listener) admit(c link.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	count := len(l.waiting) + l.offered
	for _, p := range l.partial {
		count += len(p.streams) - p.missing
	}
	if l.ended || count >= l.limits.count {
		return false
	}
	l.waiting[c] = struct{}{}
	return true
}

// greet waits for a connection's first frame: a join, or a link of its own.
func (l *listener) greet(c link.Conn) {
	timer := time.AfterFunc(l.limits.wait, func() { _ = c.Close() }) // Stopped with the first frame.
	bound(c, firstBytesMax)
	f, err := c.Recv()
	bound(c, wire.FrameBytesMax)
	inTime := timer.Stop()
	joins := err == nil && f.Envelope.Kind == wire.FrameJoin
	l.mu.Lock()
	delete(l.waiting, c)
	if inTime && !joins {
		l.offered++
	}
	l.mu.Unlock()
	switch {
	case !inTime:
		if err == nil {
			f.Release()
		}
		_ = c.Close()
	case joins:
		var join wire.Join
		err = join.Decode(f.Body())
		f.Release()
		if err != nil {
			_ = c.Close()
			return
		}
		l.gather(c, &join)
	default:
		l.hand(accepted{&opened{Conn: c, first: f, err: err}, nil, 1})
	}
}

// bound limits the frames of a connection, if it can.
func bound(c link.Conn, bytes int) {
	if b, ok := c.(link.Bounder); ok {
		b.BoundFrames(bytes)
	}
}

// gather adds a connection to its link.
func (l *listener) gather(c link.Conn, join *wire.Join) {
	l.mu.Lock()
	p := l.partial[join.Link]
	if p == nil && !l.ended {
		p = &partial{streams: make([]link.Conn, join.Streams), missing: int(join.Streams)}
		p.timer = time.AfterFunc(l.limits.wait, func() { l.expire(join.Link, p) }) // Stopped when it is whole.
		l.partial[join.Link] = p
	}
	switch {
	case p == nil:
		l.mu.Unlock()
		_ = c.Close()
		return
	case len(p.streams) != int(join.Streams) || p.streams[join.Stream] != nil:
		l.drop(join.Link, p)
		l.mu.Unlock()
		_ = c.Close()
		return
	}
	p.streams[join.Stream] = c
	p.missing--
	whole := p.missing == 0
	if whole {
		p.timer.Stop()
		delete(l.partial, join.Link)
		l.offered += len(p.streams)
	}
	l.mu.Unlock()
	if whole {
		l.hand(accepted{&conn{streams: p.streams}, nil, len(p.streams)})
	}
}

func (l *listener) expire(id [16]byte, p *partial) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.partial[id] == p {
		l.drop(id, p)
	}
}

// drop ends a link that will not become whole. l.mu is held.
func (l *listener) drop(id [16]byte, p *partial) {
	p.timer.Stop()
	delete(l.partial, id)
	_ = closeAll(p.streams)
}

// opened is a link of one connection, whose first frame was read already.
type opened struct {
	link.Conn

	mu    sync.Mutex
	first *link.Frame // until Recv or Close takes it
	err   error       // in its place
}

// take returns what was read, once.
func (o *opened) take() (f *link.Frame, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	f, err = o.first, o.err
	o.first, o.err = nil, nil
	return f, err
}

func (o *opened) Recv() (*link.Frame, error) {
	if f, err := o.take(); f != nil || err != nil {
		return f, err
	}
	return o.Conn.Recv()
}

// Close also gives back a first frame that nobody received.
func (o *opened) Close() error {
	if f, _ := o.take(); f != nil {
		f.Release()
	}
	return o.Conn.Close()
}

// Info implements link.Informer.
func (o *opened) Info() link.Info { return link.InfoOf(o.Conn) }
