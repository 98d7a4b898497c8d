// Package stripe promises one link over several connections, for paths that are
// long and fat: what a connection may have under way is bounded by the kernels of
// both ends, so that several carry several times as much.
//
//	Send ─ frame n ─▶ connection n mod K ═══▶ connection n mod K ─ frame n ─▶ Recv
//
//	Dial:   K connections at once, a join first on each ─▶ Conn
//	Accept: place in a lobby ─▶ first frame ─ join ──▶ gathered by link ─▶ Conn, when there are K
//	                                        └ other ─▶ a link of one connection, frame first
//	        ─▶ the host judges the first frame ─ Admit ──▶ adopted by a transport, read on
//	                                           └ Close ─▶ nothing more was read
//
// Both ends go round in the same order, so a frame needs no number and the
// receiver no memory: what comes early waits in the kernel's buffers of its
// connection. A frame is on one connection whole.
//
// Invariants:
//
//   - I4: frames arrive in the order they were sent, because each connection keeps
//     its order and both ends take turns alike.
//   - I10: nothing is queued here. Unadmitted connections are at most 512 and an eighth
//     of the open files; the oldest silent one makes room (package lobby). One without its
//     first frame, or without the others of its link, stays for at most 10 s.
//     At most 3 of these links pin memory of their own.
//   - I11: a join that does not fit its link ends that link before anybody learns
//     of it. A first frame over 4 KiB, more than a join or a hello has, is refused
//     before memory is taken, and so is everything behind it until Admit.
//
// Limits: 64 connections a link. A connection that breaks is noticed when its turn
// comes, and ends the link. All K go to the address that the first one reached. One
// that is slow slows the link: all K should take the same path. SendLent is not passed
// on by links of several; links that have it are taken as they are.
//
// It opens no sockets of its own, and knows nothing of sessions.
package stripe
