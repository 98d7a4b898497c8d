package uring_test

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/uring"
	"github.com/claudefs/repl/wire"
	"github.com/claudefs/repl/wire/link"
	"github.com/claudefs/repl/wire/link/linktest"
)

// onLoops runs a test on the best loop, and on one that does without what old
// kernels lack.
func onLoops(t *testing.T, test func(t *testing.T, o uring.LoopOptions)) {
	needRing(t)
	for _, setup := range []uring.Setup{uring.SetupBest, uring.SetupPlain} {
		t.Run(setup.String(), func(t *testing.T) { test(t, uring.LoopOptions{Setup: setup}) })
	}
}

func openLoop(t testing.TB, o uring.LoopOptions) *uring.Loop {
	t.Helper()
	needRing(t)
	l, err := uring.OpenLoop(o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	return l
}

func openTransport(t testing.TB, o uring.LoopOptions) *uring.Transport {
	t.Helper()
	tr, err := openLoop(t, o).Transport(uring.TransportOptions{})
	require.NoError(t, err)
	return tr
}

func TestRingLinksConform(t *testing.T) {
	onLoops(t, func(t *testing.T, o uring.LoopOptions) {
		linktest.Conformance(t, func(t *testing.T) link.Transport { return openTransport(t, o) })
	})
}

// proxied is a transport whose every listener stands behind a proxy.
type proxied struct{ link.Transport }

type proxiedListener struct {
	link.Listener
	proxy *linktest.Proxy
}

func (p proxied) Listen(addr string) (link.Listener, error) {
	l, err := p.Transport.Listen(addr)
	if err != nil {
		return nil, err
	}
	proxy, err := linktest.NewProxy(l.Addr())
	if err != nil {
		return nil, err
	}
	return proxiedListener{l, proxy}, nil
}

func (l proxiedListener) Addr() string { return l.proxy.Addr() }

func (l proxiedListener) Close() error {
	_ = l.proxy.Close()
	return l.Listener.Close()
}

// frame is one that links carry: they do not look into its body.
func frame(size int, number uint64) []byte {
	body := uint32(size - wire.EnvelopeBytes)
	b := wire.AppendBatchesEnvelope(make([]byte, 0, size), &wire.Envelope{
		Kind: wire.FrameBatches, BatchCount: uint16(max(1, (int(body)+wire.BatchBytesMax-1)/wire.BatchBytesMax)),
		WireBytes: body, PlainBytes: body, Session: 7, Number: number,
	})
	return append(b, fill(make([]byte, body), int(number))...)
}

// links returns both ends of a link.
func links(t testing.TB, tr link.Transport) (dialed, accepted link.Conn) {
	t.Helper()
	n, err := tr.Listen("127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = n.Close() })
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	dialed, err = tr.Dial(ctx, n.Addr())
	require.NoError(t, err)
	accepted, err = n.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { _, _ = dialed.Close(), accepted.Close() })
	return dialed, accepted
}

var _ = []any{fs.ErrClosed, os.ErrClosed, filepath.Join, runtime.GC, sync.Mutex{}, time.Now}
