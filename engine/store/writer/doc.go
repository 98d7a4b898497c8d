// Package writer promises that entries become batches exactly once: dense seqs,
// strictly rising stamps, a running chain, and one encoding that the journal
// writes from.
//
//	Append(shard) ─ encode ─▶ open batch ─ full · Flush ─▶ closed ─▶ Journal.Stage
//	                              ▲                                                     │
//	                              └──── pool ◀── Release (not lent any more) ◀──────────┘
//
//	Reserve(shard) ─ encode all but the payload ─▶ open batch ─ the caller fills it in ─▶ Commit · Abort
//
//	log:  START (seq 1, chain of nothing) │ seq 2 … n │ n+1 … │ …   Prev of each = Chain of the one before
//
// Invariants:
//
//   - I3, I4: the batches of a log are contiguous and chained in the order in
//     which Append gave out their seqs; a batch once closed never changes.
//   - I10: at most BytesMax is appended or reserved and not yet flushed. Buffers grow by
//     doubling. They begin as large as the shard's last batch only while less than BytesMax
//     is held. A full buffer of 16 KiB is closed, not grown. So pending batches hold less
//     than 2 × BytesMax + 1 KiB per open batch. The journal bounds what is flushed and still
//     lent (RecentBytesMax). The pool keeps at most BytesMax of unused memory.
//   - A stamp is above ClockFloor and above the log's last one: a clock that steps back
//     never issues one twice. The first stamp of a batch is at or above the wall clock's
//     microsecond; the others count on from there. So a stamp is at most as old as its
//     batch, which stays open during the previous flush.
//   - I8: Fill flushes a clock bound above the stamps with the batches that have them.
//
// Limits: one batch is at most wire.BatchBytesMax.
//
// It does not flush, admit, acknowledge, or decide who may write: the engine does.
package writer
