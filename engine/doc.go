// Package engine promises that what a storage node appends is durable here
// before it is acknowledged, and appears at every other site exactly once, in
// order, byte for byte.
//
//	eng, err := engine.Open(ctx, engine.Options{Cluster: …, Site: …, Dir: …, Store: …, Listen: …, Peers: …})
//	ref, err := eng.Append(ctx, shard, &engine.Entry{Op: …, Keys: …, Payload: …}, engine.Local)
//	err = eng.Wait(ctx, ref, engine.Durable(1))
//
// Call [Open] first; a host brings its state behind [Store] and proves it with
// storetest.Run. Then [Engine.Append]; [Engine.Reserve] for a host that writes its
// payload where the journal and the links take it from, uncopied; or
// [Engine.AppendAt] for a host with a Raft log of its own. What each [Level] buys:
//
//	Async        a place in the log; nothing survives yet
//	Local        the journal here is flushed: survives a crash of this node
//	AppliedHere  the Store here shows it
//	Durable(k)   Local, and flushed at k other sites: survives the loss of this site
//	Applied(k)   Durable(k), and the Stores of k other sites show it
//
// # Inside
//
// The node is pure (engine/node). This package is the shell around it: the
// goroutines, files and links, and nothing that decides.
//
//	Append ─▶ writer ─▶ flusher(own) ──▶ segment ──▶ reader ─▶ workers ─▶ Store
//	             ▲          │ OwnDurable                                    │ Applied
//	         Admit│         ▼                                               ▼
//	           ┌──┴─────── heart: node.Step under one mutex ──────────────────┐
//	           └──▲──────────────────┬──────────────────────────────────▲─────┘
//	       FrameIn│                  │ Ops, by link                     │ Durable
//	link.Recv ─▶ receive ─ Stage ─▶ flusher(mirror)        link.send ◀──┘ read own journal, ship
//
// Goroutines of an open engine: a flusher and an apply reader per journal, four
// apply workers, the clock, housework, one for events, one that accepts, and two
// per link; one per dial, or try of a better transport, while it lasts; one per link whose
// peer compares itself, until that ends; with RDMA two more per link and two for the
// listener and the device. None per shard, entry or waiter. Close waits for all of them,
// and for a Verify.
//
// Order is kept by where effects go: the heart's mutex covers the step and the
// handing-on (into open units, queues, watermarks), which never blocks; writing,
// sending and applying is done by the one goroutine that owns it. Locks are
// taken in the order heart, then journal, writer, shard, or link.
//
// # What carries links
//
// Options.IO chooses: "auto" takes RDMA where this build (tag rdma), this machine and
// the peer have it, then io_uring, then TCP; "rdma" and "io_uring" insist at Open. All
// of them are served at one address.
//
//	          dial ─▶ ladder.next ─▶ rdma ─ setup refused, ErrLost, silence ─▶ io_uring ─▶ tcp
//	                                  ▲                                              │
//	takeover: a newer session ◀───────┴── tryBetter, after 1 s, 2 s … 1 min ◀────────┘
//
// A transport that fails a peer pauses for it (ladder.go decides, route.go acts), and
// the next dial takes the next one at once. The session resumes as after any lost
// link, so that I2 and I3 do not depend on what carries it. While a lesser one carries
// it, the better one is tried beside it; what works takes over by a newer session. What
// it is, and why nothing better, is in Status (transport, transport_reason), in the
// event "transport", and in the metric peer_transport_info.
//
// Over RDMA the journal's batches are lent to the link (journal.Reader.Keep) until the
// peer's device has them, and frames are journaled where they landed. Their memory is
// the peer's to write to next, so what is to stay recent is copied behind the flush.
//
// # Invariants
//
//   - I1: a waiter is woken by the flush, the ack or the apply that its level
//     names, never earlier. Only flushed batches are read, so only they are
//     shipped and applied.
//   - I2, I3: one applier per shard, behind the Store's cursors; the journals
//     redo what the Store lost.
//   - I9: what damage took from either journal is fetched from a site that has it,
//     whoever met the damage and whenever; readers that lack it wait, of that log
//     only, and health is not OK until it is in place. Own logs whose tail damage
//     hides take no appends until a peer proves or gives it back.
//   - I4, I7: Verify compares two sites while both work: logs by chain, Stores at
//     one point of each shard's history (engine/verify); what it did not compare it
//     never calls equal.
//   - I10: memory is bounded by the options (below); a peer that stalls costs its
//     own link only.
//   - I12: segments go when the heart's floor has passed them.
//
// # Limits
//
// Memory, at most: twice PendingBytesMax for appends, and PendingBytesMax again
// in pooled buffers; RecentBytesMax per journal, which readers that keep up are
// served from, and beyond it what each of them has read last (about 2 MiB) even
// where that is recent no more; per link one frame being received (4 MiB), one
// read being shipped (about 2 MiB) and 16 MiB of control frames; 4 MiB staged per
// journal plus one frame per link; one round of 1 MiB per apply reader; 1,024
// events. Batches and frames of 16 KiB and more live off the heap, in a region
// mapped for all of that, up to 1 GiB (engine/store/arena). A link by RDMA pins that
// region, a ring of 8 MiB and a stage of 2 MiB (docs/rdma.md). WindowBytesMax is not
// memory here: what is under way is read from the journal. A shard costs about
// 2 KiB. Applying takes a journal in rounds, and a round ends with its slowest
// shard: a Store that blocks in one shard holds up the others, one that returns an
// error does not.
//
// Idle, an engine with two links has 17 goroutines at any number of shards
// (TestIdleShardsCostNoGoroutinesAndNoTimers) and one timer: with peers the
// heartbeat's, every 250 ms; without peers none. Two connected engines of 256
// shards took 8 ms of processor time in 5 s, both together.
//
// A stamp runs ahead of the clock by at most a second after a crash, because
// stamps go on behind the durable clock bound.
//
// # What it does not do yet
//
// Encrypt or authenticate links (so Insecure must be asked for by name), fail
// over, take writes at several sites, compress, throttle.
// It never logs by itself, catches signals, exits, or keeps anything in the
// package: two engines live in one process.
package engine
