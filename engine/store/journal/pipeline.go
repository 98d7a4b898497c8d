package journal

import (
	"errors"
	"slices"

	"github.com/claudefs/repl/engine/store/vfs"
)

// DepthDefault is how many units a Pipeline has under way if nothing is said: with
// eight a disk that takes 100 µs for a durable write has always another one to do,
// and a crash has no more than so many units to cut.
const DepthDefault = 8

// PipelineOptions of a Pipeline.
type PipelineOptions struct {
	// Depth is how many units may be under way; 1 to 64, 0 = DepthDefault. Above 1 it
	// needs a file system with queues (vfs.Queuer).
	Depth int
	// Buffered has every unit go through the system's cache.
	Buffered bool
}

// Pipeline carries a journal's units to the medium, several at once where the
// file system can. They are acknowledged in their order only: what is durable is
// always one stretch.
//
//	 staged    ┌── under way, Depth at most ──┐   durable
//	9 ─ 8 ─▶  │  7: ended   6: …   5: ended   │  ─▶ 4 ─ 3 ─ …
//	          └────────── waits for 6 ────────┘  5 is next, 7 comes with 6
//
// A power cut may leave any of those under way whole. What lies behind one that
// is not is cut with it: no durable-through mark covers it (FORMAT.md, recovery).
//
// One goroutine opens, uses and closes it, before the journal is closed; it may
// be locked to its thread until then. Wake is for everybody. While it is open,
// nobody calls BeginFlush.
type Pipeline struct {
	j     *Journal
	q     vfs.Queue // nil: one unit at a time
	depth int
	about string

	bell *vfs.Bell // without a queue
	one  *Flush    // without a queue: the unit under way
	torn bool      // a unit failed before the queue had it
	done []vfs.Written
}

// OpenPipeline makes the calling goroutine the one that flushes.
func (j *Journal) OpenPipeline(o PipelineOptions) *Pipeline {
	p := &Pipeline{j: j, depth: 1, bell: vfs.NewBell()}
	p.q, p.about = openQueue(j.o.FS, &o)
	if p.q != nil {
		p.depth = o.Depth
	}
	j.mu.Lock()
	j.depth = p.depth
	j.mu.Unlock()
	return p
}

// openQueue returns nil, and why, where units go one by one.
func openQueue(fs vfs.FS, o *PipelineOptions) (vfs.Queue, string) {
	if o.Depth = min(o.Depth, 64); o.Depth == 0 {
		o.Depth = DepthDefault
	}
	queuer, ok := fs.(vfs.Queuer)
	if !ok || o.Depth == 1 {
		return nil, "one unit at a time: a gathered write, then a sync"
	}
	q, err := queuer.OpenQueue(vfs.QueueOptions{Depth: o.Depth, Buffered: o.Buffered})
	if err != nil {
		return nil, "one unit at a time: " + err.Error()
	}
	return q, q.About()
}

// Depth is how many units may be under way.
func (p *Pipeline) Depth() int { return p.depth }

// About says in one line how units are written, and why not better.
func (p *Pipeline) About() string {
	if p.q != nil {
		return p.q.About()
	}
	return p.about
}

// Inflight is how many units are under way.
func (p *Pipeline) Inflight() int {
	p.j.mu.Lock()
	defer p.j.mu.Unlock()
	return len(p.j.flights)
}

// Begin begins the next unit; false: nothing waits, there is no room, or the
// journal stopped.
func (p *Pipeline) Begin() bool {
	if p.torn || p.q != nil && !p.room() {
		return false
	}
	f := p.j.BeginFlush()
	if f == nil {
		return false
	}
	if p.q == nil {
		p.one = f
		return true
	}
	if err := f.submit(p.q); err != nil {
		p.j.mu.Lock()
		f.over(err)
		p.j.mu.Unlock()
		p.torn = true
	}
	return true
}

// room asks the queue about the next unit.
func (p *Pipeline) room() bool {
	j := p.j
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.pending) == 0 {
		return false
	}
	u, largest := j.pending[0], 0
	for i := range u.refs {
		largest = max(largest, len(u.refs[i].Bytes))
	}
	return p.q.Room(int(align(int64(u.used))), largest)
}

// End waits until a unit ends, or somebody wakes the goroutine after Idle, and
// accounts for what became durable, possibly nothing yet. Without a queue it
// writes the unit. With nothing under way, and not idle, it returns at once. An
// error is the journal's end, but for ErrExhausted: go on until Inflight is 0, so that
// what was lent comes back.
func (p *Pipeline) End() (Flushed, error) {
	if p.q == nil {
		return p.endOne()
	}
	p.done = p.q.Wait(p.done[:0], !p.torn)
	p.torn = false
	j := p.j
	j.mu.Lock()
	for i := range p.done {
		w := &p.done[i]
		i := slices.IndexFunc(j.flights, func(f *Flush) bool { return f.unit.number == UnitNumber(w.User) })
		f, err := j.flights[i], w.Err
		if err != nil {
			err = f.wrap(err)
		}
		f.over(err)
	}
	j.mu.Unlock()
	return j.conclude()
}

func (p *Pipeline) endOne() (Flushed, error) {
	f := p.one
	if f == nil {
		p.bell.Sleep()
		return Flushed{}, p.j.Err()
	}
	p.one = nil
	err := f.Write()
	if err == nil {
		err = f.Sync()
	}
	return p.j.EndFlush(f, err)
}

// Idle publishes that the goroutine is about to sleep in End. Look once more for
// work after it: what came before anybody saw it is found then, what comes later
// wakes.
func (p *Pipeline) Idle() {
	if p.q != nil {
		p.q.Idle()
	} else {
		p.bell.Idle()
	}
}

// Busy takes Idle back.
func (p *Pipeline) Busy() {
	if p.q != nil {
		p.q.Busy()
	} else {
		p.bell.Busy()
	}
}

// Wake has the goroutine look for work that is there already. While it is not
// idle, this is one load. Any goroutine.
func (p *Pipeline) Wake() {
	if p.q != nil {
		p.q.Wake()
	} else {
		p.bell.Wake()
	}
}

// Wakes counts how often Wake ended a sleep.
func (p *Pipeline) Wakes() uint64 {
	if p.q != nil {
		return p.q.Wakes()
	}
	return p.bell.Wakes()
}

// Close ends the pipeline. Nothing may be under way.
func (p *Pipeline) Close() error {
	if p.Inflight() > 0 {
		return errors.New("pipeline closed with a flush under way")
	}
	p.j.mu.Lock()
	p.j.depth = 0
	p.j.mu.Unlock()
	if p.q != nil {
		return p.q.Close()
	}
	return nil
}
