// Package audit keeps the trail of a site: who did what, and what the site decided about
// its peers and its data. It is a directory of files with JSON lines, each chained to
// the line before it, so that edits show.
//
//	Begin ─▶ line "begun", flushed ─▶ the verb acts ─▶ End ─▶ line "done", "refused" or "failed", flushed
//	Note  ─▶ line "observed", flushed
//
// # Files
//
// A file is named NNNNNN.jsonl and numbered from 1. It is created at its full size, filled
// with newlines, so that a full disk refuses no line that fits in; the next one is created
// when half of it is used. A line is an object with these keys, in this order:
//
//	seq      from 1, one more than the line before, over all files
//	at       time in UTC, RFC 3339, nanoseconds
//	site     name of the site that writes
//	kind     verb or event
//	actor    how a verb came (admin, engine) and a name; absent for events
//	peer     site that it is about; absent if none
//	shard    shard that it is about; absent if none
//	what     text
//	outcome  begun, done, refused, failed, interrupted, observed
//	of       seq of the line "begun" that this outcome ends; absent otherwise
//	prev     hash of the line before, 64 hexadecimal digits; zeros for seq 1
//	hash     SHA-256 of the line's bytes up to ,"hash": in hexadecimal; always last
//
// Spaces behind the object make a line a multiple of 512 bytes: a power cut spoils the sectors
// that are being written, never a line that was flushed before.
//
// # What a crash leaves
//
// Bytes at the end that are not a whole line were never acted on. The next line takes their
// place and quotes them (line-removed). It does so, too, where somebody damaged the last line or
// the only one: a trail without an intact line is not a new one. A line "begun" without
// an outcome gets the outcome "interrupted": the verb may have acted.
//
// # What it proves
//
// Check finds lines that were edited, removed, reordered or inserted, and files that are
// missing between others. It cannot find that the newest lines were cut off, or that
// somebody who may write the directory computed the whole chain again.
//
// A Trail may be used by any goroutine.
package audit
