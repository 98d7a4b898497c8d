package rdma

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/claudefs/repl/wire/link"
)

// Listen implements link.Transport: the control connections come in at addr,
// host:port. Setups run at the same time, at most 64 together with the links that
// nobody has accepted; later connections wait in the kernel.
func (t *Transport) Listen(addr string) (link.Listener, error) { return t.ListenBeside(addr, nil) }

// ListenBeside is Listen for two transports at one address: a connection that does
// not begin like a setup is handed to plain, which makes it a link, or closes it.
// A frame never begins with the byte that a setup does. Who says nothing at all is
// shown the door after Options.HandshakeMax.
func (t *Transport) ListenBeside(addr string, plain func(*net.TCPConn) (link.Conn, error)) (link.Listener, error) {
	config := net.ListenConfig{KeepAliveConfig: t.keepAlive(), Control: t.tune}
	config.SetMultipathTCP(false)
	s, err := config.Listen(context.Background(), "tcp", addr)
	if err != nil {
		return nil, err
	}
	return t.listenOn(s, plain), nil
}

func (t *Transport) listenOn(s net.Listener, plain func(*net.TCPConn) (link.Conn, error)) *listener {
	l := &listener{
		t: t, socket: s, ready: make(chan link.Conn, handshakesMax), faults: make(chan error),
		slots: make(chan struct{}, handshakesMax), closing: make(chan struct{}), setups: make(map[net.Conn]bool),
		plain: plain,
	}
	l.workers.Add(1)
	go l.run() // ends when the listener is closed
	return l
}

type listener struct {
	t       *Transport
	plain   func(*net.TCPConn) (link.Conn, error) // nil = RDMA alone
	socket  net.Listener
	ready   chan link.Conn
	faults  chan error    // of the socket; nothing is accepted before somebody has heard of one
	slots   chan struct{} // one per setup, and per link that nobody has accepted
	closing chan struct{}
	once    sync.Once
	workers sync.WaitGroup

	mu     sync.Mutex
	setups map[net.Conn]bool
	closed bool
}

func (l *listener) run() {
	defer l.workers.Done()
	for {
		select {
		case l.slots <- struct{}{}:
		case <-l.closing:
			return
		}
		control, err := l.socket.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			// No descriptors left, say: whoever accepts hears of it, and calls again.
			select {
			case l.faults <- err:
			case <-l.closing:
				return
			}
			<-l.slots
			continue
		}
		if l.enter(control) {
			l.workers.Add(1)
			go l.setUp(control) // ends within Options.HandshakeMax
		}
	}
}

// enter notes a setup, so that Close can end it.
func (l *listener) enter(control net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		_ = control.Close()
		return false
	}
	l.setups[control] = true
	return true
}

// leave forgets a setup; false when the listener was closed meanwhile.
func (l *listener) leave(control net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.setups, control)
	return !l.closed
}

func (l *listener) setUp(control net.Conn) {
	defer l.workers.Done()
	_ = control.SetDeadline(time.Now().Add(l.t.o.HandshakeMax)) // else the reads fail as well
	c, err := l.link(control)
	open := l.leave(control)
	if err != nil {
		// Whoever that was, it is no link: garbage, a port scan, a peer that gave up.
		l.t.counts.setupsRefused.Add(1)
		_ = control.Close()
		<-l.slots
		return
	}
	if !open {
		_ = c.Close()
		return
	}
	l.ready <- c // never blocks: it has a slot
}

// link makes a connection a link, by whichever transport it begins like.
func (l *listener) link(control net.Conn) (link.Conn, error) {
	if l.plain != nil {
		first, err := peekByte(control.(*net.TCPConn))
		if err != nil {
			return nil, err
		}
		if first != setupMagic[0] {
			if err := control.SetDeadline(time.Time{}); err != nil {
				return nil, err
			}
			return l.plain(control.(*net.TCPConn))
		}
	}
	c, err := l.t.acceptLink(control)
	if err != nil {
		return nil, err // no *Conn in an interface
	}
	return c, nil
}

func (l *listener) Accept() (link.Conn, error) {
	select {
	case <-l.closing:
		return nil, l.closedError()
	default:
	}
	select {
	case c := <-l.ready:
		<-l.slots
		return c, nil
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
		l.mu.Lock()
		l.closed = true
		for control := range l.setups {
			_ = control.Close()
		}
		l.mu.Unlock()
		l.workers.Wait()
		for {
			select {
			case c := <-l.ready:
				_ = c.Close()
			default:
				return
			}
		}
	})
	return nil
}
