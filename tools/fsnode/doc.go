// Package fsnode is the reference storage node: an engine, a namespace as its
// Store, and the HTTP API of package fsapi over both.
//
//	DIR/lock    one process per DIR, held while open
//	DIR/repl    the engine's journals
//	DIR/store   the namespace, in Pebble
//
// DIR and all below it are its owner's alone (0700, 0600), whatever the umask; what an
// earlier release left readable is closed when it is opened.
//
//	POST ops ─▶ read ▸ group (one shard, ≤ 256 operations or 2 MiB) ▸ validate ▸ append, Async
//	                                     │ ≤ 64 groups under way
//	results ◀── write, in the same order ◀── wait AppliedHere for the group's last entry
//
// A result is sent once its effect is visible here and the journal is flushed (I1).
// Grouping never delays an operation that no other one follows. A client
// that lost its connection sends again what it has no result for; request ids
// make that safe (I2).
//
// # Limits
//
// 16 streams of operations at once, each with 4 MiB of buffers and 64 groups
// under way (I10); 16 other requests. A stream that is silent for 2 minutes, or
// whose client takes nothing for 1 minute, is ended. The namespace's limits are
// those of its package.
//
// It does not listen, log by itself, or check who asks: its Handler is mounted
// by the program that owns the admin listener.
package fsnode
