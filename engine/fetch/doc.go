// Package fetch asks sites for batches and gives them: the questions that are out on each
// link, what they are for, and the grants in which a peer's questions are answered. It is
// pure; batches are known by their headers.
//
//	what for   asked of                       from ... to               what comes is
//	Proof      the log's own site             our tail, one batch on    dropped: it proved our tail
//	Repair     any site that has the log      what damage took          staged into its place
//	Restore    a peer that has more of ours   our tail ... its answer   staged behind our tail
//
//	Damaged, Wants ─▶ queued ─▶ asked on a link ─▶ pieces ─▶ all here ─▶ flushed ─▶ done
//	                    ▲             │ cannot give, link gone
//	                    └── pause ────┘ (other links first)
//
// A [Desk] has all questions of this site; a [Line] is what it knows of one link. What
// follows for sessions is reported to [Heart].
//
// # Invariants
//
//   - I4: each piece continues what is here by seq, incarnation and chain, or nothing of it
//     is staged and the question ends.
//   - I9: a damaged copy is not a source. If a site cannot return a batch, the next one is asked.
//   - I10: at most 64 questions per link; answers about one log are never mixed. Returned and
//     not flushed are at most RestoreBytesMax, 0 <= Waiting. A peer takes one grant before
//     it gets the next.
//   - I14: what nobody could give is asked for again, after a pause of 1 s to 1 min, also if
//     nobody lacks it: until it is filled, or its segment is given back.
//
// # Limits
//
// A question takes about 200 bytes, one per hole or log to restore. The pause's end
// walks all own logs, nothing else does.
//
// # What it does not do
//
// It reads no journal: the shell does, by package stream's Answer. It knows no epochs, so
// it asks within one incarnation.
package fetch
