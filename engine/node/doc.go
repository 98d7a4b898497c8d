// Package node is the pure heart of one storage node. It takes reports of what happened and
// returns what to do. The same steps always give the same effects. It has no goroutine, lock,
// clock, file or socket, and knows batches by their headers only.
//
//	        Tick LinkUp FrameIn Durable ReadDone Applied …
//	                          │ Step(now, input, &effects)
//	                          ▼
//	┌────────────────────────────────────────────────────────────────┐
//	│ links ── hello ── session         one per peer and direction   │
//	│   │                                                            │
//	│   ├─ source  (we dial)   resume ▸ seek ▸ read ▸ ship ▸ acks    │
//	│   │             └─ restore: a peer has more of our log         │
//	│   └─ receiver (they dial) judge ▸ stage ▸ flushed ▸ ack ▸ page │
//	│                 └─ repair: our mirror of their log is damaged  │
//	│ admission · peers' cursors · retention floors · lag · status   │
//	│ questions of a verification, in both directions                │
//	└────────────────────────────────────────────────────────────────┘
//	                          │
//	                          ▼
//	   Ops Stages Persists Clears Progress Admits Reclaim Asked Told Events Wake
//
// Every site dials every peer, so a pair has two sessions, one per direction. The node
// composes rooms: role says who writes, admission which own log takes appends, stream
// carries logs in sessions, fetch requests batches and grants them, lag measures, and step
// has the words of a step. Start at [Node.Step]. Then read links.go (what becomes of a
// link), frames.go (what may arrive on it), sessions.go and fetch.go (what follows from it).
//
// # Order
//
// Effects on one link happen in the order of Ops; Clears happen before Stages. There is no
// other order: the node requests an effect only after the end of the previous one was reported.
//
// # Invariants, and what this room does for them
//
//   - I1: progress and acks follow reported flushes only.
//   - I2: the mirror gets each batch once. I3: the mirror takes no gap. The applier does the rest.
//   - I4: a mismatch of seq and chain stops that log, reports both chains, overwrites nothing.
//   - I5: only the primary's logs are admitted; both ends must agree on the primary.
//   - I9: a bad frame ends its link unstaged; a suspect log is not a source.
//   - I10: everything is bounded; a dead peer or stopped log costs the others nothing.
//   - I11: identity, freshness and size are checked first; a refusal costs one frame.
//   - I12: [Node.Floor] counts every registered and every configured peer.
//   - I14: dials never stop, sessions begin at what is durable, failed repairs are retried.
//   - I6: a shard is opened in a new epoch once its Store stands where the older logs end
//     (closed.go), and a START is taken once the journals cover what it names.
//   - Not here: I7 and I8 (convergence, conflicts), I13 (audit chain).
//
// docs/heart.md has them in full, with lag and limits. Epoch and writer are constant in the life
// of a node: a higher epoch is asked for by Effects.Raise, and another node begins with it. It
// does not relay open logs, or persist the highest session seen.
package node
