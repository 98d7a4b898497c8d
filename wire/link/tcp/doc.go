// Package tcp promises the link contract over plain TCP sockets, on every
// system that Go's net package knows.
//
//	Dial / Accept ─▶ open ──▶ Send: writev of the parts, in the kernel's order
//	                  │  └──▶ Recv: 16 KiB read-ahead; larger frames straight into their memory
//	                  ├─ Close, any goroutine ───────▶ closed   (ErrClosed at once)
//	                  ├─ peer's close ───────────────▶ Recv: io.EOF   Send: ErrClosed
//	                  └─ reset, silence > DeadAfter ─▶ ErrLost
//
// Sockets have TCP_NODELAY on, because the session above gathers what belongs
// together, and leave SO_SNDBUF and SO_RCVBUF alone, because setting them turns
// off the kernel's autotuning. On a long fat path one stream then carries at
// most tcp_wmem's maximum per round trip (4 MiB at 100 ms: 40 MB/s): raise
// net.ipv4.tcp_wmem and tcp_rmem, or use several streams.
//
// Invariants: I9, I10 and I11 as package link states them. A link owns one
// descriptor, no goroutine, 32 KiB of read-ahead and the frame under way; Send
// and Recv allocate nothing in the steady state.
//
// Limits: congestion control, the bound on unacknowledged data and Info's
// figures need Linux; elsewhere keepalive alone notices a dead peer. A peer that
// acknowledges but does not read for DeadAfter counts as dead as well.
//
// It does not encrypt, authenticate or reconnect, and it does not queue: Send
// blocks while the peer does not read.
package tcp
