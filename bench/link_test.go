package bench

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/claudefs/repl/rdma"
	"github.com/claudefs/repl/uring"
	"github.com/claudefs/repl/wire"
	"github.com/claudefs/repl/wire/link"
	"github.com/claudefs/repl/wire/link/linktest"
	"github.com/claudefs/repl/wire/link/tcp"
	"github.com/stretchr/testify/require"
)

// transports are the links that are measured; a new one comes here with one line.
// An error skips it, with its text.
var transports = []struct {
	name string
	open func(b *testing.B) (link.Transport, error)
}{
	{"memory", func(*testing.B) (link.Transport, error) { return linktest.NewMemory(), nil }},
	{"tcp", func(*testing.B) (link.Transport, error) { return tcp.New(tcp.Options{Congestion: "cubic"}) }},
	{"io_uring", func(b *testing.B) (link.Transport, error) {
		return uring.NewTransport(uring.TransportOptions{Congestion: "cubic"})
	}},
	{"rdma", func(*testing.B) (link.Transport, error) { return rdma.New(rdma.Options{Verbs: rdma.System()}) }},
}

var linkSizes = []int{64, 256, 4 << 10, 64 << 10, 1 << 20}

// linkPair is both ends of one link.
func linkPair(b *testing.B, open func(*testing.B) (link.Transport, error)) (near, far link.Conn) {
	b.Helper()
	transport, err := open(b)
	if err != nil {
		b.Skipf("no such link here: %v", err)
	}
	l, err := transport.Listen("127.0.0.1:0")
	require.NoError(b, err)
	b.Cleanup(func() { l.Close() })
	ctx, cancel := context.WithTimeout(b.Context(), 20*time.Second)
	defer cancel()
	near, err = transport.Dial(ctx, l.Addr())
	require.NoError(b, err)
	far, err = l.Accept()
	require.NoError(b, err)
	b.Cleanup(func() { near.Close(); far.Close() })
	return near, far
}

// frameOf is a frame with one batch of one entry.
func frameOf(size int) [][]byte {
	_, batch := newBatch(1, size)
	head := wire.AppendBatchesEnvelope(nil, &wire.Envelope{
		Kind: wire.FrameBatches, BatchCount: 1, WireBytes: uint32(len(batch)), Session: 1, Number: 1,
	})
	return [][]byte{head, batch}
}

func eachLink(b *testing.B, run func(b *testing.B, near, far link.Conn, size int)) {
	for _, t := range transports {
		for _, size := range linkSizes {
			b.Run(fmt.Sprintf("%s/%s", t.name, sizeName(size)), func(b *testing.B) {
				near, far := linkPair(b, t.open)
				run(b, near, far, size)
			})
		}
	}
}

// BenchmarkLinkStream sends frames one way; the far end verifies each batch. An
// operation is a frame; the last has arrived when the clock stops.
func BenchmarkLinkStream(b *testing.B) {
	eachLink(b, func(b *testing.B, near, far link.Conn, size int) {
		frame := frameOf(size)
		over := make(chan error, 1)
		count := int64(b.N)
		go func() { over <- takeFrames(far, count) }() // Ends with the last frame, or the link.
		c := costOf(b, size)
		for range b.N {
			require.NoError(b, near.Send(frame))
		}
		require.NoError(b, <-over)
		c.report(size)
	})
}

func takeFrames(c link.Conn, count int64) error {
	refs := make([]wire.BatchRef, 0, 1)
	for range count {
		f, err := c.Recv()
		if err != nil {
			return err
		}
		_, err = wire.SplitBatches(f.Body(), int(f.Envelope.BatchCount), refs)
		f.Release()
		if err != nil {
			return err
		}
	}
	return nil
}

// BenchmarkLinkRoundTrip sends a frame and waits for its ack.
func BenchmarkLinkRoundTrip(b *testing.B) {
	eachLink(b, func(b *testing.B, near, far link.Conn, size int) {
		frame := frameOf(size)
		ack := [][]byte{(&wire.Ack{Level: wire.LevelReceived, Number: 1}).AppendTo(nil, 1)}
		go func() { // Ends with the link.
			for takeFrames(far, 1) == nil && far.Send(ack) == nil {
			}
		}()
		c := costOf(b, size)
		for b.Loop() {
			if err := near.Send(frame); err != nil {
				b.Fatal(err)
			}
			f, err := near.Recv()
			if err != nil {
				b.Fatal(err)
			}
			f.Release()
		}
		c.report(size)
	})
}
