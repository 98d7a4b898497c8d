// Package plant is the museum's switchboard: classic mistakes of journals and of
// replication, each behind one condition in the production code, so that the
// simulator can be tested by what it must find.
//
//	plain build          const AckBeforeFlush = false ──▶ the compiler drops the branch
//	go build -tags plant var AckBeforeFlush = CLAUDEFS_PLANT is its name
//
// The promise: without the tag every one of them is the constant false, so
// nothing of a mistake is in the program. With the tag a process makes at most
// one of them, the one that its environment names when it starts; none if it
// names none. So one build holds the whole museum.
//
// A mistake belongs here if a real system made it, if it sits where that system had
// it, and if an invariant checker of engine/sim finds it (I1–I14 of package node).
// docs/museum.md lists the mistakes and their cousins. A mistake that stays unseen is
// a gap in the checkers or in the faults: fix that first.
//
// Limits: a mistake is a condition of one line, or a call of one function that
// does it; it adds no field, parameter or test of its own to production code.
//
// It does not decide anything while a process runs, and it does not inject faults:
// disks and networks that fail belong to the simulator.
package plant
