package uring

import (
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Region is page-aligned, zeroed memory off the Go heap: it never moves and the
// collector does not know it, so the kernel may hold its address. Its bytes may
// be shared like any slice; Free is for the owner alone.
type Region struct{ mem []byte }

// Map takes at least bytes from the system, rounded up to whole pages.
func Map(bytes int) (*Region, error) {
	if bytes <= 0 {
		return nil, fmt.Errorf("map %d bytes: not a size", bytes)
	}
	page := os.Getpagesize()
	size := (bytes + page - 1) / page * page
	mem, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, fmt.Errorf("map %d bytes: %w", size, err)
	}
	return &Region{mem}, nil
}

// Bytes is the whole region. After Free every use of it faults, so nobody, the
// kernel least of all, may still hold a part.
func (r *Region) Bytes() []byte { return r.mem }

// Free gives the memory back; a second call returns ErrFreed and does nothing.
func (r *Region) Free() error {
	if r.mem == nil {
		return ErrFreed
	}
	mem := r.mem
	r.mem = nil
	if err := unix.Munmap(mem); err != nil {
		return fmt.Errorf("unmap %d bytes: %w", len(mem), err)
	}
	return nil
}

// address is where b begins, for the kernel's eyes; 0 if b is empty.
func address(b []byte) uint64 {
	if len(b) == 0 {
		return 0
	}
	// Unsafe rule 2 (Pointer to uintptr, not back): b is off the heap, so the
	// number stays true for as long as its region lives.
	return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(b))))
}

// at views the mapped bytes from offset on as a T.
func at[T any](mem []byte, offset uintptr) *T {
	var t T
	_ = mem[offset : offset+unsafe.Sizeof(t)] // panics where T would reach beyond the mapping
	// Unsafe rule 1 (*T1 to *T2): within mem by the line above; T has no
	// pointers, and offsets are multiples of its alignment by construction.
	return (*T)(unsafe.Pointer(&mem[offset]))
}

// array views count elements of T from offset on.
func array[T any](mem []byte, offset uintptr, count int) []T {
	var t T
	_ = mem[offset : offset+uintptr(count)*unsafe.Sizeof(t)]
	// Unsafe rule 1, as in at: the slice ends within mem.
	return unsafe.Slice((*T)(unsafe.Pointer(&mem[offset])), count)
}
