// Package journal keeps batches durable: one stream of segments with one flush,
// of which a node has two, its own and a mirror.
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
//   - I1: EndFlush returns without an error only after the unit's Sync did; what
//     it reported is found by every later Open, whatever the disk did with the
//     rest. A failed write or flush stops the journal (ErrPoisoned), and no flush
//     is ever tried twice.
//   - I3, I4: a batch is staged only if it carries its log's seq and chain on.
//   - I9: each bit of a head and a unit is under a digest. Bytes that do not hold
//     at or below any durable-through mark are damage, named by file, offset and
//     unit; only above every mark they are a torn tail, which is cut. A cut is for
//     ever: the next segment names the last unit before it.
//     What is served from memory is what was staged; the file is checked when it
//     is read, and damage that a reader meets is, when it is told, what an Open would
//     make of it: holes, which [Journal.Holes] lists and [Journal.Repair] fills.
//   - I10: see the limits below; nothing grows without one.
//     A file is a segment once its head is durable, so that a head that does not hold
//     is damage, and two heads that hold stay: what only heads say is there twice.
//   - I12: Retain gives a segment back only when floor covers every log that has
//     batches in it and no reader stands in or before it.
//
// The journal has no goroutine, clock or randomness: the caller decides when to
// flush (take what was staged while the flush before was under way: group commit
// needs no timer), when to prepare the next file (Prepare) and when an idle
// journal closes with an empty unit (StageIdle). So the simulator drives it as
// the engine does.
//
// A [Pipeline] has several units under way where the file system has a queue of
// durable writes (vfs.Queuer), and acknowledges the stretch without a gap. The
// first one that fails stops the journal; what ended well behind it is not durable.
//
// A steady stream goes round in the same files: where nothing waits to follow a
// half-full segment (NeedsSpare), what is no longer needed becomes the next file
// (Retain), and zeros are written (Prepare) only where that supplies none.
//
// Limits. Memory: per log one state (about 250 bytes), per retained segment one
// row of 72 bytes for each log; staged batches are the caller's and bounded by
// StagedBytes; durable batches stay lent for readers up to RecentBytesMax, of
// which what every open reader has passed takes a sixteenth, counted by the memory
// that their owners keep from reuse (Measured), the oldest unit goes first, and
// what a reader lends out goes only at its next call: so each reader holds at most
// one more Next's worth, and one buffer of max(bytesMax, largest unit), or of a
// damaged unit with its repairs. Disk: segments of a fixed size, beyond what
// Retain keeps at most one that is being zeroed and as many spares as were begun
// between two Retains that gave some back, SpareBusyMax at most (1 GiB), at rest
// (Trim) SpareMax, and none after Open; the two newest segments stay; repairs no
// larger than what they replace. A Pipeline has Depth units of UnitBytesMax under way at most. A head
// may take a quarter of a segment, 32 MiB at most, with its table of logs, and as
// much with its control state. One file descriptor, one more per reader.
//
// After damage: a log that began in lost bytes and that no later head or batch
// names, nobody here knows of; without its oldest head a journal does not know
// with which batch it began (both are told as damage). Recovery reads everything
// that is retained.
//
// Damage that a reader meets in a running journal loses no knowledge: the segment is
// replayed between the tables of tails in memory, so each hole has two ends and no
// log becomes suspect; the next unit begins a new segment, whose head makes that so
// for the next Open too (StageIdle asks for one where nothing waits). It costs one
// reading of that segment, without the journal's lock. A repair that goes bad opens
// its hole again, one that damage grows around stays. A reading that fails is no
// damage, and neither are bytes that a second reading finds whole.
//
//	reader meets bytes that do not hold ─▶ examine: replay that segment ─▶ ErrCorrupt
//	                                              │
//	readers go on: what is intact, repairs ◀── Repair(log, batches) ◀── Holes
//
// It does not ship, apply, or decide who may write; it does not encrypt; it
// cannot notice that the newest segments were deleted as files while older ones are
// left, or that the disk went back to an older image: peers and the Store tell that.
package journal
