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
//   - I10: at most BytesMax is appended or reserved and not yet flushed. Buffers
//     grow by doubling, and begin as large as the shard's last batch only while
//     less than BytesMax is held, and one of 16 KiB is closed rather than grown, so what is pending holds less than
//     2 × BytesMax + 1 KiB per open batch; what is flushed and still lent is the journal's to bound
//     (RecentBytesMax); the pool keeps at most BytesMax of unused memory.
//   - A stamp is above ClockFloor and above the log's last one: a clock that steps
//     back never issues one twice. The first of a batch is at or above the wall
//     clock's microsecond, those behind it count on from there; so a stamp is as
//     old as its batch at most, which is open while the flush before it lasts.
//   - I8: Fill flushes a clock bound above the stamps with the batches that have them.
//
// Limits: one batch is at most wire.BatchBytesMax.
//
// It does not flush, admit, acknowledge, or decide who may write: the engine does.
package writer
