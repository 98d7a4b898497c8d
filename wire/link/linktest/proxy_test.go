package linktest

import (
	"bytes"
	"io"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/claudefs/repl/wire"
	"github.com/claudefs/repl/wire/link"
	"github.com/claudefs/repl/wire/link/tcp"
)

func newTCP(t testing.TB) link.Transport {
	t.Helper()
	tr, err := tcp.New(tcp.Options{})
	wantError(t, err, nil)
	return tr
}

func TestTCPThroughAFaultlessProxyConforms(t *testing.T) {
	Conformance(t, func(t *testing.T) link.Transport { return proxied{newTCP(t), t} })
}

// throughProxy returns both ends of a TCP link and the proxy between them.
func throughProxy(t *testing.T) (p *Proxy, dialed, accepted link.Conn) {
	t.Helper()
	l, err := proxied{newTCP(t), t}.Listen("127.0.0.1:0")
	wantError(t, err, nil)
	t.Cleanup(func() { _ = l.Close() })
	dialed, accepted = pairAt(t, newTCP(t), l)
	return l.(proxiedListener).proxy, dialed, accepted
}

func TestDelayPostponesEachDirectionAndKeepsOrder(t *testing.T) {
	p, dialed, accepted := throughProxy(t)
	p.Delay(ToTarget, 40*time.Millisecond)
	p.Delay(FromTarget, 20*time.Millisecond)
	begin := time.Now()
	for i := range uint64(50) {
		send(t, dialed, newFrame(tinyBytes, i+1))
	}
	for i := range uint64(50) {
		recvSame(t, accepted, newFrame(tinyBytes, i+1))
	}
	if passed := time.Since(begin); passed < 40*time.Millisecond {
		t.Fatalf("arrived after %v", passed)
	}
	send(t, accepted, newFrame(tinyBytes, 1))
	recvSame(t, dialed, newFrame(tinyBytes, 1))
	if passed := time.Since(begin); passed < 60*time.Millisecond {
		t.Fatalf("round trip took %v", passed)
	}
}

func TestBandwidthIsSharedByAllLinks(t *testing.T) {
	p, dialed, accepted := throughProxy(t)
	const bytesPerSecond, frameBytes = 4 << 20, 512 << 10
	p.Bandwidth(ToTarget, bytesPerSecond)
	begin := time.Now()
	for i := range uint64(2) {
		done := sendAll(dialed, newFrame(frameBytes, i+1))
		recvSame(t, accepted, newFrame(frameBytes, i+1))
		wantError(t, wait(t, done), nil)
	}
	if passed, least := time.Since(begin), 250*time.Millisecond; passed < least {
		t.Fatalf("1 MiB took %v, want at least %v", passed, least)
	}
	if got := p.Bytes(ToTarget); got != 2*frameBytes {
		t.Fatalf("counted %d bytes, want %d", got, 2*frameBytes)
	}
	if got := p.Bytes(FromTarget); got != 0 {
		t.Fatalf("counted %d bytes back", got)
	}
}

func TestOneWayCutSilencesOneDirectionUntilHealed(t *testing.T) {
	p, dialed, accepted := throughProxy(t)
	p.Cut(ToTarget)
	send(t, dialed, newFrame(tinyBytes, 1))
	send(t, accepted, newFrame(tinyBytes, 2))
	recvSame(t, dialed, newFrame(tinyBytes, 2)) // the other way works
	if n := p.Bytes(ToTarget); n != 0 {
		t.Fatalf("%d bytes crossed the cut", n)
	}
	p.Heal()
	recvSame(t, accepted, newFrame(tinyBytes, 1))
}

