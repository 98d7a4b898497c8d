package linktest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/claudefs/repl/wire/link"
)

const (
	// pipeBytes is how much one direction of a memory link holds before Send
	// blocks. Small enough that a frame of the largest size meets the bound.
	pipeBytes = 256 << 10
	// backlogMax is how many links a listener holds that nobody accepted yet.
	backlogMax = 128
)

// Memory is a transport within one process: addresses are names, links are
// bounded pipes of bytes. It waits on channels and conditions alone, so it runs
// in testing/synctest bubbles; make it inside the bubble. Its methods may be
// called by any goroutine.
type Memory struct {
	pool link.Pool

	mu        sync.Mutex
	listeners map[string]*memoryListener
	named     int // for addresses and the dialers' names
}

var _ link.Transport = (*Memory)(nil)

// NewMemory returns a transport with no listeners. Two of them do not see each
// other.
func NewMemory() *Memory {
	return &Memory{listeners: make(map[string]*memoryListener)}
}

// Name implements link.Transport.
func (m *Memory) Name() string { return "memory" }

// Listen implements link.Transport. Any name will do; an empty one, and one
// that ends in ":0", picks a free name.
func (m *Memory) Listen(addr string) (link.Listener, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, port, err := net.SplitHostPort(addr); addr == "" || (err == nil && port == "0") {
		m.named++
		addr = fmt.Sprintf("memory:%d", m.named)
	}
	if m.listeners[addr] != nil {
		return nil, fmt.Errorf("memory address %q is taken", addr)
	}
	l := &memoryListener{memory: m, addr: addr, backlog: make(chan *memoryConn, backlogMax)}
	m.listeners[addr] = l
	return l, nil
}

// Dial implements link.Transport. It never waits.
func (m *Memory) Dial(ctx context.Context, addr string) (link.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("%w: %q: %w", link.ErrUnreachable, addr, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.listeners[addr]
	if l == nil {
		return nil, fmt.Errorf("%w: nobody listens at %q", link.ErrUnreachable, addr)
	}
	m.named++
	name := fmt.Sprintf("dialer:%d", m.named)
	there, back := newPipe(pipeBytes), newPipe(pipeBytes)
	far := &memoryConn{in: there, out: back, local: addr, remote: name, reader: link.NewReader(there, &m.pool)}
	select {
	case l.backlog <- far:
	default:
		return nil, fmt.Errorf("%w: %q has %d links that nobody accepted", link.ErrUnreachable, addr, backlogMax)
	}
	return &memoryConn{in: back, out: there, local: name, remote: addr, reader: link.NewReader(back, &m.pool)}, nil
}

type memoryListener struct {
	memory  *Memory
	addr    string
	backlog chan *memoryConn // sent to and closed under memory.mu
}

func (l *memoryListener) Accept() (link.Conn, error) {
	c, ok := <-l.backlog
	if !ok {
		return nil, fmt.Errorf("accept at %s: %w", l.addr, link.ErrClosed)
	}
	return c, nil
}

func (l *memoryListener) Addr() string { return l.addr }

// Close also closes the links that nobody accepted.
func (l *memoryListener) Close() error {
	l.memory.mu.Lock()
	defer l.memory.mu.Unlock()
	if l.memory.listeners[l.addr] != l {
		return nil
	}
	delete(l.memory.listeners, l.addr)
	close(l.backlog)
	for c := range l.backlog {
		_ = c.Close() // never fails
	}
	return nil
}

type memoryConn struct {
	in, out       *pipe
	local, remote string
	reader        *link.Reader
	sendErr       error // for the sending goroutine
}

func (c *memoryConn) Send(parts [][]byte) error {
	if c.sendErr != nil && !c.in.readerGone() {
		return c.sendErr
	}
	if err := link.CheckParts(parts); err != nil {
		c.sendErr = fmt.Errorf("link with %s: %w", c.remote, err)
		return c.sendErr
	}
	for _, part := range parts {
		if err := c.out.write(part); err != nil {
			c.sendErr = fmt.Errorf("link with %s: %w", c.remote, err)
			return c.sendErr
		}
	}
	return nil
}

func (c *memoryConn) Recv() (*link.Frame, error) {
	if c.in.readerGone() {
		return nil, fmt.Errorf("link with %s: %w", c.remote, link.ErrClosed)
	}
	f, err := c.reader.Next()
	switch {
	case err == nil:
		return f, nil
	case errors.Is(err, link.ErrClosed), c.in.readerGone():
		return nil, fmt.Errorf("link with %s: %w", c.remote, link.ErrClosed)
	}
	return nil, err
}

func (c *memoryConn) Close() error {
	c.in.closeReader()
	c.out.closeWriter()
	return nil
}

func (c *memoryConn) LocalAddr() string  { return c.local }
func (c *memoryConn) RemoteAddr() string { return c.remote }
