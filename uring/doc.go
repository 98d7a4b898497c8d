// Package uring promises the Linux kernel's io_uring to one thread. Submissions and
// completions need no allocation, lock or copy, on kernels from 5.15. If a machine does not
// support it, the error gives the reason.
//
//	if err := uring.Supported(); err != nil { … fall back, and show err … }
//	runtime.LockOSThread()
//	ring, err := uring.Open(uring.Options{})
//	ring.Next().Write(user, fd, block, offset)
//	ready, err := ring.SubmitAndWait(1, time.Second)
//	ring.Completions(func(c uring.Completion) { … })
//
// The ring shares two queues with the kernel:
//
//	          Next()            Submit: publish tail, then io_uring_enter
//	owner ──▶ ┌─────┬─────┬─────┐ ──▶ kernel
//	          │ SQE │ SQE │ ··· │      head: kernel, inside enter
//	          └─────┴─────┴─────┘      tail: owner
//	owner ◀── ┌─────┬─────┬─────┐ ◀── kernel
//	          │ CQE │ CQE │ ··· │      head: owner, once per Completions
//	          └─────┴─────┴─────┘      tail: kernel
//
// The caller owns an SQE from [Ring.Next] to the next Submit. The kernel owns its bytes from
// Submit to the last completion: the one without [Completion.More].
//
// # Rules
//
//   - One goroutine, locked to its thread, opens, uses and closes a [Ring], unless it was
//     opened for any thread. [Waker.Wake], [Ring.FD] and [Region] are for any goroutine.
//   - Memory that the kernel sees lies off the Go heap: [Map] for data, a [Slot] for message
//     headers, gather lists, addresses and times. The ring keeps nothing alive.
//   - One send in flight per stream; [Slot.Advance] drops what a short send sent.
//   - Sockets are in blocking mode: a non-blocking file returns EAGAIN.
//   - A multishot operation ends at a completion without More; the caller arms it again.
//   - A zero-copy send completes twice: the result with More, then
//     [Completion.Notification], which returns the bytes. Reset a stalled socket before Close.
//   - Bundled receives need plain buffer rings; [SQE.RecvMultishot] refuses incremental ones.
//
// docs/uring.md gives the reasons. [Waker] wakes a sleeping ring. A [Caller] is a small ring
// for one operation at a time, by whichever goroutine holds it:
//
//	Send, Recv ─▶ Caller ── io_uring_enter(submit 1, wait 1) ──▶ result, or EAGAIN
//
// Without a ring, or if it fails, a Caller makes system calls ([CallStats].Plain, Reason).
//
// [Transport] passes linktest.Conformance, [Disk] passes vfstest.Conformance. It serves I10:
// every table has a fixed size, and [Ring.Close] frees all of it. Limits: docs/limits.md.
//
// 64-bit Linux only; elsewhere [Supported] returns an error. A Ring has no protocol, retries,
// buffering or goroutines. The tag giouring replaces it for comparison (docs/giouring.md).
package uring
