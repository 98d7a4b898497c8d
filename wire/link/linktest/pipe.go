package linktest

import (
	"io"
	"sync"

	"github.com/claudefs/repl/wire/link"
)

// pipe is one direction of a memory link: a ring of bytes between one writer
// and one reader, who wait for each other on a condition.
type pipe struct {
	mu           sync.Mutex
	changed      sync.Cond
	ring         []byte
	lo, n        int // ring[lo:lo+n], going round, is written and not yet read
	readerClosed bool
	writerClosed bool
}

func newPipe(bytes int) *pipe {
	p := &pipe{ring: make([]byte, bytes)}
	p.changed.L = &p.mu
	return p
}

// Read waits for bytes. What was written before the writer closed is still
// read, then comes io.EOF.
func (p *pipe) Read(dst []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.n == 0 && !p.writerClosed && !p.readerClosed {
		p.changed.Wait()
	}
	switch {
	case p.readerClosed:
		return 0, link.ErrClosed
	case p.n == 0:
		return 0, io.EOF
	}
	read := 0
	for p.n > 0 && read < len(dst) {
		c := copy(dst[read:], p.ring[p.lo:min(p.lo+p.n, len(p.ring))])
		read += c
		p.n -= c
		p.lo = (p.lo + c) % len(p.ring)
	}
	p.changed.Broadcast()
	return read, nil
}

// write waits for room until all of src is in the ring.
func (p *pipe) write(src []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(src) > 0 {
		for p.n == len(p.ring) && !p.writerClosed && !p.readerClosed {
			p.changed.Wait()
		}
		if p.writerClosed || p.readerClosed {
			return link.ErrClosed
		}
		at := (p.lo + p.n) % len(p.ring)
		c := copy(p.ring[at:min(at+len(p.ring)-p.n, len(p.ring))], src)
		p.n += c
		src = src[c:]
		p.changed.Broadcast()
	}
	return nil
}

func (p *pipe) closeReader() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.readerClosed = true
	p.changed.Broadcast()
}

func (p *pipe) closeWriter() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.writerClosed = true
	p.changed.Broadcast()
}

func (p *pipe) readerGone() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.readerClosed
}
