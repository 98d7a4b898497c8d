package arena

import (
	"errors"
	"fmt"
	"math/bits"
	"sync"
)

// Sizes of extents: powers of two. ExtentBytesMin is the smallest batch memory:
// with many shards nearly all batches are small, and must not be the collector's.
// What is smaller still is served from the heap.
const (
	extentBitsMin  = 10
	extentBitsMax  = 22
	orderCount     = extentBitsMax - extentBitsMin + 1
	ExtentBytesMin = 1 << extentBitsMin
	ExtentBytesMax = 1 << extentBitsMax // the largest frame
)

// RegionBytesMax bounds a region, so that its places fit 32 bits.
const RegionBytesMax = 1 << 40

// Arena lends memory from one region. Its methods may be called by any goroutine.
type Arena struct {
	mu      sync.Mutex
	region  []byte
	free    [orderCount]int32 // first free extent of each size, -1 = none
	next    []int32           // by place: the free extents of one size, linked
	prev    []int32
	order   []uint8 // by place: 1 + order of the free extent that begins here; 0 = none
	lent    map[*byte]extent
	inUse   int // extents of the region
	stats   Stats
	closed  bool
	unmapAt error // what unmapping after Close returned
}

// extent is what is lent: where it lies in the region, in units of
// ExtentBytesMin; of the heap's, place is -1 and size what was asked for.
type extent struct {
	place int32
	order uint8
	size  int
}

// Stats are sizes as they are now; Spilled counts.
type Stats struct {
	RegionBytes int64
	LentBytes   int64  // extents of the region
	HeapBytes   int64  // lent from the heap, for want of an extent or of size
	Spilled     uint64 // requests of ExtentBytesMin or more that found no extent, since New
}

// New maps a region of bytesMax, rounded up to whole chunks of ExtentBytesMax; with 0
// there is no region and everything comes from the heap. Close it.
func New(bytesMax int64) (*Arena, error) {
	if bytesMax < 0 || bytesMax > RegionBytesMax {
		return nil, fmt.Errorf("arena of %d bytes: want 0 to %d", bytesMax, int64(RegionBytesMax))
	}
	a := &Arena{lent: make(map[*byte]extent)}
	for i := range a.free {
		a.free[i] = -1
	}
	chunks := int((bytesMax + ExtentBytesMax - 1) / ExtentBytesMax)
	if chunks == 0 {
		return a, nil
	}
	region, err := mapPages(chunks * ExtentBytesMax)
	if err != nil {
		return nil, fmt.Errorf("arena of %d bytes: %w", chunks*ExtentBytesMax, err)
	}
	const perChunk = ExtentBytesMax / ExtentBytesMin
	a.region = region
	a.next, a.prev = make([]int32, chunks*perChunk), make([]int32, chunks*perChunk)
	a.order = make([]uint8, chunks*perChunk)
	for i := chunks - 1; i >= 0; i-- { // the first chunk is lent first
		a.push(int32(i*perChunk), orderCount-1)
	}
	a.stats.RegionBytes = int64(len(region))
	return a, nil
}

// Alloc lends size bytes, at least 1, with unspecified content. What is at least a
// page begins at one where it comes from the region.
func (a *Arena) Alloc(size int) []byte {
	if size < 1 {
		panic(fmt.Sprintf("arena: %d bytes asked for", size))
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	place := int32(-1)
	order := uint8(0)
	if size >= ExtentBytesMin && size <= ExtentBytesMax && !a.closed {
		order = uint8(bits.Len(uint(size-1)) - extentBitsMin)
		place = a.take(order)
	}
	if place < 0 {
		return a.fromHeap(size)
	}
	a.inUse++
	a.stats.LentBytes += ExtentBytesMin << order
	lo := int(place) * ExtentBytesMin
	b := a.region[lo : lo+size : lo+size]
	a.lent[&b[0]] = extent{place: place, order: order}
	return b
}

func (a *Arena) fromHeap(size int) []byte {
	if size >= ExtentBytesMin {
		a.stats.Spilled++
	}
	b := make([]byte, size)
	a.stats.HeapBytes += int64(size)
	a.lent[&b[0]] = extent{place: -1, size: size}
	return b
}

// Free takes back what Alloc lent: the slice, or one with the same beginning.
func (a *Arena) Free(b []byte) {
	if cap(b) == 0 {
		panic("arena: no memory freed")
	}
	key := &b[:1][0]
	a.mu.Lock()
	defer a.mu.Unlock()
	x, known := a.lent[key]
	if !known {
		panic("arena: memory freed that is not lent, or freed twice")
	}
	delete(a.lent, key)
	if x.place < 0 {
		a.stats.HeapBytes -= int64(x.size)
		return
	}
	a.inUse--
	a.stats.LentBytes -= ExtentBytesMin << x.order
	a.join(x.place, x.order)
	if a.closed && a.inUse == 0 {
		a.unmap()
	}
}

// take returns an extent, halving a larger one where it must; -1 = there is none.
func (a *Arena) take(order uint8) int32 {
	k := order
	for a.free[k] < 0 {
		if k++; k == orderCount {
			return -1
		}
	}
	place := a.free[k]
	a.remove(place, k)
	for ; k > order; k-- {
		a.push(place+1<<(k-1), k-1)
	}
	return place
}

// join frees an extent, together with its other half while that is free.
func (a *Arena) join(place int32, order uint8) {
	for ; order < orderCount-1; order++ {
		other := place ^ 1<<order
		if a.order[other] != order+1 {
			break
		}
		a.remove(other, order)
		place = min(place, other)
	}
	a.push(place, order)
}

func (a *Arena) push(place int32, order uint8) {
	first := a.free[order]
	a.next[place], a.prev[place] = first, -1
	if first >= 0 {
		a.prev[first] = place
	}
	a.free[order] = place
	a.order[place] = order + 1
}

func (a *Arena) remove(place int32, order uint8) {
	next, prev := a.next[place], a.prev[place]
	if prev >= 0 {
		a.next[prev] = next
	} else {
		a.free[order] = next
	}
	if next >= 0 {
		a.prev[next] = prev
	}
	a.order[place] = 0
}

// Region is the whole region, for whoever registers it; nil = there is none. Only
// what Alloc lent may be read or written.
func (a *Arena) Region() []byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.region
}

// Stats returns the sizes as they are now.
func (a *Arena) Stats() Stats {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.stats
}

// Close unmaps the region, or has the last Free do it while something is lent.
// What is asked for later comes from the heap.
func (a *Arena) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return errors.New("arena closed twice")
	}
	a.closed = true
	if a.inUse == 0 {
		a.unmap()
	}
	return a.unmapAt
}

func (a *Arena) unmap() {
	region := a.region
	a.region, a.next, a.prev, a.order = nil, nil, nil, nil
	a.stats.RegionBytes = 0
	if region != nil {
		a.unmapAt = unmapPages(region)
	}
}
