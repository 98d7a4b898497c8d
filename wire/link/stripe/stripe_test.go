package stripe

import (
	"context"
	"errors"
	"io"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/wire"
	"github.com/claudefs/repl/wire/link"
	"github.com/claudefs/repl/wire/link/faultproxy"
	"github.com/claudefs/repl/wire/link/linktest"
	"github.com/claudefs/repl/wire/link/tcp"
)

func open(t *testing.T, streams int) *Transport {
	t.Helper()
	inner, err := tcp.New(tcp.Options{})
	require.NoError(t, err)
	s, err := New(inner, streams)
	require.NoError(t, err)
	return s
}

func TestThreeConnectionsAreOneLink(t *testing.T) {
	linktest.Conformance(t, func(t *testing.T) link.Transport { return open(t, 3) })
}

func TestThreeConnectionsAreOneLinkThroughAProxy(t *testing.T) {
	linktest.Conformance(t, func(t *testing.T) link.Transport { return linktest.Proxied(t, open(t, 3)) })
}

func TestNumbersThatNoLinkHasAreRefused(t *testing.T) {
	for _, n := range []int{-1, 0, wire.StreamsMax + 1} {
		_, err := New(nil, n)
		require.ErrorContains(t, err, "want 1 to 64")
	}
}

// heartbeat is some frame.
func heartbeat(number uint64) []byte {
	return (&wire.Heartbeat{Number: number}).AppendTo(nil, 1)
}

// rig is a listener with the limits of a test, and who dials it.
type rig struct {
	*listener
	t     *testing.T
	inner link.Transport
	pool  *link.Pool
}

func newRig(t *testing.T, l limits) *rig { return newJudgedRig(t, l, nil) }

func newJudgedRig(t *testing.T, l limits, adopt Adopt) *rig {
	pool := new(link.Pool)
	inner, err := tcp.New(tcp.Options{Pool: pool})
	require.NoError(t, err)
	socket, err := inner.Listen("127.0.0.1:0")
	require.NoError(t, err)
	r := &rig{newListener(socket, l, adopt), t, inner, pool}
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	return r
}

func (r *rig) dial(frames ...[]byte) link.Conn {
	r.t.Helper()
	c, err := r.inner.Dial(r.t.Context(), r.Addr())
	require.NoError(r.t, err)
	r.t.Cleanup(func() { _ = c.Close() })
	for _, f := range frames {
		require.NoError(r.t, c.Send([][]byte{f}))
	}
	return c
}

// ended waits until the other end has closed or reset a connection.
func (r *rig) ended(c link.Conn) {
	r.t.Helper()
	watchdog := time.AfterFunc(time.Minute, func() { _ = c.Close() })
	defer watchdog.Stop()
	_, err := c.Recv()
	require.Error(r.t, err)
	require.False(r.t, errors.Is(err, link.ErrClosed), "nobody ended it: %v", err)
}

func TestLinkOfOneConnectionIsTakenAsItIs(t *testing.T) {
	r := newRig(t, limitsDefault)
	dialed := r.dial(heartbeat(1), heartbeat(2))
	c, err := r.Accept()
	require.NoError(t, err)
	defer c.Close()
	for range 2 {
		f, err := c.Recv()
		require.NoError(t, err)
		require.Equal(t, wire.FrameHeartbeat, f.Envelope.Kind)
		f.Release()
	}
	require.Zero(t, link.InfoOf(c).Streams)
	require.Equal(t, "tcp", link.InfoOf(c).Transport)
	require.NoError(t, dialed.Close())
	_, err = c.Recv()
	require.ErrorIs(t, err, io.EOF)
}

