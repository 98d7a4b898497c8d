// Package linktest promises what the tests of links and of everything above
// them need: a link without sockets, a faulty path for real sockets, and the
// suite that every transport passes.
//
//	Memory       Dial ─ pipe of 256 KiB ─▶ Conn         synctest-friendly: waits on channels and conditions alone
//	             ◀─ pipe of 256 KiB ─
//
//	Proxy        dialer ─▶ Addr ─[ delay · bandwidth · cut · flip · reset ]─▶ target
//	                            ◀[ each direction by itself ]─
//
//	Conformance  open ─▶ order, sizes, closing, refusals, leaks, memory of any link.Transport
//
// Invariants that the suite holds transports to: I9, nothing changed on the way
// is delivered as intact; I10, links leave no goroutine and no descriptor behind
// and receiving takes no new memory in the steady state; I11, a claimed size is
// checked before memory is taken.
//
// Limits: a proxy holds up to 16 MiB under way per connection and direction. It
// stands between two TCP connections, so the kernels at both sides see a healthy
// peer: a cut is silence to the sessions above, not lost packets, and does not
// set off the kernel's own timeouts.
//
// It does not lose, reorder or repeat parts of a stream, which TCP would not
// show to anyone, and it speaks no frames: its faults fall on bytes.
package linktest
