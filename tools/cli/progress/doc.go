// Package progress promises people one line that tells how far a long task is:
// redrawn in place on a terminal, repeated every few seconds elsewhere, so that
// a log of it stays short.
//
//	Show ─▶ terminal: redraw, at most 10 a second
//	     └▶ file or pipe: a new line, at most one every 3 s
//	Say  ─▶ a line that stays
//
// A Line is for one goroutine at a time. It drops write errors: progress is never
// a reason to fail.
package progress