func TestCutHidesEvenTheCloseOfTheOtherEnd(t *testing.T) {
	p, dialed, accepted := throughProxy(t)
	p.Cut(Both)
	send(t, dialed, newFrame(tinyBytes, 1))
	_ = dialed.Close()
	got := make(chan error, 1)
	go func() { // ends with the link
		f, err := accepted.Recv()
		if err == nil {
			f.Release()
		}
		got <- err
	}()
	select {
	case err := <-got:
		t.Fatalf("the cut let something through: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	p.Heal()
	wantError(t, wait(t, got), nil)
	recvError(t, accepted, io.EOF)
}

func TestResetIsALostLinkAtBothEnds(t *testing.T) {
	p, dialed, accepted := throughProxy(t)
	p.Reset()
	for _, c := range []link.Conn{dialed, accepted} {
		recvError(t, c, link.ErrLost)
		recvError(t, c, link.ErrLost)
	}
}

func TestHalfAFrameAndAResetIsALostLink(t *testing.T) {
	for _, n := range []int64{0, 1, wire.EnvelopeBytes - 1, wire.EnvelopeBytes, 1000} {
		p, dialed, accepted := throughProxy(t)
		send(t, dialed, newFrame(tinyBytes, 1))
		recvSame(t, accepted, newFrame(tinyBytes, 1))
		p.ResetAfter(ToTarget, n)
		send(t, dialed, newFrame(2000, 2))
		recvError(t, accepted, link.ErrLost)
		recvError(t, dialed, link.ErrLost)
		if got := p.Bytes(ToTarget); got != tinyBytes+n {
			t.Fatalf("%d bytes went through, want %d", got, tinyBytes+n)
		}
	}
}

func TestRefusedLinksAreLostUntilHealed(t *testing.T) {
	p, dialed, accepted := throughProxy(t)
	p.Refuse()
	recvError(t, dialed, link.ErrLost)
	recvError(t, accepted, link.ErrLost)
	tr := newTCP(t)
	wantTurnedAway(t, tr, p.Addr())
	l := listen(t, tr)
	p.Heal()
	p.SetTarget(l.Addr())
	dialed = dial(t, tr, p.Addr())
	accepted, err := l.Accept()
	wantError(t, err, nil)
	closeInTheEnd(t, accepted)
	send(t, dialed, newFrame(tinyBytes, 1))
	recvSame(t, accepted, newFrame(tinyBytes, 1))
}

func TestAbsentTargetIsALostLink(t *testing.T) {
	tr := newTCP(t)
	l := listen(t, tr)
	wantError(t, l.Close(), nil)
	p, err := NewProxy(l.Addr())
	wantError(t, err, nil)
	defer p.Close()
	wantTurnedAway(t, tr, p.Addr())
}

// wantTurnedAway dials a proxy that resets what it accepts, which may be seen
// while dialing or after.
func wantTurnedAway(t *testing.T, tr link.Transport, addr string) {
	t.Helper()
	c, err := tr.Dial(t.Context(), addr)
	if err != nil {
		wantError(t, err, link.ErrUnreachable)
		return
	}
	closeInTheEnd(t, c)
	recvError(t, c, link.ErrLost)
}

// I9: whatever byte is changed on the way, no frame arrives that looks intact
// and is not, and the change does not go unnoticed.
func TestEveryFlippedByteIsDetected(t *testing.T) {
	heartbeat := wire.Heartbeat{Clock: 5, LastStamp: 6, Number: 7}
	control := heartbeat.AppendTo(nil, 7)
	ack := (&wire.Ack{Level: wire.LevelDurable, Number: 9}).AppendTo(nil, 7)
	frames := [][]byte{control, newFrame(tinyBytes, 1)[:wire.EnvelopeBytes], ack}
	stream := bytes.Join(frames, nil)
	// The middle frame is an envelope and a body that no link checks: leave the
	// body out of the flips, its digests are package wire's.
	body := newFrame(tinyBytes, 1)[wire.EnvelopeBytes:]
	bodyAt := len(control) + wire.EnvelopeBytes
	stream = append(append(bytes.Clone(stream[:bodyAt]), body...), ack...)

	tr := newTCP(t)
	l, err := proxied{tr, t}.Listen("127.0.0.1:0")
	wantError(t, err, nil)
	p := l.(proxiedListener).proxy
	random := rand.New(rand.NewPCG(1, 2))
	for offset := range len(stream) {
		if offset >= bodyAt && offset < bodyAt+len(body) {
			continue
		}
		dialed, accepted := pairAt(t, tr, l)
		p.Flip(ToTarget, int64(offset), byte(1+random.IntN(255)))
		send(t, dialed, stream)
		_ = dialed.Close()
		if !noticesDamage(t, accepted, control, stream[len(control):bodyAt+len(body)], ack) {
			t.Fatalf("byte %d was changed and nobody noticed", offset)
		}
		_ = accepted.Close()
	}
}

// noticesDamage receives until an error; each frame before it must be as sent.
func noticesDamage(t *testing.T, c link.Conn, sent ...[]byte) bool {
	t.Helper()
	for i := 0; ; i++ {
		f, err := c.Recv()
		if err != nil {
			return err != io.EOF || i < len(sent)
		}
		if i >= len(sent) || !bytes.Equal(f.Bytes, sent[i]) {
			t.Fatalf("frame %d arrived damaged as if intact", i)
		}
		f.Release()
	}
}

func TestClosedProxyLeavesNothingBehind(t *testing.T) {
	tr := newTCP(t)
	l := listen(t, tr)
	goroutines := runtime.NumGoroutine()
	open, _ := descriptors()
	for round := range 20 {
		p, err := NewProxy(l.Addr())
		wantError(t, err, nil)
		if round%2 == 0 { // held before the target is dialed
			p.Cut(FromTarget)
			c := dial(t, tr, p.Addr())
			send(t, c, newFrame(tinyBytes, 1))
			wantError(t, p.Close(), nil)
			recvError(t, c, link.ErrLost)
			_ = c.Close()
			continue
		}
		c := dial(t, tr, p.Addr())
		peer, err := l.Accept()
		wantError(t, err, nil)
		closeInTheEnd(t, peer)
		send(t, c, newFrame(tinyBytes, 1))
		recvSame(t, peer, newFrame(tinyBytes, 1))
		p.Delay(Both, time.Hour)
		send(t, c, newFrame(tinyBytes, 2)) // under way for ever
		wantError(t, p.Close(), nil)
		wantError(t, p.Close(), nil)
		for _, end := range []link.Conn{c, peer} {
			recvError(t, end, link.ErrLost)
			_ = end.Close()
		}
	}
	eventually(t, "goroutines at the baseline", func() bool { return runtime.NumGoroutine() <= goroutines })
	eventually(t, "descriptors at the baseline", func() bool { n, _ := descriptors(); return n <= open })
}
