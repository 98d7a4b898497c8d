package engine

import (
	"time"

	"github.com/claudefs/repl/engine/lag"
	"github.com/claudefs/repl/engine/node"
	"github.com/claudefs/repl/rdma"
)

// Counters are sums since Open that tell what a node's data path costs. They may
// be taken at any time; those of one moment need not agree with one another.
type Counters struct {
	Own    JournalCounters
	Mirror JournalCounters
	Memory MemoryCounters
	Links  RingCounters
	Files  RingCounters
	RDMA   rdma.Stats // zero where there is none
	// Append: per flush unit, from the append of its oldest entry until it was durable here.
	Append Histogram
	Acks   []AckCounters  // by peer, as in Status
	Events []EventCounter // in the order of event.Kinds, all of them
}

// EventCounter is how many events of a kind there were, delivered or dropped.
type EventCounter struct {
	Kind  string
	Count uint64
}

// AckCounters are how long a peer took: per log and confirmation, from when the oldest entry
// that it tells of became durable here. Entries of before Open are not counted.
type AckCounters struct {
	Site             string
	Durable, Applied Histogram
}

// Histogram counts durations in buckets.
type Histogram struct {
	Bounds []float64 // upper bounds of buckets, seconds, rising; shared, not to be changed
	Counts []uint64  // at or below that bound
	Count  uint64    // of all
	Sum    float64   // seconds
}

// histogramBounds are Histogram.Bounds.
var histogramBounds = func() (bounds []float64) {
	for _, bound := range lag.HistogramBounds() {
		bounds = append(bounds, bound.Seconds())
	}
	return bounds
}()

// histogram is h as others read it.
func histogram(h *lag.Histogram) Histogram {
	c := Histogram{Bounds: histogramBounds, Counts: make([]uint64, len(histogramBounds)), Sum: h.Sum.Seconds()}
	for i, count := range h.Counts {
		if c.Count += count; i < len(c.Counts) {
			c.Counts[i] = c.Count
		}
	}
	return c
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
	Flush   Histogram // per flush unit, from its write's begin until it was durable
	Wakes   uint64    // how often the flusher was idle and had to be woken; not one per entry
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
	c := Counters{Own: e.own.counters(), Mirror: e.mirror.counters(), Events: e.events.counters()}
	c.Own.CopiedBytes = e.writer.Load().Totals().CopiedBytes
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
	c.Append = e.own.appendTimes()
	e.heart.mu.Lock()
	acks := e.heart.node.Acks()
	e.heart.mu.Unlock()
	for i := range acks {
		c.Acks = append(c.Acks, ackCounters(&acks[i]))
	}
	return c
}

func (f *flusher) counters() JournalCounters {
	s := f.j.Stats()
	wakes := uint64(0)
	if p := f.pipeline.Load(); p != nil {
		wakes = p.Wakes()
	}
	f.mu.Lock()
	flush := f.times.flush
	f.mu.Unlock()
	return JournalCounters{
		Flushes: s.Flushes, Flush: histogram(&flush), Wakes: wakes, FileReadBytes: s.FileReadBytes,
		RecentBytes: s.RecentBytes, FreedBytes: s.CopiedBytes,
	}
}

func (f *flusher) appendTimes() Histogram {
	f.mu.Lock()
	h := f.times.append
	f.mu.Unlock()
	return histogram(&h)
}

func ackCounters(a *node.PeerAcks) AckCounters {
	return AckCounters{Site: a.Name, Durable: histogram(&a.Durable), Applied: histogram(&a.Applied)}
}

// flushTimes is how long the units of a journal take. The histograms are under the
// flusher's mutex, the rest is its goroutine's.
type flushTimes struct {
	oldest   time.Duration // Mono of the oldest append of what was filled last and is not begun; 0 = none
	inflight []inflight    // units under way, in order

	flush, append lag.Histogram
}

type inflight struct{ oldest, began time.Duration }

// filled notes what the next units hold.
func (t *flushTimes) filled(opened, oldest time.Time) {
	t.oldest = 0
	if !oldest.IsZero() {
		t.oldest = max(oldest.Sub(opened), 1)
	}
}

// begin notes that a unit is on its way, and whether more of what was filled waits.
func (t *flushTimes) begin(now time.Duration, more bool) {
	t.inflight = append(t.inflight, inflight{t.oldest, now})
	if !more {
		t.oldest = 0
	}
}

// back notes that only the first units still are; the others wait again.
func (t *flushTimes) back(left int) {
	if left < len(t.inflight) {
		t.oldest = max(t.oldest, t.inflight[left].oldest)
		t.inflight = t.inflight[:left]
	}
}

// observe counts the units that became durable, when only left are still on their way.
func (f *flusher) observe(left int) {
	t, now := &f.times, f.e.now().Mono
	f.mu.Lock()
	defer f.mu.Unlock()
	ended := max(0, len(t.inflight)-left)
	for _, u := range t.inflight[:ended] {
		t.flush.Observe(now - u.began)
		if u.oldest != 0 {
			t.append.Observe(now - u.oldest)
		}
	}
	t.inflight = append(t.inflight[:0], t.inflight[ended:]...)
}
