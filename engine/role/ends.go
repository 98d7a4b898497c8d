package role

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/claudefs/repl/wire"
)

// ErrTwoWriters: two incarnations claim one epoch of a shard (I5). An epoch names its writer, so
// this is a copy of a site that wrote beside it, or damage.
var ErrTwoWriters = errors.New("two incarnations of one epoch")

// Start is what is kept of a START batch, longer than the batch itself: which incarnation it
// opens, and where older logs of the shard end.
type Start struct {
	Log         wire.LogID
	Incarnation wire.Incarnation
	Epoch       wire.Epoch
	Rows        []wire.LogEnd // as the batch has them; owned by Ends once added
}

// names says whether a row of s is about an incarnation, and where it ends.
func (s *Start) names(i wire.Incarnation) (end wire.Position, ok bool) {
	for r := range s.Rows {
		if s.Rows[r].End.Incarnation == i {
			return s.Rows[r].End, true
		}
	}
	return wire.Position{}, false
}

// Ends is what a site knows about where the logs of one shard end. The rule, which the bounded model
// in engine/sim/ends explores (docs/ends.md):
//
//   - The highest START survives. A lower one survives if the lowest surviving one above it names
//     its incarnation.
//   - A log ends at its row in the lowest surviving START above it; at zero if that has no row of it.
//   - Where none above it is known, nothing is bound yet: it ends where the site's own tail is.
//
// Sites that know the same STARTs compute the same ends. Its memory is what was added. Not for
// concurrent use.
type Ends struct {
	starts    []Start   // rising by epoch
	verdicts  []verdict // by index of starts
	discarded []wire.Epoch
}

// verdict is what becomes of a START: at most one of them.
type verdict struct{ survives, gone bool }

// Add notes a START. One that is known already changes nothing. Another incarnation of its epoch is
// ErrTwoWriters, and not noted.
func (e *Ends) Add(s Start) error {
	at, found := e.find(s.Epoch)
	if found {
		if known := e.starts[at].Incarnation; known != s.Incarnation {
			return fmt.Errorf("shard %d, epoch %d: incarnations %s and %s: %w",
				s.Log.Shard, s.Epoch, known, s.Incarnation, ErrTwoWriters)
		}
		return nil
	}
	e.starts = slices.Insert(e.starts, at, s)
	e.settle()
	return nil
}

// Discard gives an epoch up by the operator's word: its log ends at zero, and so does each whose
// START names a discarded one.
func (e *Ends) Discard(epoch wire.Epoch) {
	if !slices.Contains(e.discarded, epoch) {
		e.discarded = append(e.discarded, epoch)
		e.settle()
	}
}

// settle decides what was given up, from the lowest START up, and what survives, from the
// highest down.
func (e *Ends) settle() {
	e.verdicts = slices.Grow(e.verdicts[:0], len(e.starts))[:len(e.starts)]
	for i := range e.starts {
		v := verdict{gone: slices.Contains(e.discarded, e.starts[i].Epoch)}
		for j := range i { // a START names older incarnations only
			_, names := e.starts[i].names(e.starts[j].Incarnation)
			v.gone = v.gone || names && e.verdicts[j].gone
		}
		e.verdicts[i] = v
	}
	above := -1
	for i := len(e.starts) - 1; i >= 0; i-- {
		named := above < 0
		if !named {
			_, named = e.starts[above].names(e.starts[i].Incarnation)
		}
		if v := &e.verdicts[i]; named && !v.gone {
			v.survives, above = true, i
		}
	}
}

// End is where the log of an incarnation and epoch ends; bound is false while no surviving START
// above it is known. A discarded epoch ends at zero.
func (e *Ends) End(i wire.Incarnation, epoch wire.Epoch) (end wire.Position, bound bool) {
	if at, known := e.find(epoch); known && e.verdicts[at].gone || slices.Contains(e.discarded, epoch) {
		return wire.Position{}, true
	}
	for at := range e.starts {
		if e.starts[at].Epoch > epoch && e.verdicts[at].survives {
			end, _ = e.starts[at].names(i)
			return end, true
		}
	}
	return wire.Position{}, false
}

// Survives says whether the START of an epoch is known and survives.
func (e *Ends) Survives(epoch wire.Epoch) bool {
	at, known := e.find(epoch)
	return known && e.verdicts[at].survives
}

// find is the index of the START of an epoch, or of the next higher one.
func (e *Ends) find(epoch wire.Epoch) (at int, known bool) {
	return slices.BinarySearchFunc(e.starts, epoch,
		func(s Start, epoch wire.Epoch) int { return cmp.Compare(s.Epoch, epoch) })
}

// Epoch is that of an incarnation whose START is known; 0 = it is not.
func (e *Ends) Epoch(i wire.Incarnation) wire.Epoch {
	for at := range e.starts {
		if e.starts[at].Incarnation == i {
			return e.starts[at].Epoch
		}
	}
	return 0
}

// Past says whether a Store that stands at a position of a log is past its end: it holds entries
// that did not survive (I6).
func (e *Ends) Past(at wire.Position, epoch wire.Epoch) bool {
	end, bound := e.End(at.Incarnation, epoch)
	return bound && at.Seq != 0 && (end.Seq == 0 || !end.Covers(at))
}

// Uncovered lists the rows of a START that the journals do not reach. It is taken only when there is
// none: else a site would confirm entries whose past it is missing. tail is where the
// journals end in an incarnation, zero if they have nothing of it.
func (s *Start) Uncovered(tail func(wire.LogID, wire.Incarnation) wire.Position) (rows []wire.LogEnd) {
	for _, row := range s.Rows {
		if !tail(row.Log, row.End.Incarnation).Covers(row.End) {
			rows = append(rows, row)
		}
	}
	return rows
}

// Check says which inequality does not hold.
func (e *Ends) Check() error {
	if len(e.verdicts) != len(e.starts) {
		return fmt.Errorf("%d STARTs, %d verdicts", len(e.starts), len(e.verdicts))
	}
	for i := 1; i < len(e.starts); i++ {
		if e.starts[i-1].Epoch >= e.starts[i].Epoch {
			return fmt.Errorf("epochs %d and %d are not sorted", e.starts[i-1].Epoch, e.starts[i].Epoch)
		}
	}
	for i, v := range e.verdicts {
		if v.survives && v.gone {
			return fmt.Errorf("epoch %d was discarded and survives", e.starts[i].Epoch)
		}
	}
	return nil
}
