// Package wire holds the bytes that two sites agree on: ids, entries, batches,
// frames and control messages, each with one encoding and a decoder that
// refuses everything else. FORMAT.md next to this file is the specification.
//
//	frame on a link                      batch, anywhere
//	┌──────────┬────────────┬───────┐    ┌────────┬───────────────────────┐
//	│ envelope │ extensions │ body  │    │ header │ body                  │
//	└──────────┴────────────┴───┬───┘    └───┬────┴───────────┬───────────┘
//	   CRC32C over these        │            │                └ [base vector] entry entry …
//	   and a control body       │            └ chain: hash of the header, which holds the
//	                            │              digest of the body and the chain before
//	        batch batch … ◀─────┴─────▶ one control message
//
// The life of a batch:
//
//	writer:  CheckEntry, AppendEntry …, CloseBatch     the bytes are final
//	journal: writes them as they are
//	link:    AppendBatchesEnvelope + the same bytes
//	reader:  DecodeEnvelope, CheckFrame, SplitBatches, then EntryReader or CheckBody
//
// A control message is AppendTo at one end; DecodeEnvelope, CheckFrame and the
// message's Decode at the other.
//
// What it upholds of the promises of the system:
//
//   - I4: the chain runs over all batches of an incarnation, so equal seq and
//     equal chain mean equal history.
//   - I9: every changed bit of a batch, and of a control frame, is detected.
//   - I10, I11: sizes are checked before memory is taken. Decoding takes none
//     but for the rows of a message that outgrow its own slices and for names and
//     texts that differ from those it held; only errors allocate.
//
// Errors have three classes: ErrCorrupt for damage, ErrVersion for a newer release,
// ErrProtocol for a misbehaving peer. ErrLimit is for the caller's own data. Limits are constants: a batch is at most
// BatchBytesMax, a frame FrameBytesMax, a payload EntryPayloadBytesMax.
//
// The package is pure: no goroutine, clock, file or socket. Its functions may
// be called at the same time by any goroutines on different values, and on the
// same bytes as long as nobody writes them.
//
// What it does not do: it knows no cluster, so the receiver checks where a batch may come
// from (identity, epoch, order, gaps). It neither compresses nor seals. Checksums find
// accidents, not attackers. The journal defines its own files, segments and flush units.
package wire
