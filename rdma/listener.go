package rdma

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/claudefs/repl/wire/link"
	"github.com/claudefs/repl/wire/link/lobby"
	"github.com/claudefs/repl/wire/link/socket"
)

// Listen implements link.Transport: the control connections come in at addr,
// host:port. Setups run at the same time, three at most together with the links that
// nobody has accepted, because each pins a ring and a stage: later ones wait.
func (t *Transport) Listen(addr string) (link.Listener, error) { return t.ListenBeside(addr, nil) }

// ListenBeside is Listen for two transports at one address: a connection that does
// not begin like a setup is handed to plain, which makes it a link, or leaves it to be
// closed. A frame never begins with the byte that a setup does. Who says nothing at all
// is shown the door after Options.HandshakeMax, or earlier for somebody else (package
// lobby).
func (t *Transport) ListenBeside(addr string, plain func(*net.TCPConn) (link.Conn, error)) (link.Listener, error) {
	o := t.o.socket()
	s, err := socket.Listen(addr, &o)
	if err != nil {
		return nil, err
	}
	return t.listenOn(s, plain), nil
}

func (t *Transport) listenOn(s net.Listener, plain func(*net.TCPConn) (link.Conn, error)) *listener {
	l := &listener{
		t: t, socket: s, ready: make(chan acceptedLink), faults: make(chan error), closing: make(chan struct{}),
		silent: lobby.New(lobby.Options{}), plain: plain,
		setups: lobby.New(lobby.Options{Max: setupsMax, Stay: setupStay}),
	}
	l.workers.Go(l.run) // ends when the listener is closed
	return l
}

const (
	// setupsMax bounds what strangers pin: links that are being set up, and those that
	// nobody has accepted.
	setupsMax = 3
	// setupStay is how long a setup may take before another one may end it.
	setupStay = 250 * time.Millisecond
)

type listener struct {
	t       *Transport
	plain   func(*net.TCPConn) (link.Conn, error) // nil = RDMA alone
	socket  net.Listener
	silent  *lobby.Lobby // connections that have not begun
	setups  *lobby.Lobby
	ready   chan acceptedLink
	faults  chan error // of the socket; nothing is accepted before somebody has heard of one
	closing chan struct{}
	once    sync.Once
	workers sync.WaitGroup
}

// acceptedLink is a link with its place among the setups, if it has one.
type acceptedLink struct {
	link.Conn
	setup *lobby.Guest
}

// Favor implements link.Favorer.
func (l *listener) Favor(addr string) {
	l.silent.Favor(addr)
	l.setups.Favor(addr)
}

// Incoming implements link.IncomingCounter. A setup has a place among the silent ones too.
func (l *listener) Incoming() (in link.Incoming) {
	l.silent.AddTo(&in)
	setups := l.setups.Counts()
	in.Evicted += setups.Pushed
	in.Refused += setups.Refused
	return in
}

func (l *listener) run() {
	for {
		control, err := l.socket.Accept()
		switch {
		case err == nil:
			if guest := l.silent.Enter(control, control.RemoteAddr().String()); guest != nil {
				l.workers.Go(func() { l.setUp(control, guest) }) // ends within twice Options.HandshakeMax
			} else {
				_ = control.Close() // nobody used it
			}
		case errors.Is(err, net.ErrClosed):
			return
		default: // No descriptors left, say: whoever accepts hears of it, and calls again.
			l.silent.PushOne()
			select {
			case l.faults <- err:
			case <-l.closing:
				return
			}
		}
	}
}

func (l *listener) setUp(control net.Conn, guest *lobby.Guest) {
	_ = control.SetDeadline(time.Now().Add(l.t.o.HandshakeMax)) // else the reads fail as well
	c, err := l.link(control, guest)
	guest.Leave()
	if err != nil {
		// Whoever that was, it is not a link: garbage, a port scan, a peer that gave up.
		c.setup.Leave()
		l.t.counts.setupsRefused.Add(1)
		_ = control.Close()
		return
	}
	select {
	case l.ready <- c:
	case <-l.closing:
		_ = c.Close()
	}
}

// link makes a connection a link, by whichever transport it begins like.
func (l *listener) link(control net.Conn, guest *lobby.Guest) (made acceptedLink, err error) {
	if l.plain != nil {
		first, err := peekByte(control.(*net.TCPConn))
		if err != nil {
			return made, err
		}
		if first != setupMagic[0] {
			if err := control.SetDeadline(time.Time{}); err != nil {
				return made, err
			}
			made.Conn, err = l.plain(control.(*net.TCPConn))
			return made, err
		}
	}
	r := setupReader{from: control}
	peer, err := r.offer(setupHello)
	if err != nil {
		return made, err
	}
	// Whoever waits for a place among the setups keeps that among the silent ones.
	if made.setup = l.setups.EnterIn(control, control.RemoteAddr().String(), l.t.o.HandshakeMax); made.setup == nil {
		return made, errors.New("too many setups at once")
	}
	guest.Leave()
	c, err := l.t.acceptLink(control, &r, &peer)
	if err != nil {
		return made, err // no *Conn in an interface
	}
	made.Conn = c
	if !made.setup.Spoke(c) {
		_ = c.Close()
		return made, errors.New("ended for a newer setup")
	}
	return made, nil
}

func (l *listener) Accept() (link.Conn, error) {
	select {
	case <-l.closing:
		return nil, l.closedError()
	default:
	}
	select {
	case c := <-l.ready:
		c.setup.Leave()
		return c.Conn, nil
	case err := <-l.faults:
		return nil, err
	case <-l.closing:
		return nil, l.closedError()
	}
}

func (l *listener) closedError() error {
	return fmt.Errorf("accept at %s: %w", l.Addr(), link.ErrClosed)
}

func (l *listener) Addr() string { return l.socket.Addr().String() }

// Close also ends setups, and links that nobody accepted.
func (l *listener) Close() error {
	l.once.Do(func() {
		close(l.closing)
		_ = l.socket.Close() // it does not accept any more, whatever it says
		l.silent.Close()
		l.setups.Close()
		l.workers.Wait()
	})
	return nil
}
