package apply

import (
	"errors"
	"fmt"
	"slices"

	"github.com/claudefs/repl/wire"
)

// ErrPast is wrapped by errors of a log whose shard stands beyond an end: the Store shows
// entries that did not survive, and has to be repaired before the log goes on.
var ErrPast = errors.New("the Store is past the end of a log")

// WaitError says that a batch waits: until another log of its shard is applied up to a
// position, or, with a zero For, until a START says where its own log ends. Nothing was done,
// and nothing stopped: the batch is to be given again then.
type WaitError struct {
	Log wire.LogID // of the batch
	For wire.Cursor
	At  wire.Position // where the other log was
}

func (e *WaitError) Error() string {
	if e.For.Log == (wire.LogID{}) {
		return fmt.Sprintf("log %s waits for a START of a higher epoch, which says where it ends", e.Log)
	}
	return fmt.Sprintf("log %s waits for log %s at seq %d of incarnation %s",
		e.Log, e.For.Log, e.For.Position.Seq, e.For.Position.Incarnation)
}

// Waiting is the WaitError in an error; nil if there is none.
func Waiting(err error) *WaitError {
	var wait *WaitError
	if err != nil && errors.As(err, &wait) {
		return wait
	}
	return nil
}

// Refused is the WaitError or the PastError in an error: nothing stopped, and the batch is to
// be given again. nil, nil: neither.
func Refused(err error) (*WaitError, *PastError) {
	var past *PastError
	if err != nil && errors.As(err, &past) {
		return nil, past
	}
	return Waiting(err), nil
}

// Waits are the logs whose next batch waits. What it waits for may be read from another
// journal, by another reader, so who reads is not who waits:
//
//	Apply: WaitError ─▶ Feed.Wait, Waits.Moved ─▶ … ─▶ Waits.Moved ─▶ the log's reader begins again
//	                                                   Learn, Raise ─▶ (Begin)
//
// What waits is not kept: its reader meets it again. The zero value has none. Not for
// concurrent use; memory is two cursors for each log that waits.
type Waits struct {
	logs []WaitError // sorted by Log
}

// Moved takes what a round of a reader applied and which of its logs have to wait, and
// returns the logs whose readers begin again, sorted: what they waited for is there, maybe
// since before they told, or the other log is in a third incarnation now, so that they have
// to ask again. at is where a log is applied, this round included.
func (w *Waits) Moved(cursors []wire.Cursor, wait []*WaitError, at func(wire.LogID) wire.Position) (on []wire.LogID) {
	for _, e := range wait {
		i, found := slices.BinarySearchFunc(w.logs, e.Log, byWaiting)
		switch {
		case !found:
			w.logs = slices.Insert(w.logs, i, *e)
		case e.For.Log != wire.LogID{}:
			w.logs[i] = *e
		}
	}
	if len(w.logs) == 0 || len(cursors)+len(wait) == 0 {
		return nil
	}
	w.logs = slices.DeleteFunc(w.logs, func(e WaitError) bool {
		if e.For.Log == (wire.LogID{}) {
			return false
		}
		now := at(e.For.Log)
		there := now.Covers(e.For.Position) || !now.Same(e.For.Position) && now.Incarnation != e.At.Incarnation
		if there {
			on = append(on, e.Log)
		}
		return there
	})
	return on
}

// Begin notes that the reader of some logs begins again: what waits it meets again.
func (w *Waits) Begin(mine func(wire.LogID) bool) {
	w.logs = slices.DeleteFunc(w.logs, func(e WaitError) bool { return mine(e.Log) })
}

func byWaiting(e WaitError, log wire.LogID) int { return e.Log.Compare(log) }

// All lists what waits, sorted by log; shared.
func (w *Waits) All() []WaitError { return w.logs }

// checkRows compares the rows of a START with the cursors of its shard: nil = every log that
// the rows name is at one of its rows, and nothing that no row names was applied. bound:
// the rows are all that survives; in the first epoch they bind the START's own log only.
func checkRows(id wire.LogID, rows []wire.LogEnd, cursors []wire.Cursor, bound bool) error {
	for i := 0; i < len(rows); {
		next := i + 1
		for next < len(rows) && rows[next].Log == rows[i].Log {
			next++
		}
		if err := checkRow(id, rows[i:next], cursorIn(cursors, rows[i].Log)); err != nil {
			return err
		}
		i = next
	}
	for i := range cursors {
		c := &cursors[i]
		named := slices.ContainsFunc(rows, func(r wire.LogEnd) bool { return r.Log == c.Log })
		if !named && c.Position.Seq != 0 && (bound || c.Log == id) {
			return fmt.Errorf("it does not name the applied end %s of log %s: %w", c.Position, c.Log, ErrPast)
		}
	}
	return nil
}

// checkRow is checkRows for the rows of one log, applied up to a position. An incarnation that no
// row names counts as an older one: the log is waited for.
func checkRow(id wire.LogID, rows []wire.LogEnd, at wire.Position) error {
	for i := range rows {
		if rows[i].End == at {
			return nil
		}
	}
	for i := range rows {
		switch end := rows[i].End; at.Order(end) {
		case wire.OrderLevel:
			return fmt.Errorf("log %s ends at %s, applied is %s: histories differ: %w",
				rows[i].Log, end, at, wire.ErrProtocol)
		case wire.OrderAfter:
			return fmt.Errorf("log %s ends at %s, applied is %s: %w", rows[i].Log, end, at, ErrPast)
		}
	}
	newest := &rows[len(rows)-1]
	return &WaitError{Log: id, For: wire.Cursor{Log: newest.Log, Position: newest.End}, At: at}
}

// cursorIn is a log's position among cursors; zero if it is not there.
func cursorIn(cursors []wire.Cursor, log wire.LogID) wire.Position {
	for i := range cursors {
		if cursors[i].Log == log {
			return cursors[i].Position
		}
	}
	return wire.Position{}
}
