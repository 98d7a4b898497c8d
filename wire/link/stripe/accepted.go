package stripe

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/claudefs/repl/wire"
	"github.com/claudefs/repl/wire/link"
	"github.com/claudefs/repl/wire/link/lobby"
)

// accepted is a link whose first frame, if there was one, was read already. Until Admit
// nothing more is read:
//
//	Recv: first frame ──▶ waits ──▶ Admit ──▶ whatever adopt made of the connections
//	Send: by the connections as they came in (a refusal) ─▶ Admit ─▶ likewise
type accepted struct {
	adopt    Adopt
	guests   []*lobby.Guest
	admitted chan struct{}
	in       atomic.Pointer[link.Conn] // conn, once it was admitted
	taken    bool                      // the receiver's: first is

	mu     sync.Mutex
	conn   link.Conn
	first  *link.Frame // until Recv or Close takes it
	closed bool
}

// accepted with what else its connections can.
type acceptedLending struct{ *accepted }

var (
	_ link.Admitter = (*accepted)(nil)
	_ link.Informer = (*accepted)(nil)
)

// whole is the link with all that it can do.
func (a *accepted) whole() link.Conn {
	if _, ok := a.now().(link.LendingConn); ok {
		return acceptedLending{a}
	}
	return a
}

func (a *accepted) now() link.Conn {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.conn
}

// Admit implements link.Admitter.
func (a *accepted) Admit() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed || a.in.Load() != nil {
		return
	}
	if old, ok := a.conn.(*conn); ok {
		whole := &conn{streams: make([]link.Conn, len(old.streams)), in: old.in, out: old.out}
		for i, s := range old.streams {
			whole.streams[i] = a.admit(s)
		}
		a.conn = whole
	} else {
		a.conn = a.admit(a.conn)
	}
	a.in.Store(&a.conn)
	close(a.admitted)
	leave(a.guests)
}

func (a *accepted) admit(c link.Conn) link.Conn {
	bound(c, wire.FrameBytesMax)
	if a.adopt == nil {
		return c
	}
	return a.adopt(c)
}

// Recv implements link.Conn.
func (a *accepted) Recv() (*link.Frame, error) {
	if !a.taken {
		a.taken = true
		if f, err := a.take(); f != nil || err != nil {
			return f, err
		}
	}
	c := a.in.Load()
	if c == nil {
		<-a.admitted
		now := a.now() // closed, if it was not admitted: then it says so
		c = &now
	}
	return (*c).Recv()
}

// take returns what was read, once.
func (a *accepted) take() (f *link.Frame, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return nil, fmt.Errorf("%s to %s: %w", a.conn.LocalAddr(), a.conn.RemoteAddr(), link.ErrClosed)
	}
	f, a.first = a.first, nil
	return f, nil
}

// Send implements link.Conn.
func (a *accepted) Send(parts [][]byte) error { return a.now().Send(parts) }

// SendLent implements link.LendingConn.
func (a acceptedLending) SendLent(parts [][]byte, release func()) error {
	return a.now().(link.LendingConn).SendLent(parts, release)
}

// Close implements link.Conn. It also gives back a first frame that nobody received.
func (a *accepted) Close() error {
	a.mu.Lock()
	f, c := a.first, a.conn
	a.first = nil
	if !a.closed && a.in.Load() == nil {
		close(a.admitted) // as far as Recv waits
	}
	a.closed = true
	a.mu.Unlock()
	if f != nil {
		f.Release()
	}
	leave(a.guests)
	return c.Close()
}

// LocalAddr implements link.Conn.
func (a *accepted) LocalAddr() string { return a.now().LocalAddr() }

// RemoteAddr implements link.Conn.
func (a *accepted) RemoteAddr() string { return a.now().RemoteAddr() }

// Info implements link.Informer.
func (a *accepted) Info() link.Info { return link.InfoOf(a.now()) }
