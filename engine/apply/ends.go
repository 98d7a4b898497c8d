package apply

import (
	"fmt"
	"slices"

	"github.com/claudefs/repl/engine/internal/plant"
	"github.com/claudefs/repl/engine/role"
	"github.com/claudefs/repl/wire"
)

// Where closed logs end, and what follows from it for the Store, is decided here, for everybody
// who runs an Applier (docs/ends.md):
//
//	batch ─▶ its log's end is known, and it lies beyond ─────────▶ passed over: it did not survive
//	     └─▶ own, below the epoch held, and no end is known ─────▶ refused: held (WaitError)
//	START ─▶ a row's log is not at its row yet ──────────────────▶ refused: it waits (WaitError)
//	Store ─▶ a cursor lies beyond its log's end ─────────────────▶ refused: the whole shard (PastError)
//
// What is refused or passed over now may be due later: Learn and Raise return the logs whose
// readers begin again, and From says where.

// PastError says that the Store of a shard shows entries that did not survive a failover.
// Nothing of the shard is applied until they are undone, or until a START says that they
// survived after all. It wraps ErrPast.
type PastError struct {
	At  wire.Cursor   // where the Store stands
	End wire.Position // where that log ends
}

func (e *PastError) Error() string {
	end := fmt.Sprintf("ends at seq %d", e.End.Seq)
	if e.End.Seq == 0 {
		end = "did not survive"
	}
	return fmt.Sprintf("shard %d: log %s is applied up to seq %d of incarnation %s, which %s: %v: "+
		"repair the shard's state from a site that stands at its ends", e.At.Log.Shard, e.At.Log,
		e.At.Position.Seq, e.At.Position.Incarnation, end, ErrPast)
}

func (e *PastError) Unwrap() error { return ErrPast }

// Learn notes a START that a journal has durably, of either journal, before any later batch is
// given. It returns the logs, sorted, whose readers begin again: what was refused or passed
// over may be due now. A second incarnation of one epoch stops its log (I5). STARTs of
// [role.First] bind nothing and need not be told.
func (a *Applier) Learn(s role.Start) (on []wire.LogID) {
	if s.Log.Shard != a.shard || s.Epoch <= role.First {
		return nil
	}
	if err := a.ends.Add(s); err != nil {
		a.Stop(s.Log, err)
		return nil
	}
	return a.settle()
}

// Raise notes the epoch that a site holds. What the site wrote in lower epochs is applied only up
// to ends that are known, unless it writes in this epoch itself: then its tails are the
// ends. It returns what Learn does.
func (a *Applier) Raise(own wire.SiteID, held wire.Epoch) (on []wire.LogID) {
	if own == a.own && held <= a.held {
		return nil
	}
	a.own, a.held = own, held
	return a.settle()
}

// Inherit takes over what another Applier of the shard was told, the STARTs and the epoch held: a
// Store whose state was replaced gets an Applier of its own. from is used no more.
func (a *Applier) Inherit(from *Applier) {
	a.ends, a.own, a.held = from.ends, from.own, from.held
	a.settle()
}

// settle compares the cursors with the ends, and returns what to read again.
func (a *Applier) settle() (on []wire.LogID) {
	a.past = nil
	for i := range a.logs {
		if l := &a.logs[i]; a.ends.Past(l.cursor, l.epoch) && !plant.PastIgnored {
			end, _ := a.ends.End(l.cursor.Incarnation, l.epoch)
			a.past = &PastError{At: wire.Cursor{Log: l.id, Position: l.cursor, Epoch: l.epoch}, End: end}
			return nil
		}
	}
	for i := range a.logs {
		if l := &a.logs[i]; l.refused {
			l.refused, l.again = false, true
			on = append(on, l.id)
		}
	}
	return on
}

// Past says that the Store is past an end, so that nothing of the shard is applied; nil: it
// is not.
func (a *Applier) Past() *PastError { return a.past }

// judge says what the ends and the epoch held make of a batch that is not behind the cursor.
func (a *Applier) judge(l *log, h *wire.BatchHeader) (survives bool, err error) {
	end, bound := a.ends.End(h.Incarnation, h.Epoch)
	if !bound || plant.RowsIgnored {
		if h.Site == a.own && h.Epoch < a.held && role.WriterOf(a.held) != a.own && !plant.OwnNotHeld {
			l.refused = true
			return false, &WaitError{Log: l.id}
		}
		return true, nil
	}
	fit := end.Fit(h)
	switch {
	case end.Seq != 0 && fit.Holds():
		return true, nil
	case fit == wire.FitFork || fit == wire.FitStraddles:
		return false, fmt.Errorf("batch of seqs %d to %d with chain %s, the log ends at %s: histories differ: %w",
			h.FirstSeq, h.LastSeq(), h.Chain, end, wire.ErrProtocol)
	}
	l.refused = true
	return false, nil
}

// From says where the reading of a log begins so that everything is met that may be applied: in
// most cases behind its cursor. A log that stands at its end, or has no cursor, needs only
// what a later START opens: then at is where the journal had it when that one came, with the
// epoch of that START. rest: it needs nothing of what its journal has now. So orphans that
// were given back are not missed.
func (a *Applier) From(id wire.LogID) (at wire.Cursor, rest bool) {
	l := a.log(id)
	l.again, l.wait = false, nil
	at = wire.Cursor{Log: id, Position: l.cursor, Epoch: l.epoch}
	if end, bound := a.ends.End(l.cursor.Incarnation, l.epoch); l.cursor.Seq != 0 && (!bound || end != l.cursor) {
		return at, false
	}
	old := func(r wire.LogEnd) bool { return r.Log == id && a.ends.Epoch(r.End.Incarnation) == 0 }
	for i := range a.ends.Starts() {
		s := &a.ends.Starts()[i]
		switch {
		case !a.ends.Survives(s.Epoch):
			continue
		case l.cursor.Seq == 0 && slices.ContainsFunc(s.Rows, old):
			return at, false // its START is of the first epoch, or was not kept
		case s.Log == id && s.Epoch > l.epoch:
			at.Epoch, l.refused = s.Epoch, true
			if s.Before.Seq != 0 {
				at.Position = s.Before
			}
			return at, false
		}
		rest = true
	}
	l.refused = l.refused || rest
	return at, rest
}
