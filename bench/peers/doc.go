// Peers promises one honest table: the same work done by this module and by the
// alternatives of a Go engineer, on one machine, in one run, next to the goals.
// Run `make bench-peers`, or `go run ./bench/peers`.
//
//	peers ─┬─ row 1 ─ round 1: A B C …  round 2: A B C …  ─▶ medians ─▶ goals
//	       └─ row 2 ─ …
//
//	one run:  receiver process ◀════ sockets ════ sender process
//	             ▲ begin, end                        ▲ begin
//	             └──────────── peers ────────────────┘
//
// RULES.md lists the contenders, the rules that make the comparison fair, and the caveats.
// The main rules: all contenders move the same records, digest all bytes at both ends, keep at
// most 16 MiB unanswered, and use the same congestion control. They take turns within a round;
// the median of the rounds' ratios counts. Goals compare at equal duty: a contender named +log
// keeps a flushed log at both ends.
//
// Linux only. It opens ports on loopback only and leaves nothing behind except its report.
package main
