// Package arena promises memory for large buffers that the garbage collector
// neither moves, scans nor counts: one region of whole pages, mapped once, so that
// a device or a ring may register it once.
//
//	region  ┌───────────────┬───────┬───┬─┬─┬───────────────┬ ─ ─ ─    chunks of 4 MiB
//	        │     4 MiB     │  2 M  │1 M│…│…│     4 MiB     │
//	        └───────────────┴───────┴───┴─┴─┴───────────────┴ ─ ─ ─
//	Alloc: the smallest free extent that is large enough, halved as often as it can be
//	Free:  joined with its other half as long as that is free
//
// Extents are powers of two from 1 KiB to 4 MiB, and begin at a multiple of
// their size. Smaller requests, and those that find no extent, are served from the
// heap: whoever asks bounds its own use, and the arena bounds the region only.
//
// Invariants:
//
//   - I10: the region never grows. Pages that were never used take no memory.
//   - Freeing what is not lent, or twice, panics.
//   - The region is unmapped only when nothing of it is lent: memory that is used
//     after its Free shows somebody else's bytes, as in any pool, but lent memory
//     never vanishes.
//
// Limits: an extent of 2^n bytes serves what is larger than its half, so less
// than half of what is lent is waste, and of that only touched pages take memory.
// Bookkeeping costs 9 bytes of heap per 1 KiB of region. Where pages cannot be
// mapped (systems other than Linux) the region is one piece of the heap.
//
// It does not lock pages, register them, or zero what it lends.
package arena
