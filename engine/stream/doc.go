// Package stream carries the logs of one site to one peer: it decides from
// batch headers alone what the peer lacks, how much may be under way, what a
// receiver takes, and how far behind the peer is. It is pure: values in, values
// out, and it never sees a payload byte.
//
// The source's side of a session, as package node walks through it:
//
//	       dial          link up         welcome        last page
//	down ───────▶ dialing ──────▶ hello ─────────▶ resume ───────┐
//	 ▲                                                           ▼
//	 │ link down, refusal, silence, protocol error             seek ──┐
//	 ├───────────────────────────────────────────────────────────┘    │ the reader
//	 │                                                                │ stands
//	 └─────────────────────── live ◀──────────────────────────────────┘
//	                         ▲    │ read → Pass → frame → received → durable
//	                         └────┘
//
// One log in a session. Only a log that is in is shipped; the others go on when
// it leaves (I10):
//
//	          Begin(proven)               BatchRefusal, other chain at the peer's seq,
//	out ──────────────────────▶ in ──────────────────────────────────────────▶ out
//	 └─ Begin ─▶ in, unproven ──┘▲        batches no longer kept
//	                  └─────────┘ own batch ends at the peer's seq, same chain (I4)
//
// The receiver's side judges each batch against the tail after everything staged is
// flushed. It takes the batch, drops it (a repeat) or refuses it. A frame is durable once its
// newest taken batch is. Frames without one wait for earlier frames, so acks never
// overtake each other (I1).
//
// # Invariants
//
//   - I1: an ack as durable is passed on only for frames that the peer flushed.
//   - I2: a batch that ends at or below the tail is dropped, so a repeated frame
//     changes nothing.
//   - I3: a batch is taken only if it continues its log without a gap.
//   - I4: chains are compared wherever both ends have the same seq; a mismatch
//     takes the log out, names both chains, and overwrites nothing.
//   - I10: everything under way is bounded by the window.
//   - I11: identity, shard and writer are checked before anything else.
//
// # Limits
//
// A [Flight] holds at most one end per shard and frame, and as many frames as
// the window takes; per shard a [Sender] takes 56 bytes and a [Meter] 104. No
// call costs more than the batches or logs that it is given, except
// [Sender.Reset], once per session, and [Meter.Age], which looks at the logs
// that are behind.
//
// # What it does not do
//
// It reads no journal, encodes no message and keeps no timer: see package node.
// A log that changed its incarnation is refused where another one is held; how
// it is handed over is not part of a session.
package stream
