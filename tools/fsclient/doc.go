// Package fsclient drives a reference storage node over package fsapi's
// requests: single operations, readers, and the import of a real directory tree.
//
//	Import: names of DIR ─▶ Parallel workers, one top-level name at a time
//	        worker: walk ▸ operations ─▶ lane ─▶ POST ops ─▶ node
//	                             ▲ window: sent, not answered │
//	                             └──────── results ◀──────────┘
//	        connection lost ─▶ wait (50 ms … 2 s) ─▶ send the window again
//
// Request ids are a hash of the import's id, the path and the number of the
// operation on it. So an import that is cut off, on either side, and run again
// with the same id does nothing twice (I2), and AckLog has every operation that
// the node promised to keep (I1).
//
// # Limits
//
// A lane holds 8 MiB of unanswered operations and one block of 512 KiB (I10).
// Hard links are kept within one top-level name; elsewhere they could be EXDEV
// and become copies, which are counted. Devices, sockets and fifos are skipped
// and counted, unreadable files reported and counted. Where a node answers that
// it cannot do this without a change (another site is the primary), Import ends.
//
// It does not resume by looking at what is there: a second run sends everything
// again, and the node answers from its table of requests.
package fsclient
