package rdma_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/rdma"
	"github.com/claudefs/repl/rdma/fakeverbs"
	"github.com/claudefs/repl/wire"
	"github.com/claudefs/repl/wire/link"
)

const (
	patience = 60 * time.Second
	tick     = time.Millisecond
)

// rig is a transport over a fabric of its own.
type rig struct {
	*rdma.Transport
	fabric   *fakeverbs.Fabric
	listener link.Listener
}

// open returns a rig. With the test's end nothing of it may be left open or pinned.
func open(t *testing.T, fake fakeverbs.Options, o rdma.Options) *rig {
	t.Helper()
	r := &rig{fabric: fakeverbs.New(fake)}
	o.Verbs = r.fabric
	var err error
	r.Transport, err = rdma.New(o)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, r.Transport.Close())
		require.Eventually(t, func() bool { return r.fabric.Objects() == fakeverbs.Objects{} }, patience, tick,
			"something was left open or pinned")
	})
	return r
}

// pair returns both ends of one link, which the test's end closes.
func (r *rig) pair(t *testing.T) (dialed, accepted *rdma.Conn) {
	t.Helper()
	r.listen(t)
	return r.pairAt(t, r.listener.Addr())
}

func (r *rig) listen(t *testing.T) {
	t.Helper()
	if r.listener != nil {
		return
	}
	var err error
	r.listener, err = r.Listen("127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = r.listener.Close() })
}

func (r *rig) pairAt(t *testing.T, addr string) (dialed, accepted *rdma.Conn) {
	t.Helper()
	d, err := r.Dial(t.Context(), addr)
	require.NoError(t, err)
	t.Cleanup(func() { _ = d.Close() })
	a, err := r.listener.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { _ = a.Close() })
	return d.(*rdma.Conn), a.(*rdma.Conn)
}

// newFrame returns a frame of exactly size bytes that a link must carry.
func newFrame(size int, number uint64) []byte {
	frame := make([]byte, size)
	fillFrame(frame, number)
	return frame
}

// fillFrame makes all of memory a frame.
func fillFrame(memory []byte, number uint64) {
	body := uint32(len(memory) - wire.EnvelopeBytes)
	wire.AppendBatchesEnvelope(memory[:0], &wire.Envelope{
		Kind: wire.FrameBatches, BatchCount: uint16(max(1, (int(body)+wire.BatchBytesMax-1)/wire.BatchBytesMax)),
		WireBytes: body, PlainBytes: body, Session: 7, Number: number,
	})
	random := rand.NewChaCha8([32]byte{byte(number), byte(number >> 8), byte(len(memory))})
	_, _ = random.Read(memory[wire.EnvelopeBytes:]) // never fails
}

func recvSame(t *testing.T, c link.Conn, want []byte) *link.Frame {
	t.Helper()
	f, err := c.Recv()
	require.NoError(t, err)
	require.Truef(t, bytes.Equal(f.Bytes, want), "received %d bytes that differ from the %d sent", len(f.Bytes),
		len(want))
	return f
}

// within waits for a result that may not take long.
func within[T any](t *testing.T, done <-chan T) T {
	t.Helper()
	select {
	case v := <-done:
		return v
	case <-time.After(patience):
		t.Fatal("patience ended")
		panic("unreachable")
	}
}

// ended receives until an error, which it returns.
func ended(c link.Conn) <-chan error {
	done := make(chan error, 1)
	go func() { // ends with the link
		for {
			f, err := c.Recv()
			if err != nil {
				done <- err
				return
			}
			f.Release()
		}
	}()
	return done
}

// sendUntil sends small frames until an error, which it returns.
func sendUntil(c link.Conn) <-chan error {
	done := make(chan error, 1)
	go func() { // ends with the link
		frame := [][]byte{newFrame(300, 1)}
		var err error
		for err == nil {
			err = c.Send(frame)
		}
		done <- err
	}()
	return done
}

func requireLost(t *testing.T, err error, text string) {
	t.Helper()
	require.Truef(t, errors.Is(err, link.ErrLost), "got %v, want ErrLost", err)
	require.ErrorContains(t, err, text)
}
