// Package vfs is the only door to files, and states what survives a crash.
//
//	          FS ── Create/Open ──▶ File ── WriteAt (gathered), ReadAt, Sync
//	          │
//	OS        │ real files: pwritev, fdatasync, directory fsync, flock
//	Mem       │ memory disk: knows every 512-byte sector and every name that is
//	          │ not synced yet; Crash makes the disk that a power cut leaves
//	Faulty    │ wraps either: the k-th call fails once or always, writes stop
//	          │ half way, a failed Sync lies from then on, reads flip a bit
//
// [AtFailpoint] wraps any of them: it calls back before or behind the n-th call of
// a kind, where a process ends that is to be tried there.
//
// A [Queuer] also has queues: several durable writes under way at once, which end
// in any order ([Queue]). The disks in memory end them in the order that a script
// chooses; package uring has the real one.
//
// The contract that all disks pass (package vfstest): a file's bytes
// survive after File.Sync, its name after SyncDir. MkdirAll is durable when it
// returns. Before that, each sector and each name survives or not, independently; a
// rename survives as a whole or not at all.
//
// Files are 0600 and directories 0700, whatever the umask; [OS.Tighten] makes those
// of an earlier release so.
//
// Invariants that rest on this room: I1 (an acknowledgement means that a Sync
// returned nil), I9 (Crash and Faulty are how it is tried), I10 (a full disk is an
// error that names the file, never a panic).
//
// Limits: Linux. Mem keeps 4 KiB pages that were ever written, plus one old copy
// of each page that is not synced; at most [MemOptions.CapacityBytes] of them.
//
// It does not cache, retry, log, or know what is in a file.
package vfs
