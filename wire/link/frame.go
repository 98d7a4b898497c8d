package link

import (
	"fmt"
	"math/bits"
	"sync"
	"sync/atomic"

	"github.com/claudefs/repl/wire"
)

// Frame is one received frame. It counts references, so that the journal can
// write from it while others still read. Its bytes are read-only for all who
// share it.
type Frame struct {
	Envelope wire.Envelope
	Bytes    []byte // the whole frame: envelope, extensions, body

	refs   atomic.Int32
	pool   *Pool
	class  int
	memory []byte // all of the class's bytes; Bytes is its beginning
	lender func() // of a frame without a pool
	ahead  *ahead // of a small frame: it lies in a Reader's read-ahead
	costs  int    // of that, what the frame answers for
}

// NewFrame returns a frame without memory, for a link that lends its own. At
// each last Release it calls release, on whichever goroutine that is; from then on
// the link may Lend it again.
func NewFrame(release func()) *Frame { return &Frame{lender: release} }

// Lend gives a frame of NewFrame, which nobody holds, its bytes and one reference.
func (f *Frame) Lend(bytes []byte) {
	if f.lender == nil || !f.refs.CompareAndSwap(0, 1) {
		panic("link: a frame was lent that is held or has a pool")
	}
	f.Bytes, f.memory = bytes, bytes
}

// Scarce says that the frame lies where the peer's next frames are to land: while
// it is held, the peer may have to wait. Who wants to keep its bytes for long
// copies them.
func (f *Frame) Scarce() bool { return f.lender != nil }

// MemoryBytes is what the frame takes from its pool: more than its bytes. Of the
// frames that lie in one read-ahead, the first with batches answers for all of
// it: who keeps frames gives them up in their order.
func (f *Frame) MemoryBytes() int { return len(f.memory) + f.costs }

// Ext returns the extensions of the envelope, borrowed from the frame.
func (f *Frame) Ext() wire.Extensions { return wire.ExtensionsOf(&f.Envelope, f.Bytes) }

// Body returns what follows envelope and extensions.
func (f *Frame) Body() []byte { return wire.Body(&f.Envelope, f.Bytes) }

// Retain adds a reference. Only who holds one may add one. Any goroutine may
// call it.
func (f *Frame) Retain() {
	if n := f.refs.Add(1); n < 2 {
		panic(fmt.Sprintf("link: frame retained after its release (%d references)", n))
	}
}

// Release drops a reference; with the last one the bytes go back to the pool
// and must not be read any more. Any goroutine may call it; one call too many
// panics, unless the pool has already given the frame to someone else.
func (f *Frame) Release() {
	switch n := f.refs.Add(-1); {
	case n < 0:
		panic(fmt.Sprintf("link: frame released more often than held (%d references)", n))
	case n == 0 && f.lender != nil:
		f.Bytes, f.memory, f.Envelope = nil, nil, wire.Envelope{}
		f.lender()
	case n == 0 && f.ahead != nil:
		f.pool.putSmall(f)
	case n == 0:
		f.pool.put(f)
	}
}

// Sizes of the pool's memory: powers of two from 512 bytes up to a whole
// frame. So a frame pins less than twice its bytes, or 512.
const (
	classBitsMin = 9
	classBitsMax = 22
	classCount   = classBitsMax - classBitsMin + 1

	// The largest class is exactly the largest frame.
	_ = uint(1<<classBitsMax-wire.FrameBytesMax) + uint(wire.FrameBytesMax-1<<classBitsMax)
)

// IdleBytesMaxDefault keeps four frames of the largest size, or 256 of 64 KiB.
const IdleBytesMaxDefault = 16 << 20

// Memory is where a Pool gets its memory from, and gives it back to. Its methods
// may be called by any goroutine.
type Memory interface {
	// Alloc lends size bytes of unspecified content.
	Alloc(size int) []byte
	// Free takes back what Alloc lent.
	Free(memory []byte)
}

