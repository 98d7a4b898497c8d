// Package engine promises that an entry is durable here before it is acknowledged,
// and appears at every other site exactly once, in order, byte for byte.
//
//	eng, err := engine.Open(ctx, engine.Options{Cluster: …, Site: …, Dir: …, Store: …, Listen: …, Peers: …})
//	ref, err := eng.Append(ctx, shard, &engine.Entry{Op: …, Keys: …, Payload: …}, engine.Local)
//	err = eng.Wait(ctx, ref, engine.Durable(1))
//
// Call [Open] first. A host implements its state as a [Store] and tests it with storetest.Run.
// [Engine.Append] copies a payload; with [Engine.Reserve] the host writes it in place.
// [Engine.AppendAt] is for a host with a Raft log. What each [Level] promises:
//
//	Async        a place in the log; not durable yet
//	Local        the local journal is flushed: the entry survives a crash of this node
//	AppliedHere  the local Store shows it
//	Durable(k)   Local, and flushed at k other sites: the entry survives the loss of this site
//	Applied(k)   Durable(k), and the Stores of k other sites show it
//
// # Inside
//
// engine/node is pure and decides. This package is the shell: goroutines, files, links.
//
//	Append ─▶ writer ─▶ flusher(own) ──▶ segment ──▶ reader ─▶ workers ─▶ Store
//	             ▲          │ OwnDurable                                    │ Applied
//	         Admit│         ▼                                               ▼
//	           ┌──┴─────── heart: node.Step under one mutex ──────────────────┐
//	           └──▲──────────────────┬──────────────────────────────────▲─────┘
//	       FrameIn│                  │ Ops, by link                     │ Durable
//	link.Recv ─▶ receive ─ Stage ─▶ flusher(mirror)        link.send ◀──┘ read own journal, ship
//
// The heart's mutex covers a step and the delivery of its effects, which never blocks. One
// goroutine owns each file and each link, and does its writes. Locks are taken in this order:
// heart, then journal, writer, shard, or link. docs/limits.md counts goroutines and memory.
//
// # What carries links
//
// Options.IO "auto" (default): links use RDMA if build, machine and peer support it, then
// io_uring, then TCP. "rdma" and "io_uring" fail at Open if unavailable. One address serves all.
//
//	          dial ─▶ ladder.next ─▶ rdma ─ setup refused, ErrLost, silence ─▶ io_uring ─▶ tcp
//	                                  ▲                                              │
//	takeover: a newer session ◀───────┴── tryBetter, after 1 s, 2 s … 1 min ◀────────┘
//
// A transport that fails for a peer pauses; the next dial uses the next one (ladder.go,
// route.go). Meanwhile the engine tries the better one and switches by a newer session.
// A session resumes as after any lost link, so I2 and I3 do not depend on the transport.
//
// # Invariants
//
//   - I1: a waiter wakes after the flush, ack or apply of its level; only flushed batches ship.
//   - I2, I3: one applier per shard, after the Store's cursors; the journals redo the rest.
//   - I9: damage in either journal is fetched from another site. Readers of that log wait.
//   - I4, I7: Verify compares two sites while both work, and reports what it did not compare.
//   - I10: the options bound memory; a stalled peer costs only its own link.
//   - I12: segments are removed once the heart's floor has passed them.
//
// # What it does not do yet
//
// Encrypt or authenticate links (so Insecure is required), fail over, take writes at several
// sites, compress, throttle. It does not log on its own, catch signals, exit, or keep global
// state: one process can hold two engines.
package engine
