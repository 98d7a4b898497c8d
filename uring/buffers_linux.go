package uring

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// BuffersMax is the kernel's limit for one buffer ring.
const BuffersMax = 32768

// BufferOptions of Ring.NewBufferRing.
type BufferOptions struct {
	Group uint16 // the ring's name within its Ring
	Count int    // a power of two, at most BuffersMax
	Bytes int    // each
	// Memory is Count × Bytes of off-heap memory to receive into, registered
	// memory for example, that outlives the buffer ring; nil = the ring maps its own.
	Memory []byte
	// Incremental: received bytes follow one another in a buffer until it is full
	// (kernel 6.12, FeatureBufferInc), so large buffers waste nothing.
	Incremental bool
}

// BufferRing lends buffers to the kernel, which picks one when bytes arrive:
//
//	Give ──▶ published ──▶ kernel fills ──▶ Take ──▶ the caller's ──▶ Give …
//
// It belongs to the owner of its Ring. All buffers are lent at first.
type BufferRing struct {
	ring        *Ring
	group       uint16
	incremental bool
	entries     []bufferEntry
	tailWord    *uint32 // id of entry 0 and the tail, which are stored together
	tail        uint16  // free-running
	published   uint16  // as far as the kernel may look
	mask        uint16
	bytes       int
	memory      []byte
	owned       *Region // nil if the caller brought the memory
	list        *Region
	place       []uint16 // where in entries a buffer was lent last
	filled      []int32  // bytes taken out of an incremental buffer; -1 = the caller's
	lent        int
}

// NewBufferRing registers a buffer ring and lends all its buffers.
func (r *Ring) NewBufferRing(o BufferOptions) (*BufferRing, error) {
	r.owned()
	if o.Count < 1 || o.Count > BuffersMax || o.Count&(o.Count-1) != 0 {
		return nil, fmt.Errorf("buffer ring %d: %d buffers: a power of two up to %d", o.Group, o.Count, BuffersMax)
	}
	if o.Bytes < 1 || o.Bytes > 1<<30 {
		return nil, fmt.Errorf("buffer ring %d: %d bytes each: 1 to 1 GiB", o.Group, o.Bytes)
	}
	if o.Memory != nil && len(o.Memory) < o.Count*o.Bytes {
		return nil, fmt.Errorf("buffer ring %d: %d bytes of memory for %d", o.Group, len(o.Memory), o.Count*o.Bytes)
	}
	b := &BufferRing{ring: r, group: o.Group, incremental: o.Incremental, bytes: o.Bytes, mask: uint16(o.Count - 1),
		memory: o.Memory, place: make([]uint16, o.Count), filled: make([]int32, o.Count)}
	var err error
	if b.memory == nil {
		if b.owned, err = Map(o.Count * o.Bytes); err != nil {
			return nil, err
		}
		b.memory = b.owned.Bytes()
	}
	if b.list, err = Map(o.Count * int(unsafe.Sizeof(bufferEntry{}))); err != nil {
		return nil, errors.Join(err, b.free())
	}
	b.entries = array[bufferEntry](b.list.Bytes(), 0, o.Count)
	// The id and the tail are 16 bits each and share an aligned 32-bit word.
	b.tailWord = at[uint32](b.list.Bytes(), unsafe.Offsetof(bufferEntry{}.id))
	arg := at[bufferReg](r.scratch.Bytes(), scratchArgAt)
	*arg = bufferReg{ringAddr: address(b.list.Bytes()), entries: uint32(o.Count), group: o.Group}
	if o.Incremental {
		arg.flags = pbufRingInc
	}
	if _, errno := r.register(registerPbufRing, unsafe.Pointer(arg), 1); errno != 0 {
		err = fmt.Errorf("buffer ring %d of %d: %w", o.Group, o.Count, errno)
		return nil, errors.Join(err, b.free())
	}
	r.bufferMem = append(r.bufferMem, b)
	for id := range o.Count {
		b.filled[id] = -1
		b.Give(uint16(id))
	}
	b.Publish()
	return b, nil
}

