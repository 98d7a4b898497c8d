package engine

import "github.com/claudefs/repl/rdma"

// Counters are sums since Open that tell what a node's data path costs. They may
// be taken at any time; those of one moment need not agree with one another.
type Counters struct {
	Own    JournalCounters
	Mirror JournalCounters
	Memory MemoryCounters
	Links  RingCounters
	Files  RingCounters
	RDMA   rdma.Stats // zero where there is none
}

// RingCounters are those of io_uring; 0 where something else carries.
type RingCounters struct {
	Enters uint64 // system calls of its rings
	Calls  uint64 // operations: sends, receives, writes, syncs …
	Spins  uint64 // receives that looked before they slept
	Hits   uint64 // … and found
	// StagedBytes were copied to go past the system's cache, which would else copy
	// them itself: units of batches below 16 KiB.
	StagedBytes uint64
	Revoked     uint64 // operations that the kernel gave up unbegun, and that were submitted again
	Plain       uint64 // operations by system calls: writes that were alone, and what had no ring
	Refused     uint64 // rings that were not to be had, or failed: system calls took their place
	Reason      string // why the last one was refused; "" if none was
}

// MemoryCounters are those of the memory that batches and received frames live
// in; frames only with the engine's own transport.
type MemoryCounters struct {
	RegionBytes int64  // mapped off the heap; 0 = the system refused
	LentBytes   int64  // of the region, in use or kept for reuse
	HeapBytes   int64  // of the heap: small buffers, and what found no room in the region
	Spilled     uint64 // how often a large one found no room
}

// JournalCounters are those of one journal and of the way into it.
type JournalCounters struct {
	Flushes uint64
	Wakes   uint64 // how often the flusher was idle and had to be woken; not one per entry
	// CopiedBytes went through a processor on their way into the journal's
	// memory: own: by Append and by batches that grew; Reserve copies nothing.
	// Mirror: from a link's read-ahead into frames; unknown, 0, with
	// Options.Transport, and counted with other frames there are.
	CopiedBytes uint64
	// FreedBytes were copied behind the flush, because a link wanted the memory back
	// that they had come in; readers are served from the copies.
	FreedBytes    uint64
	FileReadBytes uint64 // read back from segments, by readers that were behind
	RecentBytes   int64  // memory of durable batches that readers are served from; no sum
}

// Counters returns the counters as they are now.
func (e *Engine) Counters() Counters {
	c := Counters{Own: e.own.counters(), Mirror: e.mirror.counters()}
	c.Own.CopiedBytes = e.writer.Totals().CopiedBytes
	if e.frames != nil {
		c.Mirror.CopiedBytes = e.frames.CopiedBytes()
	}
	if t := e.path.transport; t != nil {
		c.Links = RingCounters(t.Stats())
	}
	if t := e.path.rdma; t != nil {
		c.RDMA = t.Stats()
	}
	if d := e.path.disk; d != nil {
		c.Files = RingCounters(d.Stats())
	}
	m := e.memory.Stats()
	c.Memory = MemoryCounters{m.RegionBytes, m.LentBytes, m.HeapBytes, m.Spilled}
	return c
}

func (f *flusher) counters() JournalCounters {
	s := f.j.Stats()
	wakes := uint64(0)
	if p := f.pipeline.Load(); p != nil {
		wakes = p.Wakes()
	}
	return JournalCounters{
		Flushes: s.Flushes, Wakes: wakes, FileReadBytes: s.FileReadBytes, RecentBytes: s.RecentBytes,
		FreedBytes: s.CopiedBytes,
	}
}
