package engine

// Counters are sums since Open that tell what a node's data path costs. They may
// be taken at any time; those of one moment need not agree with one another.
type Counters struct {
	Own    JournalCounters
	Mirror JournalCounters
}

// JournalCounters are those of one journal and of the way into it.
type JournalCounters struct {
	Flushes uint64
	Wakes   uint64 // how often the flusher was idle and had to be woken; not one per entry
	// CopiedBytes went through a processor on their way into the journal's
	// memory: own: by Append and by batches that grew; Reserve copies nothing.
	// Mirror: from a link's read-ahead into frames; unknown, 0, with
	// Options.Transport, and counted with other frames there are.
	CopiedBytes   uint64
	FileReadBytes uint64 // read back from segments, by readers that were behind
	RecentBytes   int64  // memory of durable batches that readers are served from; no sum
}

// Counters returns the counters as they are now.
func (e *Engine) Counters() Counters {
	c := Counters{Own: e.own.counters(), Mirror: e.mirror.counters()}
	c.Own.CopiedBytes = e.writer.CopiedBytes()
	if e.frames != nil {
		c.Mirror.CopiedBytes = e.frames.CopiedBytes()
	}
	return c
}

func (f *flusher) counters() JournalCounters {
	s := f.j.Stats()
	return JournalCounters{
		Flushes: s.Flushes, Wakes: f.wakes.Load(), FileReadBytes: s.FileReadBytes, RecentBytes: s.RecentBytes,
	}
}
