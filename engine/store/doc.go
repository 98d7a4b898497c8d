// Package store promises what the engine may rely on in a host's replicated
// state, and has a memory Store that keeps the promise.
//
//	batch ─▶ Store.Apply(effects + cursors, one commit) ─▶ state, visible at once
//	                                                          │ Sync, or the host's own pace
//	                                                          ▼
//	                                                       durable state
//	          Cursors() ── of the visible state ──────────────┘  Durable() ── of the durable one, ≤ Cursors()
//
//	rows of another site's view ─▶ Mend: torn ▸ piece by piece ▸ digest equal ▸ cursors, whole again
//
// Invariants:
//
//   - I2: effects and cursors of a batch are one commit; a crash leaves both or
//     neither.
//   - I3: what survives a crash is, per shard, a prefix of what was applied, and
//     never behind Durable. The rest is redone from the journal.
//   - I7: Digest depends on the state alone, so sites that applied the same
//     entries have the same digest. Equal rows (Mender) at equal cursors stay equal
//     under equal changes.
//   - A shard whose mending has begun shows nothing until it has ended (ErrTorn), over
//     crashes as well.
//
// A Store that can hold a moment of a shard (Viewer) can be compared with another
// site's while both work, down to the key; one that cannot, by shard. A Store that gives
// and takes a shard's rows (Mender) can be made equal to another site's while both
// work; of one that cannot, the host copies the whole.
//
// A host proves its own Store with [storetest.Run].
//
// Limits: a piece of a mending has at most 1 MiB, or one row. Mem keeps everything in
// memory, and one row per decided entry permanently: it is for tests, examples and the
// simulator.
//
// The package does not decide what takes effect (apply) and persists nothing.
//
// [storetest.Run]: https://pkg.go.dev/github.com/claudefs/repl/engine/store/storetest#Run
package store
