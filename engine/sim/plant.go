package sim

// Plant names a mistake that a world makes on purpose, so that the simulator
// itself can be tested: a campaign must find each of them. Each one sits where
// the classic mistake would sit: in the disk, in the Store, or in the shell that
// carries out the heart's effects.
type Plant string

const (
	// PlantAckBeforeFlush leaves the flush out: a written unit counts as durable.
	PlantAckBeforeFlush Plant = "ack-before-flush"
	// PlantLyingFlush is a disk whose Sync does nothing and says that it did.
	PlantLyingFlush Plant = "lying-flush"
	// PlantApplyBeforeFlush applies batches as they arrive.
	PlantApplyBeforeFlush Plant = "apply-before-flush"
	// PlantCursorFirst saves the cursor in a commit of its own, before the effects.
	PlantCursorFirst Plant = "cursor-first"
	// PlantNoDigest takes batches off the link without looking at their digests.
	PlantNoDigest Plant = "no-digest"
	// PlantNoDirSync never makes a directory durable.
	PlantNoDirSync Plant = "no-dir-sync"
	// PlantFlushRetried flushes again after a failed flush, and believes the second
	// answer.
	PlantFlushRetried Plant = "flush-retried"
	// PlantResumeFromSent resumes a session behind what was sent, not behind what
	// the peer has.
	PlantResumeFromSent Plant = "resume-from-sent"
	// PlantRetainBySent gives segments back once their batches were read for
	// sending, not once they are safe.
	PlantRetainBySent Plant = "retain-by-sent"
	// PlantAckOnReceipt calls batches durable as soon as they are staged.
	PlantAckOnReceipt Plant = "ack-on-receipt"
	// PlantEffectsFirst saves the effects in a commit of their own, before the
	// cursor.
	PlantEffectsFirst Plant = "effects-first"
	// PlantNoVerifyWait lets a source append at once, before a peer has said whether
	// it lost acknowledged data.
	PlantNoVerifyWait Plant = "no-verify-wait"
)

// Plants are all of them.
var Plants = []Plant{
	PlantAckBeforeFlush, PlantLyingFlush, PlantApplyBeforeFlush, PlantCursorFirst, PlantNoDigest,
	PlantNoDirSync, PlantFlushRetried, PlantResumeFromSent, PlantRetainBySent, PlantAckOnReceipt,
	PlantEffectsFirst, PlantNoVerifyWait,
}
