package linktest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/claudefs/repl/wire"
	"github.com/claudefs/repl/wire/link"
)

// Conformance is what every transport must pass; open makes a fresh one that
// listens at "127.0.0.1:0", or at what it makes of that address. The suite
// counts goroutines, descriptors and allocations of the process: do not run it
// in parallel with anything.
func Conformance(t *testing.T, open func(t *testing.T) link.Transport) {
	for _, c := range []struct {
		name string
		test func(*testing.T, link.Transport)
	}{
		{"FramesArriveInOrderAndUnchanged", framesArriveInOrder},
		{"TheLargestFrameIsCarriedAndALargerOneRefused", largestFrame},
		{"ManyPartsMakeOneFrame", manyParts},
		{"BothEndsSendAndReceiveAtOnce", bothWays},
		{"CloseUnblocksRecv", closeUnblocksRecv},
		{"CloseUnblocksSend", closeUnblocksSend},
		{"AnOrderlyCloseIsEOFBehindTheLastFrame", orderlyClose},
		{"ACloseInMidFrameIsUnexpectedEOF", closeInMidFrame},
		{"SendToAClosedPeerEnds", sendToClosedPeer},
		{"ABadEnvelopeIsRefusedBeforeTheRest", badEnvelope},
		{"ABadChecksumIsRefused", badChecksum},
		{"DialToADeadAddressFails", dialDeadAddress},
		{"DialEndsWithItsContext", dialCancelled},
		{"ListenerCloseUnblocksAcceptAndKeepsLinks", listenerClose},
		{"CloseMayBeRepeated", closeTwice},
		{"NothingStaysBehindAThousandLinks", noLeaks},
		{"FramesHoldUntilReleasedAndMemoryIsReused", framesHold},
		{"ReceivingAllocatesNothing", receiveAllocations},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, open(t)) })
	}
}

func framesArriveInOrder(t *testing.T, tr link.Transport) {
	dialed, accepted := pair(t, tr)
	// Sizes around what a reader may buffer, and tiny ones in a row.
	sizes := []int{tinyBytes, tinyBytes, 16<<10 - 1, 16 << 10, 16<<10 + 1, tinyBytes, 32 << 10, 32<<10 + 33, 1 << 20}
	var frames [][]byte
	for round := range 20 {
		for i, size := range sizes {
			frames = append(frames, newFrame(size, uint64(round*len(sizes)+i+1)))
		}
	}
	for _, ends := range [][2]link.Conn{{dialed, accepted}, {accepted, dialed}} {
		done := sendAll(ends[0], frames...)
		for _, want := range frames {
			recvSame(t, ends[1], want)
		}
		wantError(t, wait(t, done), nil)
	}
}

func largestFrame(t *testing.T, tr link.Transport) {
	dialed, accepted := pair(t, tr)
	largest := newFrame(wire.FrameBytesMax, 1)
	done := sendAll(dialed, largest, newFrame(tinyBytes, 2))
	recvSame(t, accepted, largest)
	recvSame(t, accepted, newFrame(tinyBytes, 2))
	wantError(t, wait(t, done), nil)

	wantError(t, dialed.Send([][]byte{largest, {0}}), wire.ErrLimit)
	wantError(t, accepted.Send(nil), wire.ErrLimit)
	wantError(t, accepted.Send([][]byte{{}, nil}), wire.ErrLimit)
	wantError(t, accepted.Send([][]byte{newFrame(tinyBytes, 3)}), wire.ErrLimit) // dead since
	if err := dialed.Close(); err != nil {
		t.Fatal(err)
	}
	recvError(t, accepted, io.EOF) // nothing of what was refused was sent
}

func manyParts(t *testing.T, tr link.Transport) {
	dialed, accepted := pair(t, tr)
	frame := newFrame(100_000, 1)
	var parts [][]byte
	for rest, size := frame, 0; len(rest) > 0; size = (size + 1) % 90 { // empty parts too
		n := min(size, len(rest))
		parts = append(parts, rest[:n])
		rest = rest[n:]
	}
	if len(parts) < 2000 { // more than one system call gathers
		t.Fatalf("only %d parts", len(parts))
	}
	for range 3 {
		send(t, dialed, parts...)
		recvSame(t, accepted, frame)
	}
	if !bytes.Equal(bytes.Join(parts, nil), frame) {
		t.Fatal("Send changed the caller's parts")
	}
}

func bothWays(t *testing.T, tr link.Transport) {
	dialed, accepted := pair(t, tr)
	frames := [][]byte{newFrame(wire.FrameBytesMax, 1), newFrame(tinyBytes, 2), newFrame(300_000, 3)}
	frames = append(frames, frames...)
	receive := func(c link.Conn) <-chan error {
		done := make(chan error, 1)
		go func() { // ends with the frames, or with the link
			for _, want := range frames {
				f, err := c.Recv()
				if err == nil && !bytes.Equal(f.Bytes, want) {
					err = errors.New("received what was not sent")
				}
				if err != nil {
					done <- err
					return
				}
				f.Release()
			}
			done <- nil
		}()
		return done
	}
	for _, done := range []<-chan error{
		receive(dialed), receive(accepted), sendAll(dialed, frames...), sendAll(accepted, frames...),
	} {
		wantError(t, wait(t, done), nil)
	}
}

