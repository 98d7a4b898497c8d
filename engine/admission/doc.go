// Package admission decides for each log that this site writes whether it takes appends.
// It is pure. A log takes appends when it is settled that this site writes (package role)
// and nothing says that acknowledged entries are missing:
//
//	           a peer ends where we end, or its position is proven to lie in our log,
//	           and every other one, registered or configured, has been heard
//	waiting ──────────────────────────────────────────────────────────────────▶ verified
//	   │  │ peer, Store or its saved cursor has more ─▶ fetch it back ───▲   ▲
//	   │  └ VerifyWait passes, a peer was not heard ─▶ unverified ───────────┘
//	   │                                             │ a peer contradicts
//	   └─▶ standby (another site writes)             ▼
//	       refused: suspect after damage, data not given back, histories differ, a peer
//	       names another primary, or the configuration names none of the peers
//
// A [Gate] holds all logs. Package node tells it what peers, Store and journals show; the
// gate changes a log's [Log], and says so by step.Admit. What is to be fetched back is
// package fetch's.
//
// # Invariants
//
//   - I1: no log is admitted while its journal is known to lack what was acknowledged, and
//     none without every peer's word, or VerifyWait and an alarm.
//   - I4: a log whose history differs from a peer's is refused until an operator decides.
//   - I9: a suspect log is refused until another copy proves its tail, or every peer was
//     heard and none has more: then an alarm tells what may be lost.
//   - I14: what waits for a peer's word stops waiting after VerifyWait.
//
// # Limits
//
// About 170 bytes per log. Opening, the end of VerifyWait and the last peer's answer walk
// all logs; nothing else does.
//
// # What it does not do
//
// It compares no histories with peers (package stream) and asks nobody for anything. An epoch
// that ends is not here: the epoch is constant in the life of a gate, and a log whose last
// incarnation is of an older one is opened again before it takes appends ([Ends]).
package admission
