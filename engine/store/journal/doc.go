// Package journal keeps batches durable: one stream of segments with one flush,
// and a node has two: its own and a mirror.
//
//	Stage ─▶ open unit ─ BeginFlush ─▶ Write ─▶ Sync ─▶ EndFlush ─▶ durable, recent ─ evicted ─▶ Release
//	                                     │                             │
//	                                     │                             └──▶ Reader, while it keeps up
//	segment-1  ┌──────┬──────┬──────┬────▼─┬─ ─ ─ ─    head: who, term, generation, the last
//	           │ head │ unit │ unit │ unit │ zeros      valid unit before it, all log tails,
//	           └──────┴──────┴──────┴──────┴─ ─ ─ ─    control state
//	segment-2  ┌──────┬──────┬─ ─ ─                     unit: header, whole batches, padding; its
//	           │ head │ unit │                          durable-through mark says which units were
//	           └──────┴──────┴─ ─ ─                     flushed when it was written
//	spare-…, new-…, repair-…, LOCK
//
// FORMAT.md is the specification: byte tables, limits, what the digests cover,
// recovery in numbered steps.
//
// What it promises:
//
//   - I1: EndFlush succeeds only after the unit's Sync did. Every later Open finds what it
//     reported. A failed write or flush stops the journal (ErrPoisoned); no flush is retried.
//   - I3, I4: a staged batch continues its log's seq and chain.
//   - I9: a digest covers each bit of a head and a unit. Bad bytes at or below any
//     durable-through mark are damage, reported with file, offset and unit. Above every mark
//     they are a torn tail, which is cut permanently.
//     Damage that a reader meets becomes holes, as at Open: [Journal.Holes] lists them,
//     [Journal.Fill] fills them.
//   - I10: everything has a limit (docs/limits.md). A file is a segment once its head is
//     durable, so a bad head is damage. Two good heads stay: facts that only heads hold exist twice.
//   - I12: a segment is removed only if the floor covers every log in it and no reader
//     stands in or before it.
//
// The journal has no goroutine, clock or randomness. The caller decides when to flush, when to
// prepare the next file (Prepare), and when an idle journal closes with an empty unit
// (StageIdle). So the simulator drives it as the engine does. Group commit needs no timer: a
// flush takes what was staged during the previous one.
//
// A [Pipeline] has several units in flight if the file system has a queue (vfs.Queuer). It
// acknowledges them without gaps. The first failure stops the journal.
//
// A steady stream reuses its files: a segment that is no longer needed becomes the next one.
// Prepare writes zeros only if none is available (NeedsSpare).
//
//	reader meets bytes that do not hold ─▶ examine: replay that segment ─▶ ErrDamaged
//	                                              │
//	readers go on: what is intact, repairs ◀── Fill(log, batches) ◀── Holes
//
// It does not ship, apply, encrypt, or decide who may write. It cannot detect that the newest
// segments were deleted, or that the disk went back to an older image; peers and Store do.
package journal
