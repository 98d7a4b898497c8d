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
// The suite holds transports to these invariants:
//
//   - I9: nothing changed on the way is delivered as intact.
//   - I10: links leave no goroutine or descriptor behind; receiving takes no new memory in
//     the steady state.
//   - I11: a claimed size is checked before memory is taken.
//
// The proxy is package faultproxy's, which tells its limits.
//
// It does not lose, reorder or repeat parts of a stream, which TCP would not
// show to anyone.
package linktest
