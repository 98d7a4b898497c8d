// Package tty promises that a terminal shows only what cfs means to show, and that no
// output is lost without an error.
//
//	verb ──▶ Writer ──▶ terminal: control bytes of foreign text are escaped
//	            │  └──▶ file or pipe: the bytes as they are
//	            └─ the first failed write is kept: Err
//
// Plain makes one line of a name, a reason or an error of somebody else. Wrap breaks
// lines at words. A Writer is safe for concurrent use; Pair makes those of stdout and
// stderr share the progress line, so that it is erased before anything else is written.
package tty
