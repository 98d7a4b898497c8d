package stripe

import (
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"

	"github.com/claudefs/repl/wire"
	"github.com/claudefs/repl/wire/link"
	"github.com/claudefs/repl/wire/link/lobby"
)

// limits are how many connections may wait for their first frame, for the others of
// their link, for Accept or for Admit; and how long a connection may take for its first
// frame, and for the others of its link.
type limits struct {
	count int // of those that pin memory of their own heavyMax
	wait  time.Duration
}

var limitsDefault = limits{wait: 10 * time.Second}

const (
	// firstBytesMax is the largest first frame of a connection: a join, or a hello, which
	// has about 1 KiB at most.
	firstBytesMax = 4 << 10
	// heavyMax bounds the links that pin memory before anybody vouched for them, 10 MiB
	// each (package rdma); heavyStay gives each the time to say its hello.
	heavyMax  = 3
	heavyStay = 250 * time.Millisecond
)

// Adopt makes of an admitted connection what carries its link from then on: the same,
// or one of another transport that took its socket over.
type Adopt func(link.Conn) link.Conn

// offer is what Accept returns.
type offer struct {
	conn *accepted
	err  error
}

type listener struct {
	inner   link.Listener
	limits  limits
	adopt   Adopt // nil = links are admitted by Accept
	light   *lobby.Lobby
	heavy   *lobby.Lobby // of links that lend, and pin memory for it
	ready   chan offer
	closed  chan struct{}
	once    sync.Once
	workers sync.WaitGroup // accept, and one per connection without a first frame

	mu      sync.Mutex
	partial map[[16]byte]*partial
	ended   bool
}

// partial is a link that has not all its connections yet.
type partial struct {
	streams []link.Conn // nil = not there yet
	guests  []*lobby.Guest
	missing int
	timer   *time.Timer
}

// Gather returns a listener that makes links of inner's connections, for a host that
// judges hellos: until it admits a link (link.Admitter), no more than the first frame is
// read of it, and no more than that and its descriptors is taken for it. adopt is called
// for each connection of an admitted link. Gather closes inner with itself.
func Gather(inner link.Listener, adopt Adopt) link.Listener {
	return newListener(inner, limitsDefault, adopt)
}

func newListener(inner link.Listener, limits limits, adopt Adopt) *listener {
	l := &listener{
		inner: inner, limits: limits, adopt: adopt, ready: make(chan offer), closed: make(chan struct{}),
		light: lobby.New(lobby.Options{Max: limits.count}), partial: make(map[[16]byte]*partial),
		heavy: lobby.New(lobby.Options{Max: heavyMax, Stay: heavyStay}),
	}
	l.workers.Go(l.accept) // ends with the inner listener
	return l
}

func (l *listener) Addr() string { return l.inner.Addr() }

// Favor implements link.Favorer.
func (l *listener) Favor(addr string) {
	l.light.Favor(addr)
	l.heavy.Favor(addr)
	if f, ok := l.inner.(link.Favorer); ok {
		f.Favor(addr)
	}
}

// Incoming implements link.IncomingCounter. What the inner listener bounds as well is
// accepted once.
func (l *listener) Incoming() (in link.Incoming) {
	l.light.AddTo(&in)
	l.heavy.AddTo(&in)
	if c, ok := l.inner.(link.IncomingCounter); ok {
		inner := c.Incoming()
		in.Silent += inner.Silent
		in.Accepted = inner.Accepted
		in.Evicted += inner.Evicted
		in.Refused += inner.Refused
	}
	return in
}

func (l *listener) Accept() (link.Conn, error) {
	select {
	case <-l.closed: // Before anything that is ready.
		return nil, fmt.Errorf("accept at %s: %w", l.Addr(), link.ErrClosed)
	default:
	}
	select {
	case o := <-l.ready:
		if o.err != nil {
			return nil, o.err
		}
		if l.adopt == nil {
			o.conn.Admit()
		}
		return o.conn.whole(), nil
	case <-l.closed:
		return nil, fmt.Errorf("accept at %s: %w", l.Addr(), link.ErrClosed)
	}
}

