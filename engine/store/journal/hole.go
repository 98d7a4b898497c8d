package journal

import (
	"bytes"
	"cmp"
	"errors"
	"slices"

	"github.com/claudefs/repl/engine/internal/plant"
	"github.com/claudefs/repl/wire"
)

// What is missing in a journal and how it comes back is decided here, for everybody who
// runs one:
//
//	reader meets damage ─▶ Holes ─▶ Missing.Update ─▶ each is asked for, one of a log at a time
//	                                                               │
//	appliers go on (NextLost) ◀── Fill ◀── Pieces.Add ◀── another holder's batches

// Hole is a stretch of a log that damage took: what Fill wants, and what to ask
// another holder for. It begins behind From and ends with the batch that ends at To.
// Incarnations have no order here: where both ends are in one, positions of others are
// outside; where they are not, a position of a third one may be inside.
type Hole struct {
	Log  wire.LogID
	From wire.Position // the last batch before it; zero: nothing is before it
	To   wire.Position // its last batch; zero: nothing here says where the log ends (it is suspect)
}

// Open says whether nothing here says where the hole, and the log, end.
func (h *Hole) Open() bool { return h.To == (wire.Position{}) }

// Contains says whether what ends at a position of the log was lost: the position lies
// behind the hole's begin, and not behind its end.
func (h *Hole) Contains(at wire.Position) bool {
	switch same := h.From.Incarnation == h.To.Incarnation; {
	case at == wire.Position{}:
		return false
	case h.Open():
		return !h.From.Covers(at)
	case at.Incarnation == h.To.Incarnation:
		return h.To.Covers(at) && (!same || !h.From.Covers(at))
	case at.Incarnation == h.From.Incarnation:
		return !h.From.Covers(at)
	default:
		return !same && h.From.Incarnation != wire.Incarnation{}
	}
}

// TakesNext says whether what follows a position of the log was lost: the hole begins
// at the position, or the position lies in the hole and not at its end.
func (h *Hole) TakesNext(at wire.Position) bool {
	ends := at.Incarnation == h.To.Incarnation && at.Seq == h.To.Seq && !h.Open()
	return at == h.From || h.Contains(at) && !ends
}

// Holes lists what damage took and no repair covers yet, suspect logs first: what
// Open found, and what readers met since.
func (j *Journal) Holes() []Hole {
	j.mu.Lock()
	defer j.mu.Unlock()
	var holes []Hole
	for _, h := range j.holes {
		if h.repair == nil {
			holes = append(holes, h.Hole)
		}
	}
	return holes
}

// NextLost says whether what follows a position of a log was lost and is not repaired
// yet: who stands there waits for a repair.
func (j *Journal) NextLost(log wire.LogID, at wire.Position) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return !plant.HoleUnseen && slices.ContainsFunc(j.holes, func(h *hole) bool {
		return h.Log == log && h.repair == nil && h.TakesNext(at)
	})
}

// Repairs is how many repairs have begun since Open: a reader placed at a lower number
// may have passed a place that was repaired meanwhile.
func (j *Journal) Repairs() uint64 { return j.repairs.Load() }

// Fill writes batches of a log, in their order, in the place of what damage took, and
// says whether it did: not if nothing of them is missing any more, because they were
// asked for twice or their segment was given back. The bytes are the caller's again on
// return. One call at a time. See Repair for the rules and errors.
func (j *Journal) Fill(log wire.LogID, batches []wire.BatchRef) (filled bool, err error) {
	j.repairs.Add(1)
	err = j.Repair(log, batches)
	if errors.Is(err, ErrOrder) && !j.missing(batches) {
		return false, nil
	}
	return err == nil, err
}

// missing says whether one of these batches lies in a hole.
func (j *Journal) missing(batches []wire.BatchRef) bool {
	return slices.ContainsFunc(j.Holes(), func(h Hole) bool {
		return slices.ContainsFunc(batches, func(b wire.BatchRef) bool {
			return b.Header.Log() == h.Log && h.Contains(b.Header.End())
		})
	})
}

// Missing is what the owner of a journal asks other holders for: each hole by itself, because
// a stretch over several asks for more than is missing, and two sites that each lack some of
// it could not help each other. A hole whose end is not known is not asked for: a session
// with the log's site, or its peers, proves that end. The zero value has asked for nothing.
// One goroutine at a time; memory is one Hole for each that is asked for.
type Missing struct {
	asked map[Hole]bool
}

// Any says whether something that was asked for is still missing.
func (m *Missing) Any() bool { return len(m.asked) > 0 }

// Update takes what is missing now, of all journals of the owner. It returns the holes that
// were asked for and are missing no more, sorted by log: they were filled, became others, or
// their segment was given back; and then those to ask for, in the order of holes.
func (m *Missing) Update(holes []Hole) (gone, ask []Hole) {
	before := m.asked
	m.asked = make(map[Hole]bool)
	for _, h := range holes {
		if h.Open() || m.asked[h] {
			continue
		}
		m.asked[h] = true
		if !before[h] {
			ask = append(ask, h)
		}
		delete(before, h)
	}
	for h := range before {
		gone = append(gone, h)
	}
	slices.SortFunc(gone, func(a, b Hole) int {
		return cmp.Or(a.Log.Compare(b.Log),
			cmp.Compare(a.To.Seq, b.To.Seq), bytes.Compare(a.To.Chain[:], b.To.Chain[:]),
			cmp.Compare(a.From.Seq, b.From.Seq), bytes.Compare(a.From.Chain[:], b.From.Chain[:]))
	})
	return gone, ask
}

// Pieces gathers what comes for holes, a stretch of a log in several frames, until it is
// whole. Stretches of different logs may come side by side. The zero value is empty. One
// goroutine at a time; memory is that of the batches, whose asker bounds them.
type Pieces struct {
	logs map[wire.LogID]*pieces
}

// pieces are those of one log.
type pieces struct {
	batches []wire.BatchRef
	end     wire.Position // the next piece continues it
}

// Add takes a copy of a piece of a log that goes on behind from. The last one returns the
// whole stretch, for Fill; others return nil. A piece that does not continue the one
// before it begins a new stretch: the old answer ended without its last piece.
func (p *Pieces) Add(log wire.LogID, from wire.Position, batches []wire.BatchRef, last bool) []wire.BatchRef {
	of := p.logs[log]
	if of == nil || of.end != from {
		of = &pieces{end: from}
		if p.logs == nil {
			p.logs = make(map[wire.LogID]*pieces)
		}
		p.logs[log] = of
	}
	for i := range batches {
		b := wire.BatchRef{Header: batches[i].Header, Bytes: slices.Clone(batches[i].Bytes)}
		of.batches, of.end = append(of.batches, b), b.Header.End()
	}
	if !last {
		return nil
	}
	delete(p.logs, log)
	return of.batches
}
