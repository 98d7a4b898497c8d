// Package node is the pure heart of one storage node: told what happened, it
// says what is to be done, and the same steps always give the same effects. It
// has no goroutine, lock, clock, file or socket, and it never sees a payload
// byte: batches are known by their headers.
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
//	   Ops Stages Persists Clears Progress Admits Retain Asked Told Events Wake
//
// Every site dials every peer, so a pair of sites has two sessions, one per
// direction; the states of one are drawn in package stream. Start reading at
// [Node.Step]; then source.go and ship.go (our logs to a peer), hello.go and
// receive.go (a peer's logs to us), fetch.go and grant.go (asking for batches, and
// answering), admission.go (who may append), verify.go (comparing two sites).
//
// # Order
//
// Effects on one link happen in the order of Ops; Clears happen before Stages.
// There is no other order: what must follow the end of an effect is asked for
// only when that end was reported. So nothing is acknowledged as durable before
// its flush was reported, no peer is sent a batch before its registration was written,
// and a new session is welcomed only when all that the former one staged has
// been flushed or has failed.
//
// # Admission
//
// A log takes appends when it is settled that this site writes (founding.go) and nothing
// says that acknowledged entries are missing:
//
//	           a peer ends where we end, or its position is proven to lie in our log,
//	           and every other one, registered or configured, has been heard
//	waiting ──────────────────────────────────────────────────────────────────▶ verified
//	   │  │ peer, Store or its saved cursor has more ─▶ fetch it back ───▲   ▲
//	   │  └ VerifyWait passes, a peer was not heard ─▶ unverified ───────────┘
//	   │                                             │ a peer contradicts
//	   └─▶ standby (another site writes)             ▼
//	       refused: suspect after damage, data not given back, histories differ, a peer
//	       names another primary, or the configuration names none of the peers
//
// # Invariants
//
// The promises of the whole system, and what this room does for them:
//
//   - I1, acknowledged means durable at the promised level: enforced. Progress
//     and acks follow reported flushes only; the shell answers tickets in order.
//   - I2, every entry is decided once and takes effect at most once: enforced up
//     to the mirror, which gets each batch once. Deciding is the applier's.
//   - I3, applied seqs are contiguous: the mirror takes no gap; the rest is the
//     applier's and the Store's.
//   - I4, equal seq and chain is equal history: enforced wherever two positions
//     meet (hello, reader, cursor pages, batches, fetched batches). A mismatch
//     stops that log with both chains and overwrites nothing.
//   - I5, one writer per domain and epoch: only the primary's logs are admitted and
//     taken, both ends must name the same one, and a directory knows it. Epochs do
//     not change here yet.
//   - I6, what a failover loses is kept as orphans: not here yet.
//   - I7, sites converge, and I8, one total order of conflicting entries: not
//     here; a mirror is byte-identical, whatever the order of arrival.
//   - I9, changed bits are detected: a frame that does not hold ends its link and
//     nothing of it is staged; a suspect log is no source and answers no fetch.
//     What one site cannot give back, because its copy is damaged or gone, the next
//     one is asked for; so for a piece that damage took from an own log's middle.
//   - I10, everything is bounded and a dead peer or one stopped log costs the
//     others nothing: enforced, see Limits.
//   - I11, nothing acts before identity, freshness and size are checked: enforced
//     for links and batches; a refusal costs one frame.
//   - I12, nothing is removed that a registered peer needs: [Node.Floor] counts
//     registered peers, configured or not, and configured ones. A peer is registered
//     when it first welcomes us, before it is sent anything. A mirror also keeps what
//     another site that mirrors the same log lacks, as far as its pages can come.
//   - I13, the audit chain: not here.
//   - I14, once the network heals, lag returns to 0: dials never stop, every
//     session begins at what is durable, failed repairs are asked again on the
//     next link, and after a pause on all of them, and a link on which a frame
//     takes long is not silent.
//
// # Lag
//
// Lag is 0 only when nothing is outstanding and a heartbeat that left within
// HeartbeatTimeout was answered. It is unknown before a peer's first answer of
// this run and after silence; then Time counts on from the oldest outstanding
// entry, or from the last proof if that was earlier. Bytes at level applied are
// an estimate from the mean size of entries: pages tell seqs.
//
// # Limits
//
// Peers ≤ 64, links without a hello ≤ 32, 64 fetches of ours and of the peer's per link,
// one grant of ≤ 4 MiB to be taken, 4 MiB given back and not flushed, one question of
// a verification per peer and direction, one Persist under way. Per shard: an own log takes about 300 bytes, a log at a
// peer 310 (cursors, sender and both meters), a mirrored log 210; at 65,536
// shards and one peer that is 54 MB, at 256 shards 210 kB. Under way per peer:
// the window, and at most one end of 56 bytes per shard and frame. A step costs
// what its input holds and what it changed; only opening, a session's resume
// and the end of VerifyWait walk all shards.
//
// # What it does not do
//
// It does not fail over, relay one site's log to a third, or hand a log over to
// a new incarnation: a log that begins anew where another incarnation is held is
// refused, and a peer whose batches are no longer kept needs bootstrap. It does
// not persist the highest session seen: links do not outlive their node. A site
// whose sessions the peer has seen under a later (term, counter) takes up after
// that one, with an alarm, because a source restored from an older image must be
// able to ask for what it lost.
package node