// Group is what BufferOptions named it.
func (b *BufferRing) Group() uint16 { return b.group }

// Lent is how many buffers are with the kernel.
func (b *BufferRing) Lent() int { return b.lent }

// Buffer is the whole of buffer id, for the caller while he has it.
func (b *BufferRing) Buffer(id uint16) []byte {
	at := int(id) * b.bytes
	return b.memory[at : at+b.bytes : at+b.bytes]
}

// Give lends buffer id to the kernel again, at the next Publish. Giving what the
// kernel has is a fault of the program and panics.
func (b *BufferRing) Give(id uint16) {
	if b.filled[id] >= 0 {
		panic(fmt.Sprintf("uring: buffer %d of ring %d given twice", id, b.group))
	}
	at := b.tail & b.mask
	e := &b.entries[at]
	e.addr, e.len = address(b.Buffer(id)), uint32(b.bytes)
	if at == 0 {
		// The tail shares this word, so both are stored at once.
		atomic.StoreUint32(b.tailWord, idAndTail(id, b.published))
	} else {
		e.id = id
	}
	b.place[id], b.filled[id] = at, 0
	b.tail++
	b.lent++
}

// Publish shows the kernel what Give lent.
func (b *BufferRing) Publish() {
	b.published = b.tail
	atomic.StoreUint32(b.tailWord, idAndTail(b.entries[0].id, b.tail))
}

// Take visits the pieces of buffers that a completed receive filled, in order of
// the stream. last: the kernel has done with that buffer, and it is the caller's
// until Give; without it (incremental only) more will follow behind data. The
// whole of an incremental buffer is Buffer(id). Nothing is visited if c carries
// no buffer.
func (b *BufferRing) Take(c Completion, visit func(id uint16, data []byte, last bool)) {
	id, ok := c.Buffer()
	if !ok {
		return
	}
	left := max(int(c.Res), 0)
	if b.incremental {
		begin := int(b.filled[id])
		data := b.Buffer(id)[begin : begin+left]
		if c.BufferMore() {
			b.filled[id] += int32(left)
		} else {
			b.taken(id)
		}
		visit(id, data, !c.BufferMore())
		return
	}
	for place := b.place[id]; ; place = (place + 1) & b.mask {
		id = b.entries[place].id
		n := min(left, b.bytes)
		b.taken(id)
		visit(id, b.Buffer(id)[:n], true)
		if left -= n; left == 0 {
			return
		}
	}
}

func (b *BufferRing) taken(id uint16) {
	if b.filled[id] < 0 {
		panic(fmt.Sprintf("uring: buffer %d of ring %d filled while not lent", id, b.group))
	}
	b.filled[id] = -1
	b.lent--
}

// Close unregisters the ring and frees what it mapped. No receive may use it any
// more. Ring.Close does it too.
func (b *BufferRing) Close() error {
	b.ring.owned()
	for i, other := range b.ring.bufferMem {
		if other == b {
			b.ring.bufferMem = append(b.ring.bufferMem[:i], b.ring.bufferMem[i+1:]...)
			return errors.Join(b.unregister(), b.free())
		}
	}
	return ErrClosed
}

func (b *BufferRing) unregister() error {
	arg := at[bufferReg](b.ring.scratch.Bytes(), scratchArgAt)
	*arg = bufferReg{group: b.group}
	if _, errno := b.ring.register(unregisterPbufRing, unsafe.Pointer(arg), 1); errno != 0 && errno != unix.ENOENT {
		return fmt.Errorf("buffer ring %d: %w", b.group, errno)
	}
	return nil
}

func (b *BufferRing) free() (err error) {
	for _, region := range []*Region{b.list, b.owned} {
		if region != nil {
			err = errors.Join(err, region.Free())
		}
	}
	return err
}

// idAndTail is the word of entry 0 that the kernel reads as two halves.
func idAndTail(id, tail uint16) uint32 {
	var word [4]byte
	binary.NativeEndian.PutUint16(word[:], id)
	binary.NativeEndian.PutUint16(word[2:], tail)
	return binary.NativeEndian.Uint32(word[:])
}
