package linktest

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/claudefs/repl/wire"
	"github.com/claudefs/repl/wire/link"
)

const (
	// patience is how long a condition may take that should come at once.
	patience = 60 * time.Second
	// tinyBytes is a frame of one batch with next to nothing in it.
	tinyBytes = wire.EnvelopeBytes + wire.BatchHeaderBytes + 24
)

// newFrame returns a frame of exactly size bytes that a link must carry: its
// envelope is right, its body stands for a batch, which links do not look into.
func newFrame(size int, number uint64) []byte {
	body := uint32(size - wire.EnvelopeBytes)
	frame := make([]byte, 0, size)
	frame = wire.AppendBatchesEnvelope(frame, &wire.Envelope{
		Kind: wire.FrameBatches, BatchCount: uint16(max(1, (int(body)+wire.BatchBytesMax-1)/wire.BatchBytesMax)),
		WireBytes: body, PlainBytes: body, Session: 7, Number: number,
	})
	random := rand.NewChaCha8([32]byte{byte(number), byte(number >> 8), byte(size)})
	frame = frame[:size]
	_, _ = random.Read(frame[wire.EnvelopeBytes:]) // never fails
	return frame
}

// pair returns both ends of one link. They are closed with the test, or when
// the test's patience ends, so that nothing waits without end.
func pair(t testing.TB, tr link.Transport) (dialed, accepted link.Conn) {
	t.Helper()
	l := listen(t, tr)
	return pairAt(t, tr, l)
}

func pairAt(t testing.TB, tr link.Transport, l link.Listener) (dialed, accepted link.Conn) {
	t.Helper()
	dialed = dial(t, tr, l.Addr())
	accepted, err := l.Accept()
	if err != nil {
		t.Fatalf("accept: %v", err)
	}
	closeInTheEnd(t, accepted)
	return dialed, accepted
}

func listen(t testing.TB, tr link.Transport) link.Listener {
	t.Helper()
	l, err := tr.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatalf("listen: %v", err)
	}
	watchdog := time.AfterFunc(patience, func() { _ = l.Close() })
	t.Cleanup(func() { watchdog.Stop(); _ = l.Close() })
	return l
}

func dial(t testing.TB, tr link.Transport, addr string) link.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := tr.Dial(ctx, addr)
	if err != nil {
		t.Fatalf("dial: %v", err)
	}
	closeInTheEnd(t, c)
	return c
}

func closeInTheEnd(t testing.TB, c link.Conn) {
	watchdog := time.AfterFunc(patience, func() { _ = c.Close() })
	t.Cleanup(func() { watchdog.Stop(); _ = c.Close() })
}

func send(t testing.TB, c link.Conn, parts ...[]byte) {
	t.Helper()
	if err := c.Send(parts); err != nil {
		t.Fatalf("send: %v", err)
	}
}

// sendAll sends in the background, for frames that do not fit into the link
// unless someone receives. The channel yields the first error, or nil.
func sendAll(c link.Conn, frames ...[]byte) <-chan error {
	done := make(chan error, 1)
	go func() { // ends with the frames, or with the link
		for _, frame := range frames {
			if err := c.Send([][]byte{frame}); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	return done
}

func recv(t testing.TB, c link.Conn) *link.Frame {
	t.Helper()
	f, err := c.Recv()
	if err != nil {
		t.Fatalf("recv: %v", err)
	}
	return f
}

// recvSame receives a frame that must be want, and releases it.
func recvSame(t testing.TB, c link.Conn, want []byte) {
	t.Helper()
	f := recv(t, c)
	defer f.Release()
	if !bytes.Equal(f.Bytes, want) {
		t.Fatalf("received %d bytes that differ from the %d sent", len(f.Bytes), len(want))
	}
	if got := f.Envelope.FrameBytes(); got != len(want) {
		t.Fatalf("envelope says %d bytes, frame has %d", got, len(want))
	}
}

// recvError receives what must be an error of the class want.
func recvError(t testing.TB, c link.Conn, want error) {
	t.Helper()
	f, err := c.Recv()
	if err == nil {
		defer f.Release()
		t.Fatalf("recv: got a frame of %d bytes, want %v", len(f.Bytes), want)
	}
	wantError(t, err, want)
}

func wantError(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got error %v, want %v", err, want)
	}
}

func wait(t testing.TB, done <-chan error) error {
	t.Helper()
	select {
	case err := <-done:
		return err
	case <-time.After(patience):
		t.Fatal("patience ended")
		return nil
	}
}

// eventually waits for something that no channel tells.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !holds(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// descriptors counts what the process has open; ok is false where the system
// does not tell.
func descriptors() (count int, ok bool) {
	dir, err := os.ReadDir("/proc/self/fd")
	return len(dir), err == nil
}
