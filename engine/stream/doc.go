// Package stream carries the logs of one site to one peer, both ways: [Outbound] is our
// side of the session that we dial, [Inbound] our side of the one that the peer dials. It
// decides from batch headers alone. It is pure and never sees a payload byte.
//
//	OwnLogs ─▶ Outbound per peer                    Inbound per peer ─▶ Mirrors
//	 hello, compare │ Sender: what the peer has      Rules: what a batch must fit
//	 read, ship     │ Window: how much is under way  Receiver: frames that wait for a flush
//	 heartbeats     │ lag.Meter: how far behind      pages: what is durable and applied
//
// The source's side of a session:
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
//   - I2: a batch that ends at or below the tail is dropped.
//   - I3: a batch is taken only if it continues its log without a gap.
//   - I4: chains are compared wherever both ends have the same seq; a mismatch
//     takes the log out, names both chains, and overwrites nothing.
//   - I10: everything under way is bounded by the window.
//   - I11: identity, shard and writer are checked before anything else.
//
// # Limits
//
// A [Flight] holds at most one end per shard and frame, and as many frames as the window
// takes; per shard a [Sender] takes 56 bytes. No call costs more than the batches or logs
// that it is given, except Resume, once per session, and Status.
//
// # What it does not do
//
// It owns no link, reads no journal and keeps no retention floor: see package node, and
// [Heart]. Of older incarnations it ships nothing: they are pulled (opens.go). A START is taken
// where the journals cover its rows; any other change of a log's incarnation is refused.
package stream
