// Package faultproxy promises a path between two sockets that is as slow, narrow
// or broken as requested: long distances for measurements, faults for tests.
//
//	dialer ─▶ Addr ─[ delay · bandwidth · cut · flip · reset ]─▶ target
//	              ◀[ each direction by itself ]─
//
// Order is kept, and nothing is lost, repeated or changed, except by Flip.
//
// Limits: a proxy holds up to 16 MiB under way per connection and direction
// (I10). It stands between two TCP connections, so the kernels at both sides see
// a healthy peer: a cut is silence to the sessions above, not lost packets, and
// does not set off the kernel's own timeouts.
//
// It does not lose, reorder or repeat parts of a stream, which TCP would not
// show to anyone, and it speaks no frames: its faults fall on bytes.
package faultproxy
