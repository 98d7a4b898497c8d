package linktest

import (
	"testing"

	"github.com/claudefs/repl/wire/link"
)

// Proxied is tr whose every listener stands behind a faultless proxy: what a
// transport over TCP must conform through as well.
func Proxied(t *testing.T, tr link.Transport) link.Transport { return proxied{tr, t} }

type proxied struct {
	link.Transport
	t *testing.T
}

type proxiedListener struct {
	link.Listener
	proxy *Proxy
}

func (p proxied) Listen(addr string) (link.Listener, error) {
	l, err := p.Transport.Listen(addr)
	if err != nil {
		return nil, err
	}
	proxy, err := NewProxy(l.Addr())
	if err != nil {
		return nil, err
	}
	p.t.Cleanup(func() { wantError(p.t, proxy.Close(), nil) })
	return proxiedListener{l, proxy}, nil
}

func (l proxiedListener) Addr() string { return l.proxy.Addr() }

// Close stops accepting only: accepted links live on, through the proxy too.
func (l proxiedListener) Close() error {
	l.proxy.StopListening()
	return l.Listener.Close()
}
