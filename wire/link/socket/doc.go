// Package socket promises that every transport over TCP opens its sockets alike and
// tells the same figures of them.
//
//	Options ─ Validate ─▶ Listen(addr)  ─▶ accepted sockets inherit: bounded silence, congestion control
//	                      Dial(addr)    ─▶ name ─ resolve ─▶ addresses ─ Race ─▶ the first that answers
//	                      ReadInfo(fd), Over(fd) later ─▶ link.Info; a close distinguished from a loss
//
// Race follows RFC 8305: a try gets a head start of 250 ms, or less where there are
// many, and then the next one runs beside it. So the silence of one address takes no
// time from another.
//
// A connection to a port in the ephemeral range where nobody listens may meet itself.
// Dial refuses such a one, and leaves the port free for the peer.
//
// SO_SNDBUF and SO_RCVBUF are left alone: setting them turns off the kernel's
// autotuning.
//
// Limits: Linux. Elsewhere options beyond net's are not set, and the figures are
// unknown.
//
// It owns and closes no socket that it has returned.
package socket
