// Package bench promises a number for every hot path of the data plane, measured
// through the public API of each room: go test -bench . ./bench, or `make bench`.
//
//	encode ─▶ close batch ─▶ stage, flush ─▶ frame ══ link ══▶ split, digest ─▶ walk
//	  └ BenchmarkAppendEntry   └ BenchmarkJournalCommit          └ BenchmarkSplitBatches
//	    BenchmarkCloseBatch      BenchmarkWriter   BenchmarkLink…   BenchmarkWalk
//	  └───────────────── BenchmarkEngine…: two engines, durable at both ───┘
//
// Beside what package testing reports, per benchmark where it means something:
// MB/s of payload; cpu-s/GB, processor time of the process (user and system, both
// ends and the runtime's own included) for 10^9 bytes of payload; cpu-us/op;
// commits/s.
//
// Limits: both ends share this process and its two or more processors, so streams
// show what changed between two commits and not what two machines would do. What
// is faster than what, bench/peers tells. A link that cannot be opened here is
// skipped with its reason. System calls per MB are the ring's to count; sockets of
// the runtime do not tell theirs.
//
// The package has nothing to import.
package bench
