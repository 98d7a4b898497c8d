// Package rdma promises the link contract over RDMA verbs: each frame is one RDMA
// write from the sender's registered memory into the receiver's ring, handed out
// where it landed, and nothing lands after the link has ended.
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
//   - A message (the bytes of one Send, a frame) lies in one piece, at a multiple of
//     64 bytes behind the one before; where that would go round the end, the rest of
//     the round is skipped. Its immediate tells its number, modulo 2^10, and its size.
//   - Messages are freed in order: a slot is used again only after the last Release
//     of every frame in it and in those before it. Frames under 16 KiB are copied out
//     at once and free their slot (Options.LandBytesMin).
//   - A credit names the newest message that is free. It is sent when a quarter of
//     the messages or of the ring has become free, or when the sender has asked
//     because it waits (a starve notice).
//   - A sender has at most so many messages under way as the peer has posted
//     receives, less 16; those are for notices. So no receive is ever missing: a
//     receiver-not-ready answer counts as a fault.
//   - Without immediates (iWARP) a frame is a write and a SEND of 16 bytes behind it.
//
// Sending: Send copies into the stage. SendLent (link.LendingConn) sends parts of
// Options.Regions from where they lie. A frame of more parts than an entry gathers, or
// larger than the free stage, is several writes, the last of them with the immediate.
// Every sixteenth entry of the send queue asks for its completion, and one whose
// stage would otherwise fill up with silent ones.
//
// The pump, a goroutine per link, polls completions: up to 32 at a time, looking on
// for 20 µs as long as that pays, then arm, poll once more, wait. It posts receives
// again before anybody learns that they were used. A second goroutine reads the control
// connection. A third one per transport reads the device's events.
//
// A sender's completion says nothing about the peer's memory being safe: acks are the
// session's, after the far journal's flush.
//
// Ending: Close says bye on the queue pair and on the control connection, waits for
// the peer's device to take what was sent (Options.DrainMax), moves the queue pair to
// ERR, closes the ring's region, and returns. So whoever accepts something newer
// after Close knows that nothing of the old link lands any more. Every fault ends in
// link.ErrLost with the verbs' status in its text: retry exceeded, receiver not
// ready, flushed, remote access, overrun, device gone, control connection ended. What
// had landed whole before is still handed out. A device that died is opened again by
// the next Dial or setup.
//
// Dialing: the setup goes by TCP, so it proves nothing about the fabric. Dial returns
// when the peer's device has answered over the new queue pair. What fails once the peer
// was reached is ErrSetup: another transport may do. One address may serve two
// transports (ListenBeside): a setup's first byte is no frame's. Strangers pin little:
// three setups run at once, links that nobody has accepted among them; a later one may
// end one that takes over 250 ms.
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
// Limits: who holds a frame of the ring holds up all that come behind it, once the
// ring is full or Queue less 16 messages have come: hold it until a flush, not as a
// cache (link.Frame.Scarce says so; LandBytesMin can have everything copied). A
// peer can change a frame that it has sent and that is still held: the batches' own
// digests tell. RDMA does not encrypt, and keys are bearer rights: the fabric must be
// trusted, or frames sealed above. Frames that must be copied and are large against
// the stage complete more often than one in 16. Links and the control connection are
// TCP's for their addresses: host:port.
//
// It does not reconnect, number frames, acknowledge, seal or fall back: the session
// and the engine do. It has no shared receive queue and no multi-path.
package rdma
