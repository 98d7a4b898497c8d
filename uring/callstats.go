package uring

// CallStats counts since a Transport or a Disk was opened, over all its rings.
type CallStats struct {
	Enters uint64 // system calls of the rings
	Calls  uint64 // operations: sends, receives, writes, syncs …
	Spins  uint64 // receives that looked before they slept
	Hits   uint64 // … and found
	// StagedBytes were copied into aligned memory to go past the system's cache,
	// which would else copy them itself.
	StagedBytes uint64
	// Revoked is how many operations the kernel gave up unbegun, so that they were
	// submitted again.
	Revoked uint64
	// Plain counts operations by system calls: writes that were alone, and what had no
	// ring.
	Plain uint64
	// Refused counts rings that were not to be had, or failed, so that system calls took
	// their place; Reason says why the last one, "" if none.
	Refused uint64
	Reason  string
}
