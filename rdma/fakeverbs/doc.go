// Package fakeverbs promises RDMA verbs in memory: devices of one process that
// move bytes and fail as real ones do, so that the link is tested everywhere and
// against faults that no card can be asked for.
//
//	fabric := fakeverbs.New(fakeverbs.Options{Devices: []string{"a", "b"}})
//	device, err := fabric.Open(rdma.DeviceName{Device: "a"})
//
//	PostSends ─▶ send queue ─▶ target ready? ─ no ─▶ stalled ─ patience ends ─▶ retry or RNR exceeded
//	                              │ yes     ▲           │
//	                              ▼         └───────────┘ the peer posts, connects, its port comes up
//	                  keys, rights, bounds ─ no ─▶ error; both queue pairs to ERR; the rest is flushed
//	                              │ yes
//	                              ▼
//	                        bytes copied ─▶ completion, if signalled ─▶ completion queue ─ full ─▶ overrun
//
// As on a real device:
//
//   - Order holds within a queue pair. OpSend and OpWriteImm take a receive.
//   - Send queue entries are free again once a later signalled completion was polled: too few
//     signals lead to ErrFull. An unsignalled failure completes.
//   - Keys die with their region; protection domains are separate.
//   - A full completion queue kills its queue pairs. A removed device answers only Close.
//   - Memory that is not inline is read when the send is executed, not when it is posted.
//
// The script (Fabric.Fail) makes the nth call of a kind, or the nth entry on the
// wire, fail; Remove, SetPort and FailQueuePairs are for the moment. Objects
// counts what is open and pinned, so a leak is a number.
//
// It serves tests of I9, I10 and I11. The conformance suite of package verbstest
// holds it and the real device to the same behaviour. One lock guards a fabric: its
// speed means nothing. It knows no packets, hence no path MTU, loss or congestion;
// several processes do not see each other.
package fakeverbs
