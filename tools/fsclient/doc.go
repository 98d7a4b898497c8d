// Package fsclient drives a reference storage node over package fsapi's
// requests: single operations, readers, and the import of a real directory tree.
//
//	Import: parts of DIR ─▶ Parallel workers, one top-level name at a time
//	        worker: tree ▸ compare ▸ what differs ─▶ lane ─▶ POST ops ─▶ node
//	                          ▲ ls, sums, xattrs       ▲ window: sent, not answered
//	                          └─────────── node ◀──────┘
//	        connection lost ─▶ wait (50 ms … 2 s) ─▶ ask, or send the window, again
//
// After an import, directory and site are equal in all that the node keeps, or the
// report names what is not:
//
//   - The source is read through descriptors from its root on, without following a
//     symlink. A file is read again, three times at most, until size, mtime, ctime and
//     inode are the same before and behind; then it is reported.
//   - What the site has is asked for, not remembered: attributes, digests of blocks of
//     512 KiB. Holes are neither read nor sent. So an import that was cut off goes on
//     where it was, and one that is run again sends what is new.
//   - Content goes through an inode of several names only if it stays as it is: else
//     the name gets an inode of its own, and links are made as they are in the tree.
//
// A request id is a hash of the import's id, the path, what the site was seen to have
// there, and the operation: what a lost client left on its way happens once (I2). A
// request that turns out to be done before, or a refusal, means that the site is not
// as it was seen: that part is compared once more. AckLog has every operation that the
// node promised to keep (I1).
//
// A client goes to the site that writes ([Client.Seek]): of the addresses that it was given, and those
// that hints name. So an import outlives a switchover as it outlives a restart: what is in doubt
// is sent again there, under the same request ids.
//
// # Limits
//
// A lane holds 8 MiB of unanswered operations. A worker holds one block of 512 KiB, the
// directory names on its path, and the identities of files with several names (I10). At
// most 64 directories of one path are open. Below a directory of the node all is one
// shard and one worker's. Where a node answers that it cannot do this without a change
// (a log is stopped, or another site is the primary and no address of it is known), Import ends.
//
// Reported or counted: hard links between top-level names of "/", which become copies;
// devices, sockets and fifos; times outside of 1677 to 2262, which become the nearest;
// what cannot be read. A file that is written through a mapping shows that when the
// kernel writes it back, so it may be missed. "/" of the node has fixed attributes.
package fsclient
