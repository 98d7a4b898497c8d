// Package rdma promises the link contract over RDMA verbs. Each frame is one RDMA write from
// the sender's registered memory into the receiver's ring, and is delivered where it landed.
// Nothing lands after the link has ended.
//
//	sender                                                              receiver
//	┌ lent regions ┐   RDMA WRITE_WITH_IMM (number)   ┌──────────── ring ────────────┐
//	│ stage        │ ═══════════════════════════════▶ │ ▓▓ held ▓▓│ frame │   │▒skip▒│
//	└──────────────┘                                  └─▲──────────────────▲─────────┘
//	   ▲ completion (1 in 16), or credit                │ freed            │ taken
//	   └ lent parts are free                            └─ Frame.Release ──┴─ Recv
//	     ◀───────────── notice: credit (number freed), inline, batched ──────────────
//
//	control connection (TCP): hello ▶ ◀ welcome, ready ▶ … bye; its end is the peer's
//
// Rules of the ring, which both ends compute alike:
//
//   - A message (the bytes of one Send) lies in one piece, at a multiple of 64 bytes; a piece
//     that would pass the end of the ring starts at its begin. Its immediate holds its number
//     modulo 2^10 and its size.
//   - Messages are freed in order, after the last Release of every frame in them. Frames under
//     16 KiB are copied out at once (Options.LandBytesMin).
//   - A credit names the newest free message. It is sent when 1/4 of the messages or of the
//     ring is free, or when the sender waits and asks (a starve notice).
//   - A sender has at most the peer's posted receives less 16 messages in flight. So a receive
//     is never missing, and a receiver-not-ready answer is a fault.
//   - Without immediates (iWARP) a frame is a write followed by a SEND of 16 bytes.
//
// Close returns only after nothing of the link can land any more. Every fault ends in
// link.ErrLost with the verbs' status in its text. docs/rdma.md describes sending, ending,
// dialing and limits.
//
// Invariants:
//
//   - I4: messages arrive in the order they were sent, each once: the number is
//     checked, and a link never outlives its queue pair, so nothing is sent twice.
//   - I9: envelope and CRC are checked where the frame lies, before it is handed out.
//   - I10: a link pins RingBytes + StageBytes + 32 bytes per queue entry and the
//     Regions; its lists have fixed sizes. A peer that does not read stops its sender.
//   - I11: setup messages have at most 268 bytes, a deadline and a checksum; sizes are
//     checked before memory is taken, numbers and sizes of messages before they are
//     believed. Each link has a protection domain and a key of its own.
//
// It does not reconnect, number frames, acknowledge, seal or fall back: the session
// and the engine do. It has no shared receive queue and no multi-path.
package rdma
