package faultproxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// Direction names the two ways through a Proxy. As a set of both, use Both.
type Direction int

const (
	ToTarget   Direction = 1 // from who dialed to the target
	FromTarget Direction = 2
	Both       Direction = ToTarget | FromTarget
)

// Proxy is a faulty path for real sockets: it listens at a free local port and
// forwards each connection to a target. The faults are set while it runs and
// hold for all its connections, present and to come, like those of one cable.
// Its methods may be called by any goroutine.
type Proxy struct {
	listener net.Listener
	stop     context.CancelFunc
	running  sync.WaitGroup
	ways     [2]*way // ToTarget, FromTarget

	mu      sync.Mutex
	target  string
	refuse  bool
	closed  bool
	tunnels map[*tunnel]struct{}
}

// New starts a proxy without faults in front of target, host:port, which
// need not be there yet. Close it.
func New(target string) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("proxy for %s: %w", target, err)
	}
	ctx, stop := context.WithCancel(context.Background())
	p := &Proxy{
		listener: l, stop: stop, target: target,
		ways: [2]*way{newWay(), newWay()}, tunnels: make(map[*tunnel]struct{}),
	}
	p.running.Go(func() { p.accept(ctx) }) // ends with the listener
	return p, nil
}

// Addr is where to dial instead of the target.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// SetTarget leads connections to come elsewhere; a restarted process may have
// another port.
func (p *Proxy) SetTarget(addr string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = addr
}

// Delay sets the latency of a direction; both directions together make the
// round trip. Order is kept. A tunnel holds up to 16 MiB under way in each
// direction: at d seconds it carries no more than 16 MiB / d.
func (p *Proxy) Delay(d Direction, latency time.Duration) {
	p.each(d, func(s *faults) { s.delay = latency })
}

// Bandwidth sets how many bytes a second all connections together may carry in
// a direction; 0 takes the limit away. At most 100 ms of it are queued.
func (p *Proxy) Bandwidth(d Direction, bytesPerSecond int64) {
	p.each(d, func(s *faults) { s.bandwidth = bytesPerSecond })
}

// Window sets how many bytes each connection may have under way in a direction, as
// the memory that a system grants its sockets does; 0 takes the limit away. With a
// delay of d seconds a connection carries no more than window / d.
func (p *Proxy) Window(d Direction, bytes int64) {
	p.each(d, func(s *faults) { s.window = bytes })
}

// Cut silences a direction: connections stay open, nothing more arrives, not
// even a close. What was sent meanwhile arrives after Heal, as TCP would send it
// again. Dialing during a cut of either direction seems to succeed, and the
// target learns of it after Heal: the listener's backlog does the same.
func (p *Proxy) Cut(d Direction) { p.each(d, func(s *faults) { s.cut = true }) }

// Refuse resets all connections, and each new one at once, until Heal.
func (p *Proxy) Refuse() {
	p.mu.Lock()
	p.refuse = true
	p.mu.Unlock()
	p.Reset()
}

// Heal ends every fault that Delay, Bandwidth, Window, Cut and Refuse began.
func (p *Proxy) Heal() {
	p.mu.Lock()
	p.refuse = false
	p.mu.Unlock()
	p.each(Both, func(s *faults) { s.delay, s.bandwidth, s.window, s.cut = 0, 0, 0, false })
}

// Reset breaks all present connections with a TCP reset at both ends.
func (p *Proxy) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for t := range p.tunnels {
		t.reset()
	}
}

// ResetAfter lets n more bytes of a direction through and then resets the
// connection that carried them, once. With an n inside a frame the receiver has
// half of it.
func (p *Proxy) ResetAfter(d Direction, n int64) {
	p.each(d, func(s *faults) { s.resetArmed, s.resetAt = true, s.bytes+n })
}

// Flip changes the bits of mask in the byte that comes after n more bytes of a
// direction, once.
func (p *Proxy) Flip(d Direction, n int64, mask byte) {
	p.each(d, func(s *faults) { s.flipMask, s.flipAt = mask, s.bytes+n })
}

// Bytes returns how many bytes a direction has forwarded so far; of Both, the
// sum.
func (p *Proxy) Bytes(d Direction) int64 {
	var sum int64
	p.each(d, func(s *faults) { sum += s.bytes })
	return sum
}

// StopListening turns new connections away; those there are live on. It may be
// repeated.
func (p *Proxy) StopListening() {
	_ = p.listener.Close() // fails when repeated
}

// Close stops listening, resets what is open and waits for all goroutines. A
// target that is just being dialed sees an orderly close without a byte.
func (p *Proxy) Close() error {
	err := p.listener.Close()
	p.stop()
	p.mu.Lock()
	p.closed = true
	for t := range p.tunnels {
		t.reset()
	}
	p.mu.Unlock()
	p.running.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func (p *Proxy) each(d Direction, change func(*faults)) {
	for i, w := range p.ways {
		if d&(1<<i) != 0 {
			w.change(change)
		}
	}
}

func (p *Proxy) accept(ctx context.Context) {
	for {
		near, err := p.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // no descriptors left, say: give others the time to close some
			select {
			case <-ctx.Done():
				return
			case <-time.After(10 * time.Millisecond):
			}
			continue
		}
		t := newTunnel(near.(*net.TCPConn))
		if !p.admit(t) {
			t.reset()
			t.release()
			continue
		}
		p.running.Go(func() { // ends with the tunnel, which Close resets
			t.run(ctx, p)
			p.forget(t)
		})
	}
}

func (p *Proxy) admit(t *tunnel) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refuse || p.closed {
		return false
	}
	p.tunnels[t] = struct{}{}
	return true
}

func (p *Proxy) forget(t *tunnel) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.tunnels, t)
}

func (p *Proxy) targetNow() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.target
}
