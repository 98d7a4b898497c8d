// Package apply promises that each entry of a shard's logs is decided exactly
// once, in the order of its log, in one commit with the cursor that says so.
//
//	durable batch ─▶ at or below the cursor, or beyond its log's end? ──yes──▶ skipped
//	                       │ no
//	                       ▼
//	                 START: its rows applied? own, fenced: an end known? ──no──▶ refused, it comes again
//	                       │ yes
//	                       ▼
//	                 continues the cursor by seq and chain? ──no──▶ log stopped
//	                       │ yes
//	                       ▼
//	                 data: every entry understood? ──no──▶ log stopped
//	                       │ yes                 START, marker: no effects
//	                       ▼
//	                 Store.Apply(effects, cursor) ──error──▶ log stopped
//	                       │
//	                       ▼
//	                 cursor = end of the batch
//
// Invariants:
//
//   - I2: the cursor and the effects go to the Store in one change, so a batch
//     that is met again after a crash is either skipped or redone, never doubled.
//   - I3: applied seqs of a log are contiguous.
//   - I4: a batch whose previous chain is not the cursor's stops its log, by
//     name, and overwrites nothing.
//   - I6: nothing beyond an end is applied once the START that says so is known. A Store that
//     was past it before stops its shard.
//   - I10: a stopped log costs the shard's other logs nothing.
//
// Limits: one batch is decided at a time, so memory is one batch's worth of
// entry headers, kept from batch to batch.
//
// A START names the ends of the logs that were written before it, and waits until each is applied
// up to there ([WaitError], [Waits]). One that did not survive is skipped. What STARTs say
// outlives their batches, so the shell reports them ([Applier.Learn]); what a fenced writer wrote
// waits for an end ([Applier.Raise]). A Store past an end refuses its whole shard ([PastError]).
//
// A [Feed] decides which batches of a journal's reader go to their appliers: a log whose
// next batch was lost waits for the repair, and the others go on.
//
// It does not read journals, flush, retry, or decide conflicts: with one writer
// for the domain nothing is concurrent.
package apply
