// Package socket promises that every transport over TCP sets the same options
// on its sockets and tells the same figures of them.
//
//	Options ─ Validate ─▶ Tune(fd) before connect or listen     ─▶ bounded silence, congestion control
//	                      TuneAll(fd), where net does not do it ─▶ no delay, keepalive too
//	                      ReadInfo(fd), Over(fd) later          ─▶ link.Info; a close told from a loss
//
// SO_SNDBUF and SO_RCVBUF are left alone: setting them turns off the kernel's
// autotuning.
//
// Limits: Linux. Elsewhere Tune does nothing, and the figures are unknown.
//
// It opens, owns and closes no socket.
package socket
