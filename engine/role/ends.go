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

// Start is what is kept of a START batch.
type Start = wire.Start

// Ends is what a site knows about where the logs of one shard end. The rule, which the bounded model
// in engine/sim/ends explores (docs/ends.md):
//
//   - The highest START survives. A lower one survives if the lowest surviving one above it names
//     its incarnation.
//   - A log ends at its row in the lowest surviving START above it; at zero if that has no row of it.
//   - Where none above it is known, nothing is bound yet: it ends where the site's own tail is.
//
// Sites that know the same STARTs compute the same ends. Its memory is what was added. The nil
// Ends knows none. Not for concurrent use.
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
			return fmt.Errorf("shard %d, epoch %s: incarnations %s and %s: %w",
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
			_, names := e.starts[i].Names(e.starts[j].Incarnation)
			v.gone = v.gone || names && e.verdicts[j].gone
		}
		e.verdicts[i] = v
	}
	above := -1
	for i := len(e.starts) - 1; i >= 0; i-- {
		named := above < 0
		if !named {
			_, named = e.starts[above].Names(e.starts[i].Incarnation)
		}
		if v := &e.verdicts[i]; named && !v.gone {
			v.survives, above = true, i
		}
	}
}

// End is where the log of an incarnation and epoch ends; bound is false while no surviving START
// above it is known. A discarded epoch ends at zero.
func (e *Ends) End(i wire.Incarnation, epoch wire.Epoch) (end wire.Position, bound bool) {
	if e == nil {
		return wire.Position{}, false
	}
	if at, known := e.find(epoch); known && e.verdicts[at].gone || slices.Contains(e.discarded, epoch) {
		return wire.Position{}, true
	}
	for at := range e.starts {
		if e.starts[at].Epoch > epoch && e.verdicts[at].survives {
			end, _ = e.starts[at].Names(i)
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

// Starts are those that are known, rising by epoch; shared.
func (e *Ends) Starts() []Start {
	if e == nil {
		return nil
	}
	return e.starts
}

// Start is the one of an epoch; nil = it is not known. Shared.
func (e *Ends) Start(epoch wire.Epoch) *Start {
	at, known := e.find(epoch)
	if !known {
		return nil
	}
	return &e.starts[at]
}

// find is the index of the START of an epoch, or of the next higher one.
func (e *Ends) find(epoch wire.Epoch) (at int, known bool) {
	if e == nil {
		return 0, false
	}
	return slices.BinarySearchFunc(e.starts, epoch,
		func(s Start, epoch wire.Epoch) int { return cmp.Compare(s.Epoch, epoch) })
}

// Epoch is that of an incarnation whose START is known; 0 = it is not.
func (e *Ends) Epoch(i wire.Incarnation) wire.Epoch {
	for _, s := range e.Starts() {
		if s.Incarnation == i {
			return s.Epoch
		}
	}
	return 0
}

// Rows are those of a START above all that are known, opened by a site whose journals hold the
// logs of the shard up to held, in any order, each incarnation of a log by itself: one row for
// each log that has history, its newest incarnation that ends above zero, at its known end, else
// where it is held. What is kept no more is named as well. Sorted as a START has them.
func (e *Ends) Rows(held []wire.Cursor) []wire.LogEnd {
	for _, s := range e.Starts() {
		for _, row := range s.Rows {
			held = append(held[:len(held):len(held)],
				wire.Cursor{Log: row.Log, Position: row.End, Epoch: max(e.Epoch(row.End.Incarnation), First)})
		}
	}
	newest := make(map[wire.LogID]wire.Cursor)
	for _, c := range held {
		at := c.Position
		if end, bound := e.End(at.Incarnation, c.Epoch); bound {
			at = end
		}
		was := newest[c.Log]
		if at.Seq == 0 || was.Epoch > c.Epoch || was.Epoch == c.Epoch && was.Position.Covers(at) {
			continue
		}
		newest[c.Log] = wire.Cursor{Log: c.Log, Position: at, Epoch: c.Epoch}
	}
	rows := make([]wire.LogEnd, 0, len(newest))
	for log, c := range newest {
		rows = append(rows, wire.LogEnd{Log: log, End: c.Position})
	}
	slices.SortFunc(rows, func(x, y wire.LogEnd) int { return x.Log.Compare(y.Log) })
	return rows
}

// Past says whether a Store that stands at a position of a log is past its end: it holds entries
// that did not survive (I6).
func (e *Ends) Past(at wire.Position, epoch wire.Epoch) bool {
	end, bound := e.End(at.Incarnation, epoch)
	return bound && at.Seq != 0 && (end.Seq == 0 || !end.Covers(at))
}

// Check says which inequality does not hold.
func (e *Ends) Check() error {
	if len(e.verdicts) != len(e.starts) {
		return fmt.Errorf("%d STARTs, %d verdicts", len(e.starts), len(e.verdicts))
	}
	for i := 1; i < len(e.starts); i++ {
		if e.starts[i-1].Epoch >= e.starts[i].Epoch {
			return fmt.Errorf("epochs %s and %s are not sorted", e.starts[i-1].Epoch, e.starts[i].Epoch)
		}
	}
	for i, v := range e.verdicts {
		if v.survives && v.gone {
			return fmt.Errorf("epoch %s was discarded and survives", e.starts[i].Epoch)
		}
	}
	return nil
}

// Due is up to where the entries of a log survive, of those up to a position: up to their end at
// most. Where nothing of an incarnation survived, that is where the one before ends.
func (e *Ends) Due(at wire.Position) wire.Position {
	for range len(e.Starts()) + 1 { // each step goes to an older one
		end, bound := e.End(at.Incarnation, max(e.Epoch(at.Incarnation), First))
		switch {
		case !bound || end.Covers(at):
			return at
		case end.Seq != 0:
			return end
		}
		i := slices.IndexFunc(e.Starts(), func(s Start) bool { return s.Incarnation == at.Incarnation })
		if i < 0 {
			return end
		}
		at = e.Starts()[i].Before
	}
	return at
}
