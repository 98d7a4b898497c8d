// Package namespace keeps a file system's namespace and content in Pebble, as
// the store.Store of a reference storage node: every change is one journal
// entry, and an entry's effects, the cursors, its request id and its audit row
// commit together or not at all.
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
// # Keys
//
// The units of conflict are "d" + parent inode (8 bytes, big-endian) + name, and
// "i" + inode (8 bytes, big-endian). All rows of Pebble:
//
//	s shard(2) d parent(8) name     inode(8) type(1)
//	s shard(2) i inode(8)           the inode's record
//	s shard(2) i inode(8) x name    an extended attribute
//	b shard(2) i inode(8) n(8)      chunk n: 128 KiB of content, zeros at its end cut off
//	n shard(2)                      the next inode counter
//	c shard(2) site(4)              cursor: position of that log
//	r request(16)                   the entry that did this request
//	d counter(8)                    one decided entry, in the order of commits
//	v shard(2) key                  unstable versions of a key
//	l shard(2) site incarnation seq a loser with its winner
//	m                               layout version, shard count
//
// An all-zero chunk is not stored, so the rows of s and b depend on the state
// alone, not on how it came about; digests hash them as they lie.
//
// # Payloads, schema 1
//
// Little-endian; b is a u16 length and that many bytes. Everything is resolved:
// applying needs nothing but the entry and the state before it. All begin with
// version u8 = 1, flags u8, time i64 (ns since 1970, the change's ctime):
//
//	Create, MkDir  parent u64, inode u64, mode u32, atime i64, mtime i64, name b
//	Symlink        as Create, then target b
//	Link           parent u64, inode u64, name b
//	Unlink         parent u64, inode u64, name b; flag 1: a directory
//	Rename         parent u64, inode u64, parent2 u64, replaced u64 (0 = none),
//	               name b, name2 b; flag 1: a directory
//	Write          inode u64, offset u64, mtime i64, data: the rest
//	Truncate       inode u64, size u64, mtime i64; flag 1: and mode, uid, gid u32
//	SetAttr        inode u64, mode u32, uid u32, gid u32, atime i64, mtime i64;
//	               flags 1, 2, 4, 8, 16: which of the five are set
//	SetXattr       inode u64, name b, value b
//	RemoveXattr    inode u64, name b
//
// The owner of a new inode is the entry's UID and GID. Trailing bytes, unknown
// flags and unknown versions stop the log by name.
//
// # Invariants
//
//   - I1: Durable never runs ahead of what a synced log of Pebble holds.
//   - I2: one decided row per entry and commit, so that a repeated effect would
//     show as a second row of the same (incarnation, shard, seq).
//   - I3: cursors and effects are of one commit; a crash takes back both.
//   - I7: equal effects give equal digests, whatever the batches were.
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
// Request ids and decided rows are kept for ever: about 170 bytes per entry, which
// nobody collects yet.
//
// It does not follow symlinks, check permissions, count blocks, keep device
// nodes, or hold files open that have lost their last name.
package namespace