func TestLinkSaysHowManyConnectionsItHas(t *testing.T) {
	tr := open(t, 4)
	l, err := tr.Listen("127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	dialed, err := tr.Dial(t.Context(), l.Addr())
	require.NoError(t, err)
	defer dialed.Close()
	accepted, err := l.Accept()
	require.NoError(t, err)
	defer accepted.Close()
	for _, c := range []link.Conn{dialed, accepted} {
		info := c.(link.Informer).Info()
		require.Equal(t, 4, info.Streams)
		require.Equal(t, "tcp", info.Transport)
	}
}

// I11: what does not fit ends before anybody learns of it.
func TestJoinThatDoesNotFitEndsItsLink(t *testing.T) {
	join := func(streams, stream uint16) []byte {
		return (&wire.Join{Link: [16]byte{9}, Streams: streams, Stream: stream}).AppendTo(nil, 0)
	}
	for _, c := range []struct {
		name          string
		first, second []byte
	}{
		{"twice the same", join(2, 0), join(2, 0)},
		{"another count", join(3, 0), join(2, 1)},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, limitsDefault)
			one := r.dial(c.first)
			two := r.dial(c.second)
			r.ended(one)
			r.ended(two)
		})
	}
	r := newRig(t, limitsDefault)
	r.ended(r.dial(join(1, 0))) // A join that decoding refuses.
}

// I10: connections that are no link yet are bounded, in number and in time; the oldest
// silent one makes room.
func TestConnectionsThatAreNoLinkYetAreBounded(t *testing.T) {
	r := newRig(t, limits{count: 2, wait: time.Hour})
	silent := r.dial()
	half := r.dial((&wire.Join{Streams: 2}).AppendTo(nil, 0))
	for r.light.Len() < 2 {
		runtime.Gosched()
	}
	last := r.dial()
	r.ended(silent)
	require.Equal(t, 2, r.light.Len())
	require.NoError(t, r.Close())
	r.ended(half)
	r.ended(last)

	r = newRig(t, limits{count: 2, wait: time.Millisecond})
	r.ended(r.dial())
	r.ended(r.dial((&wire.Join{Streams: 2}).AppendTo(nil, 0)))
	r.dial(heartbeat(1)) // There is room again.
}

// I10: so are those that have said something and that nobody accepts.
func TestLinksThatNobodyAcceptsAreBounded(t *testing.T) {
	r := newRig(t, limits{count: 2, wait: time.Hour})
	r.dial(heartbeat(1))
	r.dial(heartbeat(1))
	for r.light.Spoken() < 2 {
		runtime.Gosched()
	}
	r.ended(r.dial(heartbeat(1)))
	for range 2 {
		c, err := r.Accept()
		require.NoError(t, err)
		defer c.Close()
	}
	r.dial(heartbeat(2)) // There is room again.
	c, err := r.Accept()
	require.NoError(t, err)
	require.NoError(t, c.Close())
}

// I11: 32 bytes of a stranger claim no megabytes.
func TestLargeFirstFrameTakesNoMemory(t *testing.T) {
	r := newRig(t, limitsDefault)
	largest := make([]byte, wire.FrameBytesMax-wire.EnvelopeBytes)
	envelope := wire.AppendBatchesEnvelope(nil, &wire.Envelope{
		Kind: wire.FrameBatches, BatchCount: 4, WireBytes: uint32(len(largest)), Session: 1, Number: 1,
	})
	r.ended(r.dial(envelope))
	held, idle := r.pool.Memory()
	require.Zero(t, held+idle)

	dialed := r.dial(heartbeat(1)) // Who was admitted may send any frame.
	c, err := r.Accept()
	require.NoError(t, err)
	defer c.Close()
	sent := make(chan error, 1)
	go func() { sent <- dialed.Send([][]byte{envelope, largest}) }() // ends with the frame, or with the link
	for _, kind := range []wire.FrameKind{wire.FrameHeartbeat, wire.FrameBatches} {
		f, err := c.Recv()
		require.NoError(t, err)
		require.Equal(t, kind, f.Envelope.Kind)
		f.Release()
	}
	require.NoError(t, <-sent)
}

