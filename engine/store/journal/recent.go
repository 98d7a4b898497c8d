package journal

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/claudefs/repl/wire"
)

// Measured is an owner that says how much memory it keeps from reuse while it is
// lent, which may be much more than its batches. Without it the bytes of the
// batches count.
type Measured interface{ MemoryBytes() int }

// Settled is an owner that wants to know when the flush of its batches has ended,
// well or not: its memory may stay lent long after that. FlushEnded is called
// once at most, without the journal's lock, before Release.
type Settled interface{ FlushEnded() }

// Scarce is an owner whose memory is wanted back as soon as its batches are flushed,
// if Scarce says so: others wait for it. They are copied then, without the journal's
// lock, so that readers which keep up still need no file.
type Scarce interface{ Scarce() bool }

// Memory is where such copies live. Its methods may be called by any goroutine.
type Memory interface {
	// Alloc lends size bytes, at least 1, of unspecified content.
	Alloc(size int) []byte
	// Free takes back what Alloc lent.
	Free(memory []byte)
}

// copied owns the copies of one unit's batches.
type copied struct {
	j      *Journal
	memory []byte
}

func (c *copied) MemoryBytes() int { return cap(c.memory) }

func (c *copied) Release() {
	if c.j.o.Memory != nil {
		c.j.o.Memory.Free(c.memory)
	}
}

// refBytes is what one batch costs in memory beside its bytes.
const refBytes = 256

// freeBytesMax is how much memory of empty units is kept for reuse: enough for
// what one large unit pushes out of a ring of small ones.
const freeBytesMax = 1 << 20

// extensionsIdleMax is how many extensions are kept for reuse: as many as a link has
// frames under way.
const extensionsIdleMax = 256

// passedShare: what every reader has passed takes no more than this part of
// RecentBytesMax. The less memory goes round, the more of it is in a processor's
// cache when it is written to again: with 2 MiB of 32 an append to one of 256 shards
// takes 50 ns instead of 75. The rest is for readers that fall behind.
const passedShare = 16

// openUnit is a unit in the making, then on its way, then recent. Who holds it,
// holds the memory of its batches: the journal, each reader that lent them out,
// and the unit before it if one Stage lent memory to both.
type openUnit struct {
	number UnitNumber
	refs   []wire.BatchRef
	owners []Releaser
	used   int // header and batches
	holds  int
	grows  int       // what its control records add to the control state, at most
	next   *openUnit // one owner's memory lies in both; it is given back by next

	// Where it lies, once it is durable.
	seg         *segment
	off, end    int64
	memoryBytes int64
}

// ownBytes is what the unit takes beside its batches.
func (u *openUnit) ownBytes() int { return (1 + cap(u.refs)) * refBytes }

// recent is the newest durable units, whose batches are still where they were
// staged from; a reader that keeps up takes them from here. They lie one behind
// the other, and the last one ends where the journal does.
//
//	         evicted ◀─ ┌────┬────┬────┬────┐ ◀─ EndFlush
//	read from the file  │  7 │  8 │  9 │ 10 │
//	                    └────┴────┴─▲──┴────┘
//	                              Reader
type recent struct {
	units []*openUnit // units[:lo] are gone
	lo    int
	bytes int64
}

func (c *recent) all() []*openUnit { return c.units[c.lo:] }

// at returns the index in all of the unit that lies at off of a segment.
func (c *recent) at(s *segment, off int64) (int, bool) {
	return slices.BinarySearchFunc(c.all(), off, func(u *openUnit, off int64) int {
		if u.seg.number != s.number {
			return cmp.Compare(u.seg.number, s.number)
		}
		return cmp.Compare(u.off, off)
	})
}

// pop takes the oldest out.
func (c *recent) pop() *openUnit {
	u := c.units[c.lo]
	c.units[c.lo] = nil
	c.lo++
	c.bytes -= u.memoryBytes
	if c.lo > len(c.units)/2 {
		n := copy(c.units, c.all())
		clear(c.units[n:])
		c.units, c.lo = c.units[:n], 0
	}
	return u
}

