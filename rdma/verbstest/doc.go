// Package verbstest promises that any rdma.Verbs does what the link relies on: one
// suite for the fake and for real devices.
//
//	┌─ end ───────────────────────┐             ┌─ end ───────────────────────┐
//	│ queue ◀─ pair ── domain     │ ◀── RC ──▶  │ pair ─▶ queue               │
//	│            memory, region   │             │   memory, region            │
//	└─────────────────────────────┘             └─────────────────────────────┘
//
// Conformance opens both ends on one device, or on two. It asks only for what every
// device must do: what differs from one to another (when a full send queue is
// refused, what an overrun does first) is tested with the fake alone. It serves I9
// and I11: keys, bounds and rights are refused by the device, not by trust.
//
// It waits for completions, never for time; a device that hangs meets the suite's
// patience of 20 s per wait. It measures nothing.
package verbstest