func closeUnblocksRecv(t *testing.T, tr link.Transport) {
	dialed, accepted := pair(t, tr)
	for _, c := range []link.Conn{dialed, accepted} {
		done, started := make(chan error, 1), make(chan struct{})
		go func() { // ends with the link
			close(started)
			_, err := c.Recv()
			done <- err
		}()
		<-started
		_ = c.Close()
		err := wait(t, done)
		if c == accepted && errors.Is(err, io.EOF) {
			continue // it saw the other end's close first
		}
		wantClosed(t, err)
		_, err = c.Recv()
		wantClosed(t, err)
	}
}

func closeUnblocksSend(t *testing.T, tr link.Transport) {
	dialed, _ := pair(t, tr)
	done, sent := make(chan error, 1), make(chan struct{}, 1)
	go func() { // ends with the link, since nobody receives
		frame := [][]byte{newFrame(wire.FrameBytesMax, 1)}
		for {
			if err := dialed.Send(frame); err != nil {
				done <- err
				return
			}
			select { // not waited for: a link that was only slow goes on after blocked
			case sent <- struct{}{}:
			default:
			}
		}
	}()
	// Blocked is when nothing was sent for a while; were it only slow, Close would
	// still have to end it.
	for blocked := false; !blocked; {
		select {
		case <-sent:
		case <-time.After(100 * time.Millisecond):
			blocked = true
		}
	}
	_ = dialed.Close()
	wantClosed(t, wait(t, done))
	wantClosed(t, dialed.Send([][]byte{newFrame(tinyBytes, 1)}))
}

func wantClosed(t testing.TB, err error) {
	t.Helper()
	wantError(t, err, link.ErrClosed)
	wantError(t, err, net.ErrClosed)
}

func orderlyClose(t *testing.T, tr link.Transport) {
	dialed, accepted := pair(t, tr)
	frames := [][]byte{newFrame(tinyBytes, 1), newFrame(20_000, 2), newFrame(tinyBytes, 3)}
	wantError(t, wait(t, sendAll(dialed, frames...)), nil)
	_ = dialed.Close()
	for _, want := range frames {
		recvSame(t, accepted, want)
	}
	for range 2 {
		if _, err := accepted.Recv(); err != io.EOF {
			t.Fatalf("got %v, want io.EOF itself", err)
		}
	}
}

func closeInMidFrame(t *testing.T, tr link.Transport) {
	l := listen(t, tr)
	frame := newFrame(50_000, 1)
	for _, n := range []int{
		1, wire.EnvelopeBytes - 1, wire.EnvelopeBytes, wire.EnvelopeBytes + 1, 16 << 10, 16<<10 + 1, len(frame) - 1,
	} {
		dialed, accepted := pairAt(t, tr, l)
		send(t, dialed, newFrame(tinyBytes, 1))
		send(t, dialed, frame[:n])
		_ = dialed.Close()
		recvSame(t, accepted, newFrame(tinyBytes, 1))
		recvError(t, accepted, io.ErrUnexpectedEOF)
		recvError(t, accepted, io.ErrUnexpectedEOF)
	}
}

func sendToClosedPeer(t *testing.T, tr link.Transport) {
	dialed, accepted := pair(t, tr)
	_ = accepted.Close()
	recvError(t, dialed, io.EOF)
	// The first bytes may still find room on the way to nobody.
	frame := [][]byte{newFrame(64<<10, 1)}
	var err error
	for end := time.Now().Add(patience); err == nil && time.Now().Before(end); {
		err = dialed.Send(frame)
	}
	if !errors.Is(err, link.ErrClosed) && !errors.Is(err, link.ErrLost) {
		t.Fatalf("got %v, want ErrClosed or ErrLost", err)
	}
}

func dialDeadAddress(t *testing.T, tr link.Transport) {
	l := listen(t, tr)
	addr := l.Addr()
	_ = l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := tr.Dial(ctx, addr)
	if err == nil {
		_ = c.Close()
	}
	wantError(t, err, link.ErrUnreachable)
	wantError(t, ctx.Err(), nil)
}

func dialCancelled(t *testing.T, tr link.Transport) {
	l := listen(t, tr)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c, err := tr.Dial(ctx, l.Addr())
	if err == nil {
		_ = c.Close()
	}
	wantError(t, err, link.ErrUnreachable)
	wantError(t, err, context.Canceled)
}

func listenerClose(t *testing.T, tr link.Transport) {
	l := listen(t, tr)
	dialed, accepted := pairAt(t, tr, l)
	done, started := make(chan error, 1), make(chan struct{})
	go func() { // ends with the listener
		close(started)
		_, err := l.Accept()
		done <- err
	}()
	<-started
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	wantClosed(t, wait(t, done))
	_, err := l.Accept()
	wantClosed(t, err)
	send(t, dialed, newFrame(tinyBytes, 1))
	recvSame(t, accepted, newFrame(tinyBytes, 1))
}

func closeTwice(t *testing.T, tr link.Transport) {
	l := listen(t, tr)
	dialed, accepted := pairAt(t, tr, l)
	for range 2 {
		for _, c := range []io.Closer{dialed, accepted, l} {
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if dialed.LocalAddr() == "" || dialed.RemoteAddr() == "" {
		t.Fatal("a closed link has forgotten its addresses")
	}
}
