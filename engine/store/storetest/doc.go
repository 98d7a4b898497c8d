// Package storetest promises that a Store which passes Run keeps what the
// engine relies on: atomic commits, cursors of the same moment, and an honest
// Durable.
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, func(t testing.TB) storetest.Harness { … })
//	}
//
//	Harness.Open ─▶ Store ─▶ changes with a known digest after each ─▶ Harness.Crash ─▶ Store
//	                                                                        │
//	                        what survived must be one of those moments ◀────┘
//
// A store that is a store.Mender is also made equal to another one: from a common past one has
// orphans, the other has entries of the next epoch.
//
//	common past ─┬─ orphans ───────▶ target ◀── pieces ── source ◀─ other entries ─┬─ common past
//	             └──────────── equal in all rows, cursors and later changes ───────┘
//
// Invariants tested: I2 (effects and cursors are one commit, torn or whole), I3
// (what survives is a prefix, never behind Durable), I7 (digest of the state
// alone). A mending that was killed at any step ends with equal rows (I7).
//
// Limits: the suite finds a race between Digest, Export and Apply by trying, so
// it can miss a narrow one; it tears a commit only where the harness can.
//
// It does not test speed, nor what an operation means to the host.
package storetest
