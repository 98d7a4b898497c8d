// Command busy says how io_uring compares with system calls in the states that a
// storage node's machine is in: quiet, beside processes that spin, beside two more
// engines, with few and many processors for Go, and with other priorities. It runs
// cfs bench for each, in pairs that take turns:
//
//	make bench-busy
//	busy quiet clients=1 io_uring 2364/s portable 2214/s ratio 1.07 (0.98 to 1.12) ok
//
// The ratio is the median of the pairs', behind it the quartiles. A ratio below -least is
// short, and the exit code 99. Nothing need be installed: what spins is this program.
package main