// scarce says that some of the unit's batches lie where they may not stay.
func (u *openUnit) scarce() bool {
	for ; u != nil; u = u.next { // an owner of both lies with the last
		for _, o := range u.owners {
			if s, ok := o.(Scarce); ok && s.Scarce() {
				return true
			}
		}
	}
	return false
}

// unburden copies what is about to be recent out of scarce memory, and lists the
// owners of that, who are to be told. Nobody else looks at the units yet. An owner is
// listed with the last unit that it lent to, so no write under way reads its memory.
func (j *Journal) unburden() {
	j.mu.Lock()
	j.unlent = j.unlent[:0]
	for _, f := range j.flights {
		if !f.ended || f.failed != nil || j.err != nil || j.o.RecentBytesMax == 0 {
			break
		}
		if f.unit.scarce() {
			j.unlent = append(j.unlent, f.unit)
		}
	}
	j.mu.Unlock()
	for i, u := range j.unlent {
		j.copyOut(u)
		j.unlent[i] = nil
	}
}

// copyOut gives a unit's batches memory of their own.
func (j *Journal) copyOut(u *openUnit) {
	size := u.used - UnitHeaderBytes
	c := &copied{j: j}
	if j.o.Memory != nil {
		c.memory = j.o.Memory.Alloc(size)
	} else {
		c.memory = make([]byte, size)
	}
	at := 0
	for i := range u.refs {
		n := copy(c.memory[at:], u.refs[i].Bytes)
		u.refs[i].Bytes = c.memory[at : at+n : at+n]
		at += n
	}
	j.copiedBytes.Add(uint64(at))
	kept := u.owners[:0]
	for _, o := range u.owners {
		if s, ok := o.(Scarce); ok && s.Scarce() {
			if s, ok := o.(Settled); ok {
				s.FlushEnded()
			}
			j.copiedOwners = append(j.copiedOwners, o)
			continue
		}
		kept = append(kept, o)
	}
	u.owners = append(kept, c)
}

// remember makes a durable unit the newest recent one and evicts the oldest ones
// beyond RecentBytesMax. What nobody reads any more goes to owners. The lock is
// held.
func (j *Journal) remember(u *openUnit, owners []Releaser) []Releaser {
	if j.o.RecentBytesMax == 0 {
		return owners
	}
	u.memoryBytes = int64(u.ownBytes())
	for _, o := range u.owners {
		if m, ok := o.(Measured); ok {
			u.memoryBytes += int64(m.MemoryBytes())
		}
	}
	if u.memoryBytes < int64(u.used) { // owners that do not say, or none
		u.memoryBytes += int64(u.used)
	}
	u.holds++
	j.recent.units = append(j.recent.units, u)
	j.recent.bytes += u.memoryBytes
	passed := j.passed()
	for j.recent.bytes > j.o.RecentBytesMax ||
		j.recent.bytes > j.o.RecentBytesMax/passedShare && j.recent.all()[0].number <= passed {
		owners = j.drop(j.recent.pop(), owners)
	}
	return owners
}

// passed is the last unit that no open reader comes to any more; 0 without readers,
// because one may come back. The lock is held.
func (j *Journal) passed() UnitNumber {
	if len(j.readers) == 0 {
		return 0
	}
	passed := UnitNumber(math.MaxUint64)
	for _, r := range j.readers {
		passed = min(passed, r.passed)
	}
	return passed
}

// forget evicts all recent units up to a number. The lock is held.
func (j *Journal) forget(through UnitNumber) (owners []Releaser) {
	for len(j.recent.all()) > 0 && j.recent.all()[0].number <= through {
		owners = j.drop(j.recent.pop(), owners)
	}
	return owners
}

