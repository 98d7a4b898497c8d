// Package powerloss cuts the power of a real disk under two real sites, again and
// again, and looks for what had been promised.
//
//	   this process                    the load, a process of its own
//	make a file system ──▶ /dev/dm ◀── site-a ══▶ site-b, 16 writers
//	                         │             │ each acknowledgement
//	dm-log-writes: each      │             ▼
//	write, flush and mark ◀──┘         ledger, on another disk; then a mark in
//	        │                          the log of writes: "so many lines count"
//	        ▼
//	image ▸ first entries of the log, what no flush covers kept, dropped or in
//	pieces ▸ snapshot ▸ mount (the file system recovers) ▸ open the journals (they
//	recover) ▸ every line that counted at that entry is looked up
//
// Checked at every cut:
//
//   - I1: each entry that site-a promised is in its own journal; each one promised for two
//     sites is in site-b's mirror too.
//   - I2, I3, I4: it is there once, in its place, in its writer's order, with equal chains.
//   - I9: recovery finds no damage and suspects no log, because a cut damages nothing.
//   - I12: a segment is gone only if the Store no longer needs it.
//   - I14: at every twentieth cut both engines are opened and must replicate again.
//
// A recording gives many cuts: the log of writes is replayed forwards once, and a
// cut's own writes are taken off the image again. Which disks a cut may leave
// follows dm-log-writes: what completed before a flush is on the medium, a forced
// write (FUA) is, and of each other write any 4 KiB block may be or not. dm-flakey
// is the second way, with no replay: a device that drops or fails all writes from
// one moment on, and is whole again when it is mounted the next time.
//
// The run must fail where nothing is flushed: [RunLoad] takes a disk whose Sync
// does nothing, and ci/powerloss/red sees that it is found.
//
// Limits: Linux, root, device mapper, loop devices, ext4 and XFS, as in the guest
// of ci/rxe. The sites' Stores are in memory and note what they call durable; for
// the engines that are opened again after a cut, they have what the journals have.
// A recording is of one load without a restart. Blocks of 4 KiB are not torn: XFS
// asks that much of a disk. It proves nothing about disks that lie about a flush,
// nor about speed.
package powerloss