// Close also ends the connections that were not admitted.
func (l *listener) Close() error {
	err := l.inner.Close()
	l.once.Do(func() { close(l.closed) })
	l.mu.Lock()
	l.ended = true
	for id, p := range l.partial {
		l.drop(id, p)
	}
	l.mu.Unlock()
	l.light.Close()
	l.heavy.Close()
	l.workers.Wait()
	return err
}

// hand gives Accept its next result, unless the listener closes first.
func (l *listener) hand(o offer) {
	select {
	case l.ready <- o:
	case <-l.closed:
		if o.conn != nil {
			_ = o.conn.Close()
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
		if err != nil {
			if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
				l.light.PushOne()
			}
			l.hand(offer{err: err})
			continue
		}
		room := l.light
		if _, lends := c.(link.LendingConn); lends {
			room = l.heavy
		}
		if guest := room.Enter(c, c.RemoteAddr()); guest != nil {
			l.workers.Go(func() { l.greet(c, guest) }) // ends with the first frame, or the connection
		} else {
			_ = c.Close()
		}
	}
}

// greet waits for a connection's first frame: a join, or a link of its own.
func (l *listener) greet(c link.Conn, guest *lobby.Guest) {
	f, err := l.first(c, c)
	if err != nil { // garbage, a port scan, a peer that gave up: no link
		guest.Leave()
		return
	}
	if f.Envelope.Kind != wire.FrameJoin {
		l.offer(c, f, []*lobby.Guest{guest})
		return
	}
	var join wire.Join
	err = join.Decode(f.Body())
	f.Release()
	if err != nil {
		_ = c.Close()
		guest.Leave()
		return
	}
	p := l.gather(c, guest, &join)
	if p == nil {
		return
	}
	whole := &conn{streams: p.streams}
	f = nil
	if l.adopt != nil { // the hello comes by the first connection
		if f, err = l.first(whole, p.streams...); err != nil {
			leave(p.guests)
			return
		}
	}
	l.offer(whole, f, p.guests)
}

// first receives the first frame, in time and bounded; on an error c is closed.
func (l *listener) first(c link.Conn, streams ...link.Conn) (*link.Frame, error) {
	timer := time.AfterFunc(l.limits.wait, func() { _ = c.Close() }) // Stopped with the first frame.
	for _, s := range streams {
		bound(s, firstBytesMax)
	}
	f, err := c.Recv()
	if !timer.Stop() && err == nil {
		f.Release()
		err = link.ErrClosed
	}
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	return f, nil
}

// offer hands a link to Accept; its connections keep their places until it is admitted.
func (l *listener) offer(c link.Conn, first *link.Frame, guests []*lobby.Guest) {
	a := &accepted{conn: c, first: first, guests: guests, adopt: l.adopt, admitted: make(chan struct{})}
	ok := true
	for _, g := range guests {
		ok = g.Spoke(a) && ok
	}
	if !ok {
		_ = a.Close()
		return
	}
	l.hand(offer{conn: a})
}

func leave(guests []*lobby.Guest) {
	for _, g := range guests {
		g.Leave()
	}
}

// bound limits the frames of a connection, if it can.
func bound(c link.Conn, bytes int) {
	if b, ok := c.(link.Bounder); ok {
		b.BoundFrames(bytes)
	}
}

// gather adds a connection to its link, and returns that when it is whole.
func (l *listener) gather(c link.Conn, guest *lobby.Guest, join *wire.Join) *partial {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.partial[join.Link]
	if p == nil && !l.ended {
		p = &partial{
			streams: make([]link.Conn, join.Streams), guests: make([]*lobby.Guest, join.Streams),
			missing: int(join.Streams),
		}
		p.timer = time.AfterFunc(l.limits.wait, func() { l.expire(join.Link, p) }) // Stopped when it is whole.
		l.partial[join.Link] = p
	}
	switch {
	case p == nil:
		_ = c.Close()
		guest.Leave()
		return nil
	case len(p.streams) != int(join.Streams) || p.streams[join.Stream] != nil:
		l.drop(join.Link, p)
		_ = c.Close()
		guest.Leave()
		return nil
	}
	p.streams[join.Stream], p.guests[join.Stream] = c, guest
	if p.missing--; p.missing > 0 {
		return nil
	}
	p.timer.Stop()
	delete(l.partial, join.Link)
	return p
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
	leave(p.guests)
}