// Pool lends memory for frames, in classes by size. It keeps released memory
// for the next frame, never more than IdleBytesMax of it, and gives the rest to
// Source or the garbage collector; what is held beyond that is up to the callers. A
// receiver whose callers hold a steady number of frames allocates nothing. (A
// sync.Pool was rejected: it has no bound, and forgets at every collection.)
// The zero Pool is ready to use. Its methods may be called by any goroutine.
type Pool struct {
	// IdleBytesMax bounds the unused memory that is kept; 0 means
	// IdleBytesMaxDefault. Set it before the first use.
	IdleBytesMax int
	// Source is where frames live. Nil means the Go heap. Set it before the first
	// use, and Drain the pool before it ends.
	Source Memory

	copied atomic.Uint64

	mu        sync.Mutex
	idle      [classCount][]*Frame // last in, first out: the warmest memory first
	idleBytes int
	heldBytes int
	drained   bool
	small     []*Frame // unused, without memory: of frames that lay in a read-ahead
	aheads    []*ahead // unused
}

// Take lends a frame of size bytes with one reference and unspecified content;
// size is in [1, wire.FrameBytesMax].
func (p *Pool) Take(size int) *Frame {
	if size < 1 || size > wire.FrameBytesMax {
		panic(fmt.Sprintf("link: frame of %d bytes taken, the format allows 1 to %d", size, wire.FrameBytesMax))
	}
	class := max(0, bits.Len(uint(size-1))-classBitsMin)
	f := p.pop(class)
	if f == nil {
		f = &Frame{pool: p, class: class, memory: p.alloc(classBytes(class))}
	}
	f.Bytes = f.memory[:size:size]
	f.refs.Store(1)
	return f
}

// Memory returns how many bytes callers hold, and how many are kept unused.
func (p *Pool) Memory() (heldBytes, idleBytes int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.heldBytes, p.idleBytes
}

// Drain gives all unused memory back, and from now on what is released too.
func (p *Pool) Drain() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drained = true
	p.small, p.aheads = nil, nil
	p.trim(0)
}

func (p *Pool) alloc(size int) []byte {
	if p.Source == nil {
		return make([]byte, size)
	}
	return p.Source.Alloc(size)
}

// trim gives unused memory back until no more than limit is kept. p.mu is held.
func (p *Pool) trim(limit int) {
	for p.idleBytes > limit {
		f := p.removeIdle(p.fattestClass())
		if p.Source != nil {
			p.Source.Free(f.memory)
		}
		f.memory = nil
	}
}

// CopiedBytes is how many bytes of frames Readers have copied on from where they
// were read to. The rest lies there.
func (p *Pool) CopiedBytes() uint64 { return p.copied.Load() }

// CountCopied is for links that cut frames out of a stream without a Reader.
func (p *Pool) CountCopied(bytes int) { p.copied.Add(uint64(bytes)) }

func classBytes(class int) int { return 1 << (classBitsMin + class) }

// pop counts the memory as held, and returns an idle frame if there is one.
func (p *Pool) pop(class int) *Frame {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.heldBytes += classBytes(class)
	return p.removeIdle(class)
}

func (p *Pool) put(f *Frame) {
	f.Bytes, f.Envelope = nil, wire.Envelope{}
	limit := p.IdleBytesMax
	if limit == 0 {
		limit = IdleBytesMaxDefault
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.drained {
		limit = 0
	}
	p.heldBytes -= classBytes(f.class)
	p.idleBytes += classBytes(f.class)
	p.idle[f.class] = append(p.idle[f.class], f)
	p.trim(limit)
}

func (p *Pool) removeIdle(class int) *Frame {
	last := len(p.idle[class]) - 1
	if last < 0 {
		return nil
	}
	f := p.idle[class][last]
	p.idle[class][last] = nil
	p.idle[class] = p.idle[class][:last]
	p.idleBytes -= classBytes(class)
	return f
}

// fattestClass is the class that keeps most unused bytes. Dropping there lets a
// new mix of sizes push out the memory of an older one.
func (p *Pool) fattestClass() int {
	fattest, most := 0, -1
	for class := range p.idle {
		if n := len(p.idle[class]) * classBytes(class); n > most {
			fattest, most = class, n
		}
	}
	return fattest
}
