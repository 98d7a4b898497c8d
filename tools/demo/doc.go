// Package demo shows with real processes that nothing is lost and nothing is
// done twice: two storage nodes, a real tree or a steady load, SIGKILL at random
// moments, then a count.
//
//	            ┌── import or load ──▶ site-a ══════▶ site-b
//	this process┤                        ▲               ▲
//	            └── SIGKILL, restart ────┴───────────────┘
//	            then: lag 0 ▸ equal digests ▸ rows of both sites against acks
//
// Two runs are built on the same pair of processes:
//
//   - [Demo] imports a tree at site-a and kills each site while it goes on.
//   - [Crash] runs many short cycles of load, kill and restart, and checks
//     every few of them. Kills come at random, or where a walk through the
//     failpoints of the servers' disks says (vfs.Failpoint): before and after the
//     n-th create, write, flush, rename, remove and directory flush. With copies, the
//     directory of a running server is copied in each cycle and the copy opened.
//   - [Drill] moves the writer through disasters on two or three sites, whose links it can
//     cut: it kills, freezes, wipes, restores and renames, and ends each with the verbs of an
//     operator. Here an acknowledgement counts as kept once the drill saw every site level;
//     what a site acknowledged alone, and did not survive, must be in a journal as an orphan.
//
// What is counted (I1, I2, I3, I7): every decided entry is one row in the
// Store, written in the commit that decided it. duplicated = rows − distinct
// (incarnation, shard, seq), summed over both sites. lost = acknowledged to the
// client and missing among the rows of either site. A gap in the seqs of a log
// and a difference between the sites' digests are failures as well.
//
// Limits: two sites, three in a drill, all on this machine, loopback addresses. SIGKILL spares
// the page cache: lost power is what the simulator's disks are for. A child
// dies with this process on Linux; elsewhere only an orderly end stops it.
//
// It does not judge speed: the rate it prints is what this machine did while
// its nodes were being killed.
package demo
