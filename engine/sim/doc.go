// Package sim lives whole worlds of two sites from one seed each, on one
// goroutine, and checks the promises of the engine after every event.
//
//	        plan (seed) ──▶ faults, load, parameters          checker: the reference model
//	             │                                               ▲        ▲        ▲
//	             ▼                                      durable  │ acked  │ applied│
//	heap of events (time, tie) ──▶ site-a ◀══ network ══▶ site-b │        │        │
//	                               shell: carries out effects ───┴────────┴────────┘
//	                               node.Step        the real heart
//	                               journal ×2       the real journals, on a memory disk
//	                               writer, apply    the real ones, on the memory Store
//
// The shell does what the engine's does, in one thread: a flush is four events
// (write, sync, end, told), so that a kill or a power cut may come between any
// two; frames cross the network as bytes through the real wire code. Time passes
// only from event to event; each site's clock drifts, is off and jumps.
//
// A world has two phases. In the first, faults of a random half of the kinds
// strike (cuts one way and both, resets in mid-frame, flipped bits, frames of old
// links, refused dials, slow links and disks, kills and power cuts at chosen
// points, failed writes and flushes, full disks, latent damage in the mirror, old
// images restored, clocks that jump, pauses). Then everything heals, and the
// world must come to rest.
//
// Checked against a model that never asks the code under test:
//
//   - I1: the disk reads along which batches each Sync made durable; an
//     acknowledgement beyond that is a breach, and so is a recovery that has less.
//   - I2: rows of the Store are compared with the entries it decided, one to one.
//   - I3: what is applied is contiguous, flushed first, and never goes back
//     behind the Store's durable cursor.
//   - I4: batches of own and mirror that end at the same seq have the same chain.
//   - I7: at rest both Stores have the same digest.
//   - I9: every applied entry is, byte for byte, one that was appended.
//   - I14: at rest, within two minutes of healing, lag is known and zero.
//
// A step is an event that changed something; an idle tick is none. A fault
// counts when it changed an outcome: a cut that lost or held a frame, a flip that
// hit one.
//
// Another kind of world is one day long and has one fault: the peer stands still,
// reachable, reading or flushing nothing. What each site's heart, writer, links
// and timers hold is counted every ten minutes and may show no trend (I10).
//
// To replay a seed: go test ./engine/sim -count=1 -run 'TestCampaign$' -v -args
// -seed0 SEED -seeds 1 -trace. Seeds that found a bug go into
// testdata/regression.seeds.
//
// The simulator is tested by what it must find. Plants are defects of the world
// around the engine: a disk that lies, a Store that tears a commit. The engine's
// own mistakes are in the production code behind the tag plant: see docs/museum.md.
//
// Limits: two sites, one writer; the oldest head of the mirror is never damaged;
// at most one old image is restored per world; worlds with damage or a restored
// image keep every segment, because what is not retained any more comes back by
// a bootstrap only.
//
// Where a reader meets damage that came after its journal was opened, the site
// is started again, as an operator would: only an opening finds a hole's ends.
//
// It does not shrink a failing plan, and knows nothing of failover.
package sim