// drop gives up one hold of a unit. The last one's end appends whom to tell to
// owners, and empties the unit for reuse; nothing in it keeps a caller's bytes
// alive. The lock is held.
func (j *Journal) drop(u *openUnit, owners []Releaser) []Releaser {
	for u != nil {
		if u.holds--; u.holds > 0 {
			return owners
		}
		if u.holds < 0 {
			panic(fmt.Sprintf("journal: unit %d given back more often than held", u.number))
		}
		owners = append(owners, u.owners...)
		next := u.next
		clear(u.refs)
		clear(u.owners)
		*u = openUnit{refs: u.refs[:0], owners: u.owners[:0]}
		if j.freeBytes+u.ownBytes() <= freeBytesMax {
			j.freeBytes += u.ownBytes()
			j.free = append(j.free, u)
		}
		u = next
	}
	return owners
}

// readRecent takes the units from the reader's place on, at least one, that end
// at or before end and fit bytesMax, from memory; false if they are not there.
// They stay lent until the next call.
func (r *Reader) readRecent(end int64, bytesMax int) bool {
	j := r.j
	j.mu.Lock()
	defer j.mu.Unlock()
	i, found := j.recent.at(r.seg, r.off)
	if !found {
		return false
	}
	first := r.off
	for _, u := range j.recent.all()[i:] {
		if u.seg != r.seg || u.off != r.off || u.end > end || u.off > first && u.end-first > int64(bytesMax) {
			break
		}
		u.holds++
		r.lent = append(r.lent, u)
		r.off = u.end
		if u.number < r.from {
			continue
		}
		r.unit = u.number
		for k := range u.refs {
			if u.refs[k].Header.Kind != wire.BatchControl {
				r.refs = append(r.refs, u.refs[k])
			}
		}
	}
	return true
}

// checkLent asserts that nobody wrote to lent memory: its headers are what was
// staged. Bodies were verified, or made, before they were staged.
func (r *Reader) checkLent() {
	for i := range r.refs {
		b := &r.refs[i]
		if len(b.Bytes) != b.Header.Bytes() || wire.Chain(b.Bytes[8:24]) != b.Header.Chain {
			panic(fmt.Sprintf("journal: log %s seq %d was written to while it was lent", b.Header.Log(),
				b.Header.FirstSeq))
		}
	}
}

// extension is a hold of recent units beyond the Reader's next call.
type extension struct {
	j      *Journal
	units  []*openUnit
	owners []Releaser
	end    func() // the method, bound once
}

// Keep extends the loan of what the last Next returned until the function that it
// returns is called, once, by any goroutine. Nil: it is not to be had, because the
// bytes were read from a file into the reader's own buffer.
func (r *Reader) Keep() (giveBack func()) {
	if len(r.lent) == 0 || r.buffered {
		return nil
	}
	j := r.j
	j.mu.Lock()
	defer j.mu.Unlock()
	l := pop(&j.extensions)
	if l == nil {
		l = &extension{j: j}
		l.end = l.giveBack
	}
	for _, u := range r.lent {
		u.holds++
		l.units = append(l.units, u)
	}
	return l.end
}

func (l *extension) giveBack() {
	j := l.j
	j.mu.Lock()
	for i, u := range l.units {
		l.owners = j.drop(u, l.owners)
		l.units[i] = nil
	}
	l.units = l.units[:0]
	j.mu.Unlock()
	release(l.owners)
	clear(l.owners)
	l.owners = l.owners[:0]
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.extensions) < extensionsIdleMax {
		j.extensions = append(j.extensions, l)
	}
}

// giveBack ends the loan of what the last Next returned.
func (r *Reader) giveBack() {
	if len(r.lent) == 0 {
		return
	}
	r.j.mu.Lock()
	r.owners = r.owners[:0]
	for i, u := range r.lent {
		r.owners = r.j.drop(u, r.owners)
		r.lent[i] = nil
	}
	r.lent = r.lent[:0]
	r.j.mu.Unlock()
	release(r.owners)
	clear(r.owners)
}
