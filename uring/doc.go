// Package uring promises the Linux kernel's asynchronous I/O ring to one
// thread: submissions go out and completions come back without an allocation,
// a lock or a copy, on any kernel from 5.15 on, and it says why where it cannot.
//
//	if err := uring.Supported(); err != nil { … fall back, and show err … }
//	runtime.LockOSThread()
//	ring, err := uring.Open(uring.Options{})
//	ring.Next().Write(user, fd, block, offset)
//	ready, err := ring.SubmitAndWait(1, time.Second)
//	ring.Completions(func(c uring.Completion) { … })
//
// Two rings of memory are shared with the kernel. Who writes which end:
//
//	          Next()            Submit: publish tail, then io_uring_enter
//	owner ──▶ ┌─────┬─────┬─────┐ ──▶ kernel
//	          │ SQE │ SQE │ ··· │      head: kernel, inside enter
//	          └─────┴─────┴─────┘      tail: owner
//	owner ◀── ┌─────┬─────┬─────┐ ◀── kernel
//	          │ CQE │ CQE │ ··· │      head: owner, once per Completions
//	          └─────┴─────┴─────┘      tail: kernel
//
// An SQE belongs to the caller from [Ring.Next] to the next Submit. The bytes it
// names belong to the kernel from Submit to the operation's last completion:
// the one without [Completion.More]. A zero-copy send completes twice (below).
//
// # Rules
//
//   - A [Ring] is opened, used and closed by one goroutine that is locked to its
//     thread (runtime.LockOSThread); the kernel refuses others, unless it was opened
//     for any thread. Only
//     [Waker.Wake], [Ring.FD] and what [Region] is lent to are for everybody.
//   - All memory that the kernel sees is mapped off the Go heap: [Map] for data;
//     message headers, gather lists, addresses and times live in a [Slot]. A
//     slice given to an SQE must come from there: the ring keeps nothing alive,
//     and a goroutine's stack moves.
//   - SQEs are zeroed by Next, so nothing of an earlier operation leaks into a
//     later one.
//   - One send in flight per stream: after a short one a second would overtake
//     the rest. [Slot.Advance] drops what went out.
//   - Sockets are used in blocking mode (no O_NONBLOCK): the ring waits, not the
//     socket, and a non-blocking file makes the operation answer EAGAIN.
//   - A multishot operation ends at any completion without More and is armed
//     again by the caller; with [Completion.NoBuffers] after giving buffers back.
//   - A zero-copy send answers first with its result and More; a second
//     completion, [Completion.Notification], gives the bytes back, and says by
//     [Completion.Copied] whether the kernel copied after all. It comes when the
//     peer has acknowledged, so a stalled peer's socket is reset before the ring
//     is closed.
//   - Bundled receives only with plain buffer rings: together with incremental
//     ones kernels from 6.13 on gave buffers out of order. [SQE.RecvMultishot]
//     refuses the pair.
//
// # Sleeping and waking
//
// [Waker] wakes a ring that sleeps. The ring publishes that it is idle, looks at
// its queues once more, and only then blocks; a producer puts its work in first
// and looks at the flag second. Whatever the order, one of them sees the other,
// and a wake costs one atomic load while the ring is awake.
//
// # Calls
//
// A [Caller] is a small ring for one operation at a time, of whichever goroutine
// holds it: submitted and waited for in one system call of that goroutine's own. So
// nothing is handed to another thread and back, memory is lent for one call, and
// there is nothing to cancel.
//
//	Send, Recv, ReadAt … ─▶ Caller ── io_uring_enter(submit 1, wait 1) ──▶ result
//
// A thread that sleeps in the kernel takes its processor along until Go's runtime
// notices. So a receiver looks (MSG_DONTWAIT), lets other goroutines run, and looks
// again before it sleeps; while that pays it goes on for up to 20 µs
// ([TransportOptions].NoSpin leaves it out). docs/decisions/0007 has the story.
//
// # The links
//
// [Transport] passes linktest.Conformance. A link has two Callers, one for its sender
// and one for its receiver; those of closed links wait for the next, 16 at most.
// Connections are dialed and accepted by plain system calls, because a ring for each
// stranger, and a thread, would be a stranger's to take: a host judges who came in, and
// adopts (Adopt) whom it knows. A frame is gathered from where it lies by one SENDMSG
// (MSG_WAITALL); of a frame over 16 KiB all but the envelope is received where it will
// lie, by one RECV. Closing shuts the socket down, which ends what is under way. A
// sleeping receiver is a thread of the system, and so is a blocked sender: two per link.
//
// # The disk
//
// [Disk] is the files of one engine and passes vfstest.Conformance and
// QueueConformance. Who writes in bulk opens a queue, whose ring its goroutine owns:
// writes up to 128 KiB of parts below 16 KiB are copied into registered memory and
// go past the cache (WRITE_FIXED, O_DIRECT, RWF_DSYNC), all at once; others are
// gathered from where they lie and go through it (WRITEV, RWF_DSYNC), one at a time,
// and stay pinned until they end. While the kernel has nothing of it, its goroutine
// sleeps as goroutines do. Everything else borrows a Caller. A queue holds 128 KiB
// of locked memory for each write of its depth.
//
// What must wait waits for a worker of the thread that submitted it, and Linux gives it
// up unbegun (ECANCELED) where signals, those of Go's runtime say, keep that worker
// from being made. Callers and queues then submit it again and count it
// ([CallStats].Revoked).
//
// Measured on 2 quiet cores (kernel 6.18, loopback and one virtual disk, two
// processes, medians), two engines carried wholly one way or the other:
//
//	                                     portable     ring
//	round trip of a bare link, pinned       52 µs    10 µs, 42 without looking
//	append durable at both ends, p50       370 µs   300 µs
//	stream of 256 B entries, pinned      1.23 GB/s  1.30 GB/s
//	stream of 64 KiB entries, pinned     2.3 GB/s   2.1 GB/s
//	the same, both ends on the disk      1.2 GB/s   1.1 GB/s, all that the disk gives
//
// # Limits
//
// 64 submissions and 256 completions by default; completions beyond that wait
// in the kernel, are counted ([Stats].Overflows) and lose nothing. 64 slots of 64
// parts. A buffer ring has at most 32,768 buffers. Registered buffers count
// against RLIMIT_MEMLOCK: [Ring.RegisterBuffers] registers what fits and names
// the rest. Recent kernels (seen on 6.18) count the rings themselves too, about 6
// pages each, and a closed one until they have taken it apart, shortly after.
// 64-bit Linux; elsewhere [Supported] says no. It serves I10: every table here has
// a fixed size, and [Ring.Close] gives all of it back.
//
// A [Ring] does no protocol, no retry, no buffering and no goroutines: links and
// files are built on it. Links are not sent zero-copy (docs/decisions/0008), nor
// received in bundles. The tag giouring puts another library's ring under the same surface, for comparison
// only; docs/giouring.md says what that one cannot do.
package uring
