package uring

import "errors"

var (
	// ErrUnsupported: this machine gives us no ring. The error that wraps it says
	// why: the kernel, a sysctl, a seccomp filter.
	ErrUnsupported = errors.New("io_uring not available")
	// ErrBusy: the kernel takes no more until completions are consumed or
	// operations end. What was not submitted stays prepared.
	ErrBusy = errors.New("io_uring busy")
	// ErrClosed: the ring or waker was closed before.
	ErrClosed = errors.New("ring closed")
	// ErrFreed: the region was freed before.
	ErrFreed = errors.New("region freed before")
)
