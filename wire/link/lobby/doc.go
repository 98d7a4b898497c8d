// Package lobby bounds the connections that nobody has vouched for: who connects
// and says nothing costs a descriptor for a while, and keeps no peer out.
//
//	accepted ─▶ Enter ──▶ silent ──▶ Spoke ──▶ spoken ──▶ Leave   (admitted, refused or gone)
//	              │          └─ closed when the lobby is full and another one comes: the oldest first
//	              └─ nil: full of connections that have spoken
//
// A quarter of the places is kept for addresses that were named by Favor, those of
// configured peers: strangers never take it, and never push such a connection out.
//
// Invariants:
//
//   - I10: never more than Options.Max connections, and never more than an eighth of
//     the process's limit of open files, as it is at that moment.
//
// Limits: an address proves nothing, it only gets a place. 256 addresses are
// remembered; the one named longest ago is forgotten first.
//
// It reads nothing, and knows no deadline: a connection that is too slow is closed
// by whoever reads it.
package lobby
