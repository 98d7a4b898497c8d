// Package loadtest promises honest figures of the engine under load: what a
// caller would have waited, at a rate that was really reached, with the cost of
// both ends, and a word of warning where the figures mean little.
//
//	near process                                      far process
//	generator ─ Put ─▶ Target ═══ engine or link ═══▶ Target's far half
//	    ▲                 │            ▲
//	    └──── Wait ◀──────┘            └─ a proxy process, for distance and width
//	recorder: due ─▶ answered                         usage
//	    └───────── control connection, JSON lines ──────┘
//
// The closed loop has clients that each wait for their answer before the next
// entry. The open loop has a rate: entry i is due at start + i/rate, whatever
// became of the earlier ones, and its latency counts from when it was due. So a
// stall shows up in every entry that was due during it (no coordinated
// omission). An entry that never gets an answer counts with the time it has
// waited so far, and voids the run.
//
// # Rules
//
//  1. Latencies are those of entries due in the window [warm-up, warm-up +
//     duration); the rate counts answers that came in it.
//  2. Each end measures its own processor time and allocations, from the window's
//     begin to its end; the near end's include the generator's.
//  3. Both ends must have the same configuration: the far end repeats it.
//  4. A run is invalid, with every reason, if its rate fell short by over 1 %, if it has
//     too few samples for p99.9, or if another load ran beside it. So is one that lost
//     answers, was interrupted, ran before it was warm, or saw a clock jump.
//  5. Nothing is left behind: each end removes what it made, and the far end does
//     so for a near end that was killed.
//
// The Stores at both ends count and forget: what a host's own Store costs comes
// on top.
//
// # Limits
//
// 65,536 entries of an open loop may wait for answers; then the generator waits
// too, and the entries after that are late, which their latency tells. A far end
// serves one run at a time. Latencies are kept to three digits, up to 10 minutes.
// Linux tells the load of others; elsewhere it is unknown.
//
// It does not compare with other systems (bench/peers does), and the far end
// checks nobody's identity: serve on a trusted network.
package loadtest
