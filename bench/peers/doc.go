// Peers promises one honest table: the same work done by this module and by what
// a Go engineer would take instead, on one machine, in one run, with the goals
// beside it. `make bench-peers`, or `go run ./bench/peers`.
//
//	peers ─┬─ row 1 ─ round 1: A B C …  round 2: A B C …  ─▶ medians ─▶ goals
//	       └─ row 2 ─ …
//
//	one run:  receiver process ◀════ sockets ════ sender process
//	             ▲ begin, end                        ▲ begin
//	             └──────────── peers ────────────────┘
//
// # Contenders
//
// ours-1, ours-256: two engines through their public API, one hot shard or 256
// uniform ones. The entries are appended with AppendAt, so the sending engine
// applies nothing, as no contender does; the receiving one applies to a Store
// that checks each record's number and keeps cursors. What they alone do: keep a
// journal at both ends (on a memory file system, or on the disk in the durable
// rows) and ship only what is flushed. A bound on entries under way closes
// batches as the engine likes; nothing here groups entries for it.
//
// net-coalesce: net.Conn, records gathered into writes of up to 64 KiB, the
// honest baseline. net-frame: one write per record. net-spin: polls its socket
// for 50 µs before it sleeps. grpc-record, grpc-batch: one grpc-go bidi stream
// with 128 KiB buffers, 8 MiB windows and a codec that passes bytes through, so
// that no protobuf is charged to it. jetstream: a file stream mirrored over a
// leaf node; hub and publisher share a process; published asynchronously.
// +log: equal duty. Both ends keep a log that one goroutine writes and flushes
// (fdatasync) while the next records gather, on a recycled file, beside the engines'
// journals: on the memory file system, or on the disk in the durable rows. The answer
// follows the far log. Goals compare with these; bare contenders are context.
// ours-1-portable: without io_uring.
//
// Rows that begin with busy- run beside processes that spin, one per processor.
//
// # Rules
//
//  1. Each contender moves the same records: numbered, random bytes, one buffer.
//     The receiver checks that none is missing or out of order.
//  2. Both ends digest all bytes with XXH3-128, per frame or batch.
//  3. At most 16 MiB are sent and not yet answered for. An answer names the
//     highest record that was checked, and flushed in the durable rows; receivers
//     answer when they have drained what had arrived.
//  4. Every TCP socket of every process is switched to cubic before the clock
//     starts, and read back: a socket that is not on cubic fails the run.
//  5. The clock runs from the first record after a warm-up to the last answer;
//     processor time is user and system of both processes over that time.
//  6. Contenders take turns within a round; ratios are taken within a round, and
//     the median of the rounds counts. The spread of a ratio is its interquartile
//     range by its median; over 25 % the ratio is not printed and the goal is
//     invalid, which is neither ok nor short. So is a goal with one round.
//  7. A contender that runs below 0.75 of what it ran at when the goals were set,
//     scaled by memcpy and loopback then and now (their geometric mean), voids
//     its goals: it was not tuned.
//  8. A machine that is over 20 % busy with something else before a row judges
//     nothing in it, unless asked (-busy).
//  9. Pinned means sender on processor 0, receiver on 1, from their start on. The
//     goals count pinned; the table shows both. GOMAXPROCS is the same for all
//     (-procs).
//
// # Caveats
//
// Loopback only: no loss, no distance, no interrupts of a card, and a copy where
// hardware would have none. JetStream is favoured: its window counts what the
// hub has not acknowledged, not the mirror; digests are its publisher's, and its
// stores' own hashes serve at the ends. Contenders with a log of their own send a
// record while it is being flushed; the engine only afterwards. The figures of
// rule 7 are in-memory ones, and JetStream's; one with +log is judged by its bare
// twin of the same row.
// iperf3 digests nothing. Journal rows run in one process, not pinned: a commit
// is one batch of one entry that was staged and is known to be durable; at depth
// 16 the journal may put several into one flush, and the table says how many.
//
// It runs on Linux only. It opens no port but on loopback and leaves nothing
// behind but its report.
package main
