// Package ends is a bounded model of where logs end: the rules of epochs, START batches, orphans
// and repair, for one shard, without any production code.
//
//	Bound ──▶ first State ──▶ each rule, for each site ──▶ states ──▶ always, quiet
//	                 ▲                                        │
//	                 └──────── not seen before ◀──────────────┘
//
// A [State] holds two or three sites. Each has the durable part (epoch, journals that keep orphans,
// rows of STARTs, Store, orphan lists, the file of a repair) and what a restart forgets. Rules are
// of two kinds. System rules are what sites do by themselves: raise, push, pull, flush, apply, open.
// The others happen to them: appends, promotions with any set of reachable sites, kills, wiped disks,
// older images, batches given back, discarded epochs. A [Bound] limits the second kind only.
//
// A cut is a peer with which no step is taken, so every set of reachable sites is in every world.
// An exchange between two sites is one step, and so is each batch.
//
// # Promises
//
// In every state:
//   - An epoch has one incarnation, and no seq is written twice (I4, I5).
//   - Nothing beyond a known end is applied. A Store that holds such an entry shows it by a cursor.
//   - Sites that know the same STARTs compute the same ends.
//   - Nothing that a fenced writer applied after the raise is lost.
//
// In every state in which no site has anything left to do:
//   - Epochs and Stores are equal (I7), each Store stands at its ends, no site waits (I14).
//   - What was acknowledged as durable at two sites is there, if every promotion since reached a
//     holder and no operator discarded it.
//   - Each entry in the own journal of a closed log is at or below its end or in the orphan list,
//     and never in both (I6).
//
// From every state the sites come to rest by system rules alone.
//
// # Exploring
//
// [Explore] goes breadth-first over states that are equal in canonical bytes. The first way to a
// broken promise is a shortest one; it is printed as steps. [Walk] takes random steps in larger
// worlds and leaves out of a counterexample what is not needed. Epochs are compared by site, too,
// so sites are not symmetric, and no symmetry is used.
//
// Each [Rule] can be left out; a test shows the promise that breaks then. Each [Amendment] is a rule
// that the design did not have before the model found a counterexample.
//
// docs/ends.md has the worlds, their states and seconds, and what the model leaves out.
package ends
