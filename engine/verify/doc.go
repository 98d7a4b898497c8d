// Package verify compares two sites while both work, and names what differs. It writes
// nothing, holds up no append, and calls nothing equal that it did not compare.
//
//	          site-a, which asks                        site-b, which answers
//	Verify ── journals: read own files ──VerifyJournals──▶ answerer: read own files (Deep only)
//	   │      logs:     find seq in own   ◀─VerifyTails─── where its logs end, by chain
//	   │      shards, one after another:
//	   │        point = end of the log + distance
//	   │        own view at the point     ──VerifyState──▶ its view at the point
//	   │        digest of each part       ◀─── parts ───── digest of each part, cursors
//	   │        cursors differ: the next point, twice as far ahead
//	   │        digests differ: the part in 64 parts, until a part is one key
//	   └─▶ Report
//
// A point is the first end of a batch at or after a seq (point.go). A batch is the same
// bytes at every site and a shard's applier is serial, so two sites at the same point
// have the same state, or differ. The applier of a shard calls Passed after each batch;
// a view that is wanted there is taken before the next one.
//
// The engine gives what is needed of a site as a [Site]: six methods. Questions and
// answers travel through the heart (node.VerifyAsk, VerifyAnswer).
//
// # Invariants
//
//   - I4: equal seq and chain is equal history. Logs are compared where the peer's end.
//   - I7: Stores are compared at equal cursors only; anything else is a gap with a reason.
//   - I9: Deep reads the stored bytes at both ends and names the first seq that does not hold.
//   - I10: a report lists 100 differences and 100 gaps for each peer; an answer digests
//     65,536 keys; one comparison of a site runs at a time, and one question of a link.
//   - I14: a point is waited for 30 s, a link that is lost 10 s; Close ends both.
//
// A comparison rests for as long as it works: it takes half of one processor and of one
// disk. A view that nobody asks about for a minute is closed.
//
// # What it does not do
//
// Repair: damage that it meets is repaired by the engine as any other, and state that
// differs is the host's (docs/verify.md). Compare logs that stand still in front of a
// point (it takes each site as it stands then, and says so). Compare more than two sites
// at once. Decide at which sites it runs, or keep reports.
package verify
