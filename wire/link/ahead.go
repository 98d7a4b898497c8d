package link

import (
	"sync/atomic"

	"github.com/claudefs/repl/wire"
)

// readAheadBytes is what a Reader may read beyond the frame it needs, in one
// system call: about a hundred frames of 160 bytes.
const readAheadBytes = 16 << 10

// aheadBytes has room for two such reads, so that at least half of the memory is
// used before a frame that is cut short moves on to the next.
const aheadBytes = 2 * readAheadBytes

// What a pool keeps of it, unused: 2 MiB, and the frames of a full one.
const (
	aheadsIdleMax = 64
	smallIdleMax  = 4096
)

// ahead is memory that small frames are read into, and stay in: their bytes are
// copied nowhere. It comes from the Go heap, so that a Reader that is dropped
// midway leaves nothing behind.
type ahead struct {
	bytes []byte
	refs  atomic.Int32 // its reader, and each frame that lies in it
	taken bool         // the reader's: a frame answers for it, see Frame.MemoryBytes
}

// takeAhead lends a read-ahead with one reference.
func (p *Pool) takeAhead() *ahead {
	p.mu.Lock()
	defer p.mu.Unlock()
	var a *ahead
	if last := len(p.aheads) - 1; last >= 0 {
		a, p.aheads = p.aheads[last], p.aheads[:last]
	} else {
		a = &ahead{bytes: make([]byte, aheadBytes)}
	}
	a.refs.Store(1)
	a.taken = false
	return a
}

// drop gives up a reference.
func (p *Pool) drop(a *ahead) {
	if a.refs.Add(-1) > 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.aheads) < aheadsIdleMax && !p.drained {
		p.aheads = append(p.aheads, a)
	}
}

// cut lends a frame that lies at [lo, hi) of a read-ahead.
func (p *Pool) cut(a *ahead, e *wire.Envelope, lo, hi int) *Frame {
	f := p.takeSmall(hi - lo)
	f.Envelope, f.Bytes, f.ahead = *e, a.bytes[lo:hi:hi], a
	if kept := e.Kind == wire.FrameBatches || e.Kind == wire.FrameFetched; kept && !a.taken {
		a.taken = true
		f.costs = len(a.bytes)
	}
	a.refs.Add(1)
	f.refs.Store(1)
	return f
}

func (p *Pool) takeSmall(size int) *Frame {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.heldBytes += size
	last := len(p.small) - 1
	if last < 0 {
		return &Frame{pool: p}
	}
	f := p.small[last]
	p.small = p.small[:last]
	return f
}

// putSmall takes back a frame that nobody holds any more.
func (p *Pool) putSmall(f *Frame) {
	a, size := f.ahead, len(f.Bytes)
	f.Envelope, f.Bytes, f.ahead, f.costs = wire.Envelope{}, nil, nil, 0
	p.mu.Lock()
	p.heldBytes -= size
	if len(p.small) < smallIdleMax && !p.drained {
		p.small = append(p.small, f)
	}
	p.mu.Unlock()
	p.drop(a)
}
