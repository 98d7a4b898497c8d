package uring

import (
	"errors"
	"fmt"
	"net"

	"github.com/claudefs/repl/wire/link"
	"github.com/claudefs/repl/wire/link/socket"
)

// listener accepts connections by plain system calls, and makes each a link at once. A
// host that has strangers at its port judges them first, and adopts those it knows.
type listener struct {
	t      *Transport
	socket *net.TCPListener
}

// Listen implements link.Transport. addr is host:port; no host means all.
func (t *Transport) Listen(addr string) (link.Listener, error) {
	l, err := socket.Listen(addr, &t.socket)
	if err != nil {
		return nil, err
	}
	return &listener{t, l}, nil
}

// Accept implements link.Listener.
func (n *listener) Accept() (link.Conn, error) {
	c, err := n.socket.AcceptTCP()
	if errors.Is(err, net.ErrClosed) {
		return nil, fmt.Errorf("accept at %s: %w", n.Addr(), link.ErrClosed)
	}
	if err != nil {
		return nil, err
	}
	l, err := n.t.Adopt(c)
	if err != nil {
		_ = c.Close() // nobody used it
		return nil, fmt.Errorf("accept at %s: %w", n.Addr(), err)
	}
	return l, nil
}

// Addr implements link.Listener.
func (n *listener) Addr() string { return n.socket.Addr().String() }

// Close implements link.Listener. Connections that nobody accepted are reset.
func (n *listener) Close() error {
	if err := n.socket.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}
