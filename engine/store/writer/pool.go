package writer

import (
	"math/bits"
	"sync"
	"sync/atomic"
	"time"

	"github.com/claudefs/repl/wire"
)

// Sizes of pooled memory: powers of two from 1 KiB, so that 65,536 open batches
// of one entry each stay small, up to the largest batch.
const (
	classBitsMin = 10
	classBitsMax = 21
	classCount   = classBitsMax - classBitsMin + 1

	// growBytesMax is the size from which a batch is written where it lies, and
	// never copied.
	growBytesMax = 16 << 10

	// buffersAtOnce are made whenever all are in use: 18 KiB of memory.
	buffersAtOnce = 64
)

// buffer is one batch, from its first entry until the journal releases it.
type buffer struct {
	writer  *Writer
	bytes   []byte // header room, then the body; of an open batch its log has them
	claimed int    // of BytesMax
	next    *buffer
	settled bool             // not pending any more
	at      time.Time        // of the first entry; zero of a START
	refs    [1]wire.BatchRef // what Stage is called with
}

func (b *buffer) header() *wire.BatchHeader { return &b.refs[0].Header }

// MemoryBytes implements journal.Measured.
func (b *buffer) MemoryBytes() int { return cap(b.bytes) }

// FlushEnded implements journal.Settled: the batch is pending no more.
func (b *buffer) FlushEnded() {
	if !b.settled {
		b.settled = true
		b.writer.pool.heldBytes.Add(-int64(cap(b.bytes)))
		b.writer.pending.Add(-int64(b.claimed))
	}
}

// Release gives the batch's memory back: the journal lends it to nobody any more.
func (b *buffer) Release() {
	b.FlushEnded()
	b.writer.pool.put(b)
}

// pool lends batch memory by size class. A sync.Pool was rejected: it has no
// bound, and forgets at every collection.
type pool struct {
	idleBytesMax int64
	source       Memory       // nil = the heap
	heldBytes    atomic.Int64 // capacity of what is pending

	mu        sync.Mutex
	buffers   []*buffer // without memory
	memory    [classCount][][]byte
	idleBytes int64
}

func classOf(size int) int { return max(0, bits.Len(uint(size-1))-classBitsMin) }

// classBytes is the size of a class. The largest is no bigger than a batch.
func classBytes(class int) int { return min(1<<(classBitsMin+class), wire.BatchBytesMax) }

// take lends an empty buffer with room for size bytes.
func (p *pool) take(size int) *buffer {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.buffers) == 0 {
		some := make([]buffer, buffersAtOnce)
		for i := range some {
			p.buffers = append(p.buffers, &some[i])
		}
	}
	last := len(p.buffers) - 1
	b := p.buffers[last]
	p.buffers = p.buffers[:last]
	b.bytes = p.pop(classOf(size))
	p.heldBytes.Add(int64(cap(b.bytes)))
	return b
}

// grow moves bytes, which are b's, to where size more have room.
func (p *pool) grow(b *buffer, bytes []byte, size int) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	bigger := append(p.pop(classOf(len(bytes)+size)), bytes...)
	p.heldBytes.Add(int64(cap(bigger) - cap(bytes)))
	p.push(bytes)
	b.bytes = bigger
	return bigger
}

func (p *pool) put(b *buffer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.push(b.bytes)
	b.bytes, b.refs[0].Bytes, b.claimed, b.next, b.settled, b.at = nil, nil, 0, nil, false, time.Time{}
	p.buffers = append(p.buffers, b)
}

func (p *pool) pop(class int) []byte {
	idle := p.memory[class]
	last := len(idle) - 1
	if last < 0 {
		if p.source == nil {
			return make([]byte, 0, classBytes(class))
		}
		return p.source.Alloc(classBytes(class))[:0]
	}
	p.memory[class] = idle[:last]
	p.idleBytes -= int64(classBytes(class))
	return idle[last]
}

func (p *pool) push(memory []byte) {
	if p.idleBytes+int64(cap(memory)) > p.idleBytesMax {
		p.giveBack(memory)
		return
	}
	class := classOf(cap(memory))
	p.idleBytes += int64(cap(memory))
	p.memory[class] = append(p.memory[class], memory[:0])
}

func (p *pool) giveBack(memory []byte) {
	if p.source != nil {
		p.source.Free(memory)
	}
}

// drain gives unused memory back, and from now on what is released too.
func (p *pool) drain() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idleBytesMax, p.idleBytes = 0, 0
	for class := range p.memory {
		for _, memory := range p.memory[class] {
			p.giveBack(memory)
		}
		p.memory[class] = nil
	}
}
