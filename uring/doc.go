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
//     thread (runtime.LockOSThread); the kernel refuses others. Only
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
// # The loop
//
// [Loop] is one ring with the goroutine that owns it, and serves the links
// ([Loop.Transport], which passes linktest.Conformance) and the files ([Loop.FS],
// which passes vfstest.Conformance) of one engine:
//
//	Send, WriteAt, Dial …  ── post ──▶ queue ─▶ ┌──────┐ ─▶ kernel
//	     ▲                   wake if idle       │ loop │
//	     └── semaphore ◀── the last completion ─└──────┘ ◀─ kernel
//
// An operation is made once, with its link or file, and is used again and again:
// the steady state allocates nothing. It waits in a list of the loop for a free
// submission or slot. Close, and a ring that fails, end every operation with an
// error; nothing hangs.
//
//   - Sending: a frame under 16 KiB is copied to a stage of its link, so Send does
//     not wait for the loop; a larger one is gathered from where it lies.
//   - Receiving: small frames by multishot into 16 KiB of the link's own, in four
//     pieces; a frame that lacks 16 KiB or more is received where it will lie. A
//     receiver that pauses holds at most about 1 MiB of whole frames and one under
//     way; then the kernel gets no pieces back, and the peer's window closes.
//   - Memory of callers that lies on the Go heap is pinned (runtime.Pinner) from
//     before the submission to the last completion, within the one call that lent
//     it; frames under way likewise. Gather lists live in slots.
//   - A file's write is WRITEV, its sync FSYNC with datasync; [File.WriteDurable]
//     is both in one (RWF_DSYNC). Names and directories are package vfs's.
//   - The loop sleeps in io_uring_enter. It spins before, 20 µs at most, within 1 ms
//     of traffic, without disk operations under way, and with GOMAXPROCS of 4 or
//     more: with 2 it kept what it had woken from running.
//
// Measured on 2 cores (kernel 6.18, loopback, links and cfs demo between two
// processes, the rest in one; other work on the machine, so by the order of size
// only), against package tcp and vfs.OS:
//
//	                              portable      ring
//	round trip of a frame, p50       19 µs    120 µs
//	stream of 1 KiB frames         0.4 GB/s  0.6 GB/s, at a third of the CPU
//	stream of 64 KiB frames        2.7 GB/s  0.8 GB/s
//	stream of 1 MiB frames         3.4 GB/s  2.4 GB/s
//	write and sync of 64 KiB, p50   140 µs    220 µs
//	durable append at a peer, p50   0.4 ms    0.9 ms
//	cfs demo, entries per second    17,000    16,700
//
// The hand-over costs it: to wake the loop's thread, and from it a goroutine, takes
// 50 µs where a system call of the goroutine's own takes a few. So an engine's
// Options.IO of "auto" stays with the portable way, and "io_uring" is for asking.
//
// # The disk
//
// [Disk] is the files of one engine and passes vfstest.Conformance and
// QueueConformance. Who writes in bulk opens a queue, whose ring its goroutine owns:
// writes up to 128 KiB of parts below 16 KiB are copied into registered memory and
// go past the cache (WRITE_FIXED, O_DIRECT, RWF_DSYNC), all at once; others are
// gathered from where they lie and go through it (WRITEV, RWF_DSYNC), one at a time,
// and stay pinned until they end. Everything else borrows one of four rings for one
// operation. A queue holds 128 KiB of locked memory for each write of its depth.
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
// A Loop holds 256 slots of 128 parts and 32 disk operations; each link 144 KiB and
// one descriptor, and no goroutine. Links wait for Accept up to 64.
//
// A [Ring] does no protocol, no retry, no buffering and no goroutines: links and
// files are built on it. Links are not sent zero-copy, nor received in bundles. The
// tag giouring puts another library's ring under the same surface, for comparison
// only; docs/giouring.md says what that one cannot do.
package uring
