// Package link promises whole frames, in order, both ways between two nodes,
// whatever carries them; it names what can go wrong, and lends the memory that
// received frames live in.
//
//	Transport.Dial ──────────▶ Conn ═══════ frames ═══════ Conn ◀── Listener.Accept
//
//	Send: parts ─ gathered, not copied ─▶ stream
//	Recv: stream ─▶ 32 bytes ─▶ DecodeEnvelope ─▶ Pool.Take(size) ─▶ rest ─▶ CheckFrame ─▶ Frame
//	                             limits first      memory second              CRC last
//	      a frame of 16 KiB or less stays in the read-ahead, which its frames share
//
//	Frame: Take(1 reference) ─ Retain ⇄ Release ─▶ 0 references: memory goes back to its Pool
//
// The package holds the contract (Transport, Listener, Conn), what transports
// over a byte stream share (Reader, CheckParts) and the frames' memory (Frame,
// Pool, with Memory behind it). The rooms below it implement the contract; linktest has the suite that
// each of them passes.
//
// Invariants:
//
//   - I9: a frame whose envelope, extensions or control body was changed on the
//     way is never delivered. The batches of a frame carry their own digests,
//     which the receiver of the frame verifies (wire.SplitBatches).
//   - I10: a link holds one frame under way and its read-ahead of 32 KiB; a Pool
//     keeps at most IdleBytesMax and 2 MiB of read-aheads unused; everything else is
//     held by callers.
//   - I11: sizes are checked against the format before memory is taken.
//
// Limits: a frame has at most wire.FrameBytesMax bytes. A large one pins less than
// twice its size. Small ones lie several in one read-ahead, which the first with
// batches answers for, and at least half of which is used. A Reader reads 16 KiB
// ahead, except between large frames, which are read where they stay
// (Pool.CopiedBytes counts what moved).
//
// It does not reconnect, number, acknowledge, compress, seal or authenticate:
// the session above does. It does not queue either: Send blocks while the peer
// does not read.
package link
