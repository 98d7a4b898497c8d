package writer

import (
	"time"

	"github.com/claudefs/repl/engine/internal/plant"
	"github.com/claudefs/repl/engine/store/journal"
	"github.com/claudefs/repl/wire"
)

// boundAhead is how far the durable clock bound lies ahead of the stamps. After a crash
// stamps go on behind the bound, so it is also how far a restart may run ahead of the
// clock. Every half of it another bound is written.
const boundAhead = time.Second

// Fill is Flush with a clock bound: whatever stamps it stages, a control record that
// allows them lies in the journal's open unit too, or is durable (I8). For the own
// journal, and the goroutine that begins its units, between two of them. Errors are
// Flush's, and the journal's own, after which nothing of it is acknowledged.
func (w *Writer) Fill(j *journal.Journal, wall time.Time) (int, error) {
	if w.PendingBytes() > 0 {
		if err := w.raiseBound(j, wall); err != nil {
			return 0, err
		}
	}
	staged, err := w.Flush(j, wall)
	if err == nil && staged > 0 && w.StampMax() > w.bound { // appended before the clock stepped back, or since
		err = w.raiseBound(j, wall)
	}
	return staged, err
}

// raiseBound stages a bound above the stamps and the clock, if the last one is not.
func (w *Writer) raiseBound(j *journal.Journal, wall time.Time) error {
	reach := max(w.StampMax(), wire.StampOf(wall)) + stampsOf(boundAhead)/2
	if reach <= w.bound || plant.BoundOnce && w.bound != 0 {
		return nil
	}
	bound := reach + stampsOf(boundAhead)/2
	if _, err := j.StageControl([]journal.ControlRecord{{ClockBound: bound}}, wire.StampOf(wall)); err != nil {
		return err
	}
	w.bound = bound
	return nil
}

// stampsOf is how many stamps a duration has.
func stampsOf(d time.Duration) wire.Stamp { return wire.Stamp(d.Microseconds()) << 12 }
