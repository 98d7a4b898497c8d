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
// holds it: submitted and ended in one system call of that goroutine's own. So
// nothing is handed to another thread and back, memory is lent for one call, and
// there is nothing to cancel.
//
//	Send, Recv ─▶ Caller ── io_uring_enter(submit 1, wait 1) ──▶ result, or EAGAIN
//
// Where there is no ring for one, because memory, descriptors or permission are
// missing, or it fails, it makes system calls ([CallStats].Plain, Refused, Reason).
// The links of a process without CAP_IPC_LOCK take a quarter of RLIMIT_MEMLOCK at most.
//
// # The links
//
// [Transport] passes linktest.Conformance. A link has two Callers, one for its sender
// and one for its receiver; those of closed links wait for the next, 16 at most.
// Connections are dialed and accepted by plain system calls, because a ring for each
// stranger would be a stranger's to take: a host judges who came in, and adopts (Adopt)
// whom it knows. A frame is gathered from where it lies by one SENDMSG. Nothing sleeps in
// a ring: who finds nothing, or no room, waits as Go's own connections do, after up to
// 20 µs of looking while that pays ([TransportOptions].NoSpin leaves it out). A thread
// that slept in the kernel would take its processor along until Go's runtime noticed.
//
// # The disk
//
// [Disk] is the files of one engine and passes vfstest.Conformance and
// QueueConformance. Who writes in bulk opens a queue. A write that is alone is made by
// system calls. Of several, those up to 128 KiB of parts below 16 KiB are copied and go
// past the cache (WRITE, O_DIRECT), all at once, and one fdatasync follows for all that
// ended; others are gathered from where they lie and go through it (WRITEV, RWF_DSYNC),
// one at a time, and stay pinned until they end. While the kernel has nothing of it,
// its goroutine sleeps as goroutines do. Everything else is a system call, and so is
// a queue that finds no ring. docs/decisions/0013 has the story.
//
// What must wait waits for a worker of the thread that submitted it, and Linux gives it
// up unbegun (ECANCELED) where signals, those of Go's runtime say, keep that worker
// from being made. Callers and queues then submit it again and count it
// ([CallStats].Revoked).
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