// I10: the pool has everything back of a link that was closed unread.
func TestFirstFrameThatNobodyReceivesIsGivenBack(t *testing.T) {
	r := newRig(t, limitsDefault)
	r.dial(heartbeat(1))
	c, err := r.Accept()
	require.NoError(t, err)
	require.NoError(t, c.Close())
	_, err = c.Recv()
	require.ErrorIs(t, err, link.ErrClosed)
	held, _ := r.pool.Memory()
	require.Zero(t, held)
}

// tardy is a listener of one connection, whose first frame comes when it is closed.
type tardy struct {
	link.Conn
	pool           link.Pool
	accept         chan link.Conn
	closed, ending chan struct{}
	once, over     sync.Once
}

func (c *tardy) Recv() (*link.Frame, error) {
	<-c.closed
	return c.pool.Take(100), nil
}

func (c *tardy) Close() error {
	c.once.Do(func() { close(c.closed) })
	return nil
}

func (c *tardy) RemoteAddr() string { return "" }

// tardyListener accepts it.
type tardyListener struct{ *tardy }

func (l tardyListener) Accept() (link.Conn, error) {
	select {
	case c := <-l.accept:
		return c, nil
	case <-l.ending:
		return nil, link.ErrClosed
	}
}

func (l tardyListener) Addr() string { return "" }

func (l tardyListener) Close() error {
	l.over.Do(func() { close(l.ending) })
	return nil
}

func TestFirstFrameThatComesTooLateIsGivenBack(t *testing.T) {
	c := &tardy{accept: make(chan link.Conn, 1), closed: make(chan struct{}), ending: make(chan struct{})}
	c.accept <- c
	l := newListener(tardyListener{c}, limits{count: 1, wait: time.Millisecond}, nil)
	<-c.closed // by the timer
	require.NoError(t, l.Close())
	held, _ := c.pool.Memory()
	require.Zero(t, held)
}

func TestListenerThatClosesEndsWhatNobodyAccepted(t *testing.T) {
	r := newRig(t, limitsDefault)
	ready, silent := r.dial(heartbeat(1)), r.dial()
	require.NoError(t, r.Close())
	r.ended(ready)
	r.ended(silent)
	_, err := r.Accept()
	require.ErrorIs(t, err, link.ErrClosed)
}

// Each connection may have 128 KiB under way, for 40 ms: 3.3 MB/s.
func TestSeveralConnectionsFillAPathThatOneCannot(t *testing.T) {
	carry := func(streams int) time.Duration {
		tr := open(t, streams)
		l, err := tr.Listen("127.0.0.1:0")
		require.NoError(t, err)
		defer l.Close()
		proxy, err := faultproxy.New(l.Addr())
		require.NoError(t, err)
		defer proxy.Close()
		proxy.Delay(faultproxy.ToTarget, 40*time.Millisecond)
		proxy.Window(faultproxy.ToTarget, 128<<10)
		dialed, err := tr.Dial(context.Background(), proxy.Addr())
		require.NoError(t, err)
		defer dialed.Close()
		go func() { // ends with the link, or when all was sent
			if dialed.Send([][]byte{heartbeat(1)}) != nil { // what comes first is small
				return
			}
			body := make([]byte, 64<<10)
			envelope := wire.Envelope{Kind: wire.FrameBatches, BatchCount: 1, WireBytes: uint32(len(body)), Session: 1}
			for envelope.Number = 1; envelope.Number <= 128; envelope.Number++ {
				if dialed.Send([][]byte{wire.AppendBatchesEnvelope(nil, &envelope), body}) != nil {
					return
				}
			}
		}()
		accepted, err := l.Accept()
		require.NoError(t, err)
		defer accepted.Close()
		f, err := accepted.Recv()
		require.NoError(t, err)
		f.Release()
		begin := time.Now()
		for number := range uint64(128) {
			f, err := accepted.Recv()
			require.NoError(t, err)
			require.Equal(t, number+1, f.Envelope.Number, "I4")
			f.Release()
		}
		return time.Since(begin)
	}
	one, eight := carry(1), carry(8)
	t.Logf("8 MiB over one connection in %v, over eight in %v", one, eight)
	require.Greater(t, one, 2*eight)
}
