package uring_test

import (
	"errors"
	"fmt"
	"net"
	"testing"

	"github.com/claudefs/repl/uring"
	"github.com/claudefs/repl/wire/link"
	"github.com/claudefs/repl/wire/link/linktest"
)

// adopting is a transport whose connections somebody else accepts.
type adopting struct{ *uring.Transport }

type adopter struct {
	net.Listener
	t *uring.Transport
}

func (a adopting) Listen(addr string) (link.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	return &adopter{l, a.Transport}, nil
}

func (a *adopter) Addr() string { return a.Listener.Addr().String() }

func (a *adopter) Accept() (link.Conn, error) {
	c, err := a.Listener.Accept()
	if err != nil {
		return nil, fmt.Errorf("accept at %s: %w", a.Addr(), link.ErrClosed)
	}
	return a.t.Adopt(c.(*net.TCPConn))
}

func (a *adopter) Close() error {
	if err := a.Listener.Close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

func TestAdoptedLinksConform(t *testing.T) {
	linktest.Conformance(t, func(t *testing.T) link.Transport {
		return adopting{openTransport(t, uring.TransportOptions{})}
	})
}
