// Package sim lives whole worlds of two or three sites from one seed each, on one
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
// # Plans
//
// What a seed decides is a [Plan] before the world begins: parameters, and items
// in the order of their times; each item chooses by a draw of its own. Only delays
// and how long a flush takes are drawn on the way, from named streams of the seed
// that begin anew at each moment: an item left out moves only what hung on it.
// A plan is text, a line a parameter or an item; what it leaves out is simple:
//
//	sim plan 1
//	seed 9
//	sites 3
//	13ms burst count=4 span=20ms draw=8
//	15ms cut-both site-b span=5ms draw=17
//	1.2s power site-a span=1s phase=sync draw=5
//
// A plan that breaks a promise is shortened by delta debugging ([Shrinking]), and
// saved in testdata/sim: TestSavedPlansHold lives it for ever, with forty seeds,
// because its own delays were those of one day.
//
//	cfs sim run --seeds 1-2000     a campaign: one verdict
//	cfs sim replay SEED|FILE       one world again, --trace for every event
//	cfs sim plan SEED              what the seed decides
//	cfs sim shrink SEED|FILE       the shortest plan that breaks the same promise
//	cfs sim ledger                 a campaign and its row in docs/ledger.md
//
// # Worlds
//
// A world has two phases. In the first, faults of a random half of the kinds
// strike. Then everything heals, and the world must come to rest. A site that is
// lost does not heal: the others, the core, come to rest without it.
//
//   - Links: cuts one way and both, of which some hold frames back; resets in
//     mid-frame, flipped bits, frames of old links, batches that change places,
//     refused dials, slow spells. A link is a byte stream in order, so frames are
//     neither doubled nor reordered in it; those of an older link may come late.
//     Cuts also come in patterns: a site isolated, both ways or one way; two of
//     three that do not hear one another; all ways stopped one after the other and
//     let go in another order; a pair that flaps at the pace of the heartbeats.
//   - Disks: writes that fail half way, get lost or land elsewhere, flushes that fail
//     once and lie from then on, full disks, slow ones, unreadable ones, bits that
//     flip in batches, unit headers and heads, old and new ones, some at a time, of
//     both journals and at several sites (harm.go); no descriptor for another file, a
//     directory copied and never flushed (media.go).
//   - Processes: kills and power cuts at chosen points of the work, also while the
//     journals are opened or fetched batches are at hand; pauses; clocks that drift,
//     are off and jump, also while the site is down; old images restored, disks replaced; a standby's
//     machine cloned, so that its site goes back to an old image, and from there to
//     what the original has (clone.go).
//   - In a few worlds it is the primary that is cloned, and both copies take appends.
//     No rest can be asked for there: the peer keeps one history and all that it
//     confirmed, and a log in which the sites differ is stopped by name (fork.go).
//   - Operators: orderly restarts, a configuration without peers, trimming.
//   - Sites differ in their parameters in half of the worlds; a fifth has two peers
//     behind one writer; in a fifth the host has a log of its own and appends by its
//     indices; in some, one of three sites is lost (lost.go); a third wakes points at
//     which the heart, the journal and the writer do now what they hardly ever do
//     (sometimes.go).
//
// A step is an event that changed something; an idle tick is none. A fault
// counts when it changed an outcome: a cut that lost or held a frame, a flip that
// hit one. A campaign is invalid if its median world is thin, or if, over a
// thousand seeds, one of [Marks] was never reached. One world in a hundred is
// lived twice and must leave the same trace.
//
// Checked against a model that never asks the code under test:
//
//   - I1: the disk reads along which batches each Sync made durable; an
//     acknowledgement beyond that is a breach, and so is a recovery that has less.
//     A word of a peer that lost what it had confirmed is taken after an alarm only.
//   - I2: rows of the Store are compared with the entries it decided, one to one.
//   - I3: what is applied is contiguous, flushed first, and never goes back
//     behind the Store's durable cursor.
//   - I4: all copies of a batch that end at the same seq have the same chain.
//   - I7: at rest all Stores have the same digest, and every key the last entry that
//     named it.
//   - I8: stamps rise in each log, and no restart takes them back behind what was
//     acknowledged.
//   - I9: every applied entry is, byte for byte, one that was appended, and so is
//     every batch that a site ships, gives back, or reads at rest: each journal from
//     its oldest batch to its end, without a gap (whole.go).
//   - I10: what waits in the writer, the windows, the links, memory of journals and
//     spare segments stay within their bounds; appends at rest while a site is lost
//     are admitted, flushed and at the other peer within seconds.
//   - I12: after segments were given back, what the media of registered peers lack,
//     lost ones too, and what the Store may lose is still there.
//   - I14: at rest, within two minutes of healing, every shard takes appends, lag
//     is known and zero, that of a lost site unknown, and no journal lacks anything. A
//     lag that is known, at either level, is never below what the peer's medium and Store
//     lack, nor younger than the oldest of it, nor older than since it was zero.
//
// Another kind of world is one day long and has one fault: the peer stands still,
// reachable, reading or flushing nothing. What each site's heart, writer, links
// and timers hold is counted every ten minutes and may show no trend (I10).
//
// The simulator is tested by what it must find. Plants are defects of the world
// around the engine: a disk that lies, a Store that tears a commit. The engine's
// own mistakes are in the production code behind the tag plant: see docs/museum.md.
//
// Damage spares the last good copy: a batch is struck only if another disk holds it
// whole, and neither does an old image or an empty disk take what others have lost.
// A disk whose young units were struck counts for nothing until an opening or ten
// seconds have shown what it cuts like a torn tail.
//
// Limits: one writer; units that hold control state, which has no other copy, are never
// damaged; writes go astray in the mirror only,
// where units are written one after another; one site at most loses what it had per
// world; worlds with damage or a lost image keep every segment, because what is not
// retained any more comes back by a bootstrap only. A restart with a flush under way
// is a kill. Where a journal cannot be read at all, the site is started again, as an
// operator would.
//
// It knows nothing of failover, of several writers, or of mixed releases.
package sim
