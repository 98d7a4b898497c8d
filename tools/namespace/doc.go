// Package namespace keeps a file system's namespace and content in Pebble, as
// the store.Store of a reference storage node. Every change is one journal entry. Its
// effects, cursors, request id and audit row commit together or not at all.
// FORMAT.md specifies the rows and payloads.
//
//	operation ─▶ Submit: lock of the shard ▸ request id known? ▸ validate against
//	             overlay (= applied state + effects of what is pending) ▸ entry
//	                │ Log.Append (journal, flush, replication: the engine's)
//	                ▼
//	store.Change ─▶ Apply: effects ▸ decided rows ▸ request ids ▸ versions,
//	             losers ▸ cursors ─▶ one Pebble batch, not synced
//	Sync ─▶ one synced record of Pebble's log ─▶ Durable moves up to Cursors
//
// # Shards
//
// A path lives in the shard of its first component: XXH3 of the name modulo the
// shard count, equal at every site. The entries of the root directory lie in
// the shards of their names; listing the root merges them. The root itself has
// fixed attributes. A rename or a hard link from one shard to another is EXDEV.
// An inode number is shard<<40 | counter; the site that validates allocates it,
// and the counter moves in the commit that makes the inode.
//
// # Invariants
//
//   - I1: Durable never runs ahead of what a synced log of Pebble holds.
//   - I2: one decided row per entry and commit, so that a repeated effect would
//     show as a second row of the same (incarnation, shard, seq).
//   - I3: cursors and effects are of one commit; a crash takes back both.
//   - I7: equal effects give equal digests, whatever the batches were.
//   - A shard that is being made equal to another site's is torn from the first piece to
//     the last, over crashes too: Submit and readers refuse it (store.ErrTorn), and a
//     listing of the root is refused whole.
//   - An entry that contradicts the state (a name made twice, an inode that is
//     not there) is an error of Apply: the log stops rather than diverge.
//   - I10: Pebble's memory is bounded by Options: 96 MiB by default, for blocks and
//     at most 4 memtables of 16 MiB together; an overlay by 32 MiB per shard, and it
//     is empty whenever nothing is pending.
//
// # Limits
//
// Names 255 bytes, paths 4096, symlink targets 4095, extended attribute values
// 65,535 bytes, 1024 attributes per inode, files 8 TiB, one write 1 MiB less 64 bytes.
// Request ids and decided rows are kept permanently: about 170 bytes per entry.
//
// It does not follow symlinks, check permissions, count blocks, keep device
// nodes, or hold files open that have lost their last name.
package namespace
