package uring

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// surface is all that Ring asks of what drives the kernel's rings: core, in
// core_linux.go by raw system calls, under the tag giouring by that library.
// Only the compiler uses it; calls are direct.
type surface interface {
	// open creates and maps a ring of that setup, or leaves nothing behind.
	open(entries, completions uint32, setup Setup) error
	// next is the next free submission, zeroed; nil when the ring is full.
	next() *SQE
	// queued counts what was prepared and the kernel has not taken yet.
	queued() int
	// discard makes what is queued harmless, for close.
	discard()
	// enter publishes what is queued and enters the kernel once: to submit it, to
	// run completions if events, to wait for so many if wait > 0, not beyond
	// limit if that is not nil (off-heap).
	enter(wait uint32, events bool, limit *timespec) unix.Errno
	// fetch enters the kernel for overflowed completions, and submits nothing.
	fetch() unix.Errno
	// ready counts completions that each would visit.
	ready() int
	// each visits the completions that are there and consumes them at once.
	each(visit func(Completion)) int
	// pending: the kernel has completions that only an enter brings out.
	pending() (work, overflow bool)
	// lost counts completions that the kernel dropped for want of memory.
	lost() uint32
	// sizes are those that the kernel granted.
	sizes() (entries, completions int)
	// register is io_uring_register; arg is off-heap.
	register(op uint32, arg unsafe.Pointer, count uint32) (int, unix.Errno)
	// registerSelf makes enter use a registered descriptor, if it can.
	registerSelf() bool
	descriptor() int
	close() error
}

var _ surface = (*core)(nil)
