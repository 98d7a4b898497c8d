// Package sim runs whole worlds of two or three sites, each from one seed and on one
// goroutine. It checks the promises of the engine after every event.
//
//	        plan (seed) ──▶ faults, load, parameters          checker: the reference model
//	             │                                               ▲        ▲        ▲
//	             ▼                                      durable  │ acked  │ applied│
//	heap of events (time, tie) ──▶ site-a ◀══ network ══▶ site-b │        │        │
//	                               shell: carries out effects ───┴────────┴────────┘
//	                               node.Step        the real heart
//	                               journal ×2       the real journals, on a memory disk
//	                               writer, apply    the real ones, on the memory Store
//
// The shell does what the engine's shell does, in one thread. A flush is four events (write,
// sync, end, reported), so a kill or a power cut may fall between any two. Frames cross the
// network as bytes through the real wire code. Time passes only between events.
//
// # Plans
//
// A seed decides a plan before its world begins (engine/sim/plan), as text that can be written by
// hand. A plan that breaks a promise is shortened ([Shrinking]). Shortened plans are
// saved in testdata/sim; TestSavedPlansHold runs each with forty seeds.
//
//	cfs sim run --seeds 1-2000     a campaign: one verdict
//	cfs sim replay SEED|FILE       one world again, --trace for every event
//	cfs sim plan SEED              what the seed decides
//	cfs sim shrink SEED|FILE       the shortest plan that breaks the same promise
//	cfs sim ledger                 a campaign and its row in docs/ledger.md
//
// # Worlds
//
// Faults of a random half of the kinds strike first. Then everything heals, and the world must
// come to rest. A lost site does not heal. docs/simulator.md lists all faults and all checks.
// The model never asks the code under test.
//
// Faults spare the last good copy of each batch. Two kinds of mistakes test the simulator:
// plants in the world around the engine, and the museum's in production code (docs/museum.md).
//
// Limits: one writer at a time; at most one site per world loses what it had, and none where an
// operator moves the writer. It does not model leases, mending, several writers, or mixed releases.
package sim
