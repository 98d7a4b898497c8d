// Package vfstest holds the suite that every disk passes: the operating system's
// files, by system calls or by a ring, and their stand-ins.
//
//	open ─▶ vfs.FS, fresh directory ─▶ Conformance ─▶ one contract for all
//	open ─▶ vfs.Queuer, directory ─▶ QueueConformance
//
// It serves I1 and I9, which rest on what a disk promises. What survives a crash
// is not tried here but in package vfs, on the memory disk, since only that one
// can lose its power.
package vfstest
