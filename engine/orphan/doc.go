// Package orphan promises that no entry that a failover left behind is lost: it is in a file before
// anything may drop its batch, and before mending takes its effects out of the Store.
//
//	a START binds the end of a closed log ─▶ Look ─▶ batches of (end, tail] ─▶ one file for each epoch
//	                                           └─▶ not written: Holds and Withholds say so, Look tries again
//	files ─▶ List, Entries ─▶ Settle ─▶ not listed any more
//
// A file is written under another name, flushed, renamed, and its directory is flushed. It has whole
// batches, with the bytes of the journal, and is never changed. What was settled is in one more file,
// so that the same batches, which journals keep for a while, are not listed a second time.
//
//	file:  "CFSO" │ version u8 │ kind u8 │ 0 u16 │ rows u32 │ 0 u32 │ rows │ batches │ XXH3-64 of all before it
//	row:   site u32 │ shard u32 │ incarnation │ epoch u64 │ after u64 │ to u64 │ batches u32 │ 0 u32 │ bytes u64
//
// Numbers are little-endian. Kind 1 has orphans, kind 2 what was settled, without batches.
//
// Invariants:
//
//   - I6: an orphan is in a file, or its log is withheld: no batch of it is given back.
//   - An end that rises takes entries off the list at once. One that falls has more saved.
//   - I9: a file with a changed bit, or cut, is reported by its name, and left where it is. What it had
//     is saved again if a journal still has it.
//
// Limits: 64 MiB of batches in a file; 32 bytes of memory for each batch that is listed.
//
// It does not decide where logs end: role.Ends does.
package orphan
