package apply

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/claudefs/repl/engine/internal/plant"
	"github.com/claudefs/repl/engine/role"
	"github.com/claudefs/repl/engine/store"
	"github.com/claudefs/repl/wire"
)

// Applier decides and applies the batches of all logs of one shard, one after
// another. Not for concurrent use; no goroutine, no clock: engine and simulator
// drive it alike.
type Applier struct {
	shard wire.Shard
	store store.Store
	logs  []log // sorted by id

	highest wire.Epoch // of the shard's cursors
	ends    role.Ends  // of the STARTs of both journals
	past    *PastError // a cursor is past its end: nothing is applied
	own     wire.SiteID
	held    wire.Epoch // that the site holds

	scratch *Scratch
	cursors [1]store.Cursor
	change  store.Change
}

// Scratch is what an Applier decodes into, kept from batch to batch, so that
// applying allocates nothing. Appliers that are never used at the same time may
// share one, which then stays in the processor's caches.
type Scratch struct {
	reader  wire.EntryReader
	effects []wire.Entry
	keys    [][]byte // of all effects
}

// log is one log's applied position, and why it stopped.
type log struct {
	id      wire.LogID
	cursor  wire.Position
	epoch   wire.Epoch // of the cursor's incarnation; 0 = not known
	wait    *WaitError // its lowest START that waits; nil: none was met since the reader was placed
	waits   wire.Epoch // of that START
	refused bool       // something was refused or passed over that may be due later
	again   bool       // it became due, and the reader has yet to begin again
	err     error
}

// New starts behind the cursors that the Store has now.
func New(shard wire.Shard, s store.Store) (*Applier, error) {
	return NewSharing(shard, s, new(Scratch))
}

// NewSharing is New with a Scratch that other Appliers use too.
func NewSharing(shard wire.Shard, s store.Store, scratch *Scratch) (*Applier, error) {
	cursors, err := s.Cursors(shard)
	if err != nil {
		return nil, fmt.Errorf("cursors of shard %d: %w", shard, err)
	}
	a := &Applier{shard: shard, store: s, scratch: scratch}
	for _, c := range cursors {
		if c.Log.Shard != shard {
			return nil, fmt.Errorf("cursors of shard %d name log %s: %w", shard, c.Log, wire.ErrProtocol)
		}
		a.logs = append(a.logs, log{id: c.Log, cursor: c.Position, epoch: c.Epoch})
		a.highest = max(a.highest, c.Epoch)
	}
	slices.SortFunc(a.logs, func(x, y log) int { return x.id.Compare(y.id) })
	for i := 1; i < len(a.logs); i++ {
		if a.logs[i-1].id == a.logs[i].id {
			return nil, fmt.Errorf("cursors of shard %d name log %s twice: %w", shard, a.logs[i].id, wire.ErrProtocol)
		}
	}
	return a, nil
}

// Apply takes the next durable batch of a log of this shard. A batch at or
// below the cursor, or beyond its log's end, is skipped: done is false. One that does not
// continue the cursor by seq and chain, or an entry that must be understood and is not,
// stops the log: every later call for it returns the same error, wrapped in
// store.ErrUnknownOp, wire.ErrProtocol, ErrPast or the Store's own. When ctx ends first,
// nothing was done and the log goes on; so it is with a WaitError or a PastError.
func (a *Applier) Apply(ctx context.Context, b *wire.BatchRef) (done bool, err error) {
	h := &b.Header
	l := a.log(h.Log())
	switch {
	case l.err != nil:
		return false, l.err
	case h.Shard != a.shard:
		return false, fmt.Errorf("log %s given to the applier of shard %d: %w", h.Log(), a.shard, wire.ErrProtocol)
	case a.past != nil:
		l.refused = true
		return false, a.past
	case a.closed(h):
		return false, nil
	}
	next, err := a.follows(l, b)
	switch {
	case err == nil && !next:
		return false, nil
	case err == nil:
		err = a.take(ctx, l, b)
	}
	switch {
	case err == nil:
		return true, nil
	case Waiting(err) != nil || ctx.Err() != nil:
		return false, err
	}
	l.err = fmt.Errorf("log %s stopped at seq %d: %w", l.id, h.FirstSeq, err)
	return false, l.err
}

// follows says whether a batch is the next one of what survives.
func (a *Applier) follows(l *log, b *wire.BatchRef) (bool, error) {
	if h := &b.Header; h.LastSeq() > l.cursor.SeqIn(h.Incarnation) {
		if survives, err := a.judge(l, h); err != nil || !survives {
			return false, err
		}
	}
	return a.continues(l, b)
}

// take decides a batch and commits it.
func (a *Applier) take(ctx context.Context, l *log, b *wire.BatchRef) error {
	if err := a.decide(b); err != nil {
		return err
	}
	return a.commit(ctx, l, &b.Header)
}

// log finds a log of the shard, or begins it.
func (a *Applier) log(id wire.LogID) *log {
	at, found := a.find(id)
	if !found {
		a.logs = slices.Insert(a.logs, at, log{id: id})
	}
	return &a.logs[at]
}

func (a *Applier) find(id wire.LogID) (int, bool) {
	return slices.BinarySearchFunc(a.logs, id, func(l log, id wire.LogID) int { return l.id.Compare(id) })
}

// closed says whether a batch belongs to what did not survive, or is applied long ago: its
// epoch lies below the highest of the shard's cursors, so every end of its log is behind
// us. What is left of it lies beyond the end, also where a reader meets it again.
func (a *Applier) closed(h *wire.BatchHeader) bool { return h.Epoch < a.highest }

// continues says whether b is the next batch behind the cursor (I3, I4); false
// without an error means that it is behind us.
func (a *Applier) continues(l *log, b *wire.BatchRef) (bool, error) {
	h := &b.Header
	if h.Incarnation != l.cursor.Incarnation {
		return true, a.opens(l, b)
	}
	switch l.cursor.Fit(h) {
	case wire.FitHeld:
		return false, nil
	case wire.FitFork:
		return false, fmt.Errorf("chain %s at seq %d, applied was %s: histories differ: %w",
			h.Chain, h.LastSeq(), l.cursor.Chain, wire.ErrProtocol)
	case wire.FitEnds:
		return plant.AppliedAgain, nil
	case wire.FitGap:
		if l.again {
			return false, l.behind()
		}
		fallthrough
	case wire.FitStraddles:
		return false, fmt.Errorf("batch of seqs %d to %d behind applied seq %d: %w",
			h.FirstSeq, h.LastSeq(), l.cursor.Seq, wire.ErrProtocol)
	case wire.FitParts:
		return false, fmt.Errorf("previous chain %s, applied was %s at seq %d: histories differ: %w",
			h.Prev, l.cursor.Chain, l.cursor.Seq, wire.ErrProtocol)
	}
	return true, nil
}

// opens checks the START of an incarnation that the cursor is not in: every log that it
// names is applied up to its row, this one included, or the START waits for that. Whatever
// the log has in that epoch and above waits with it.
func (a *Applier) opens(l *log, b *wire.BatchRef) error {
	h := &b.Header
	opens := h.Kind == wire.BatchStart && h.FirstSeq == 1
	switch {
	case l.wait != nil && (h.Epoch > l.waits || h.Epoch == l.waits && !opens):
		return l.wait
	case l.again && !opens:
		return l.behind()
	case !opens:
		return fmt.Errorf("%s batch of incarnation %s, applied is %s: %w",
			h.Kind, h.Incarnation, l.cursor, wire.ErrProtocol)
	}
	rows, err := wire.DecodeStart(b.Body(), nil)
	if err != nil {
		return err
	}
	err = checkRows(l.id, rows, a.Cursors(nil), h.Epoch > role.First)
	if wait := Waiting(err); wait != nil {
		l.refused, l.wait, l.waits = true, wait, h.Epoch
	}
	return err
}

// behind refuses a batch that lies behind one that was refused, and has become due since: the
// reader begins again, and meets both.
func (l *log) behind() error {
	l.refused = true
	return &WaitError{Log: l.id}
}

// decide gathers what takes effect. One site writes the domain, so nothing is
// concurrent: no entry can lose, and every entry takes effect. START and marker
// batches have no effect of their own; they only move the cursor.
func (a *Applier) decide(b *wire.BatchRef) error {
	s := a.scratch
	s.effects, s.keys = s.effects[:0], s.keys[:0]
	if b.Header.Kind != wire.BatchData {
		return wire.CheckBody(&b.Header, b.Body())
	}
	s.reader.Reset(&b.Header, b.Body())
	// The header's count was checked against the body's bytes.
	all := slices.Grow(s.effects, int(b.Header.Count))[:b.Header.Count]
	for i := range all {
		e := &all[i]
		if !s.reader.Next(e) {
			break
		}
		if e.MustUnderstand != 0 {
			return fmt.Errorf("entry %d: extension %04x must be understood and is not: %w",
				e.Seq, e.MustUnderstand, store.ErrUnknownOp)
		}
		// The reader's next step reuses its list of keys.
		at := len(s.keys)
		s.keys = append(s.keys, e.Keys...)
		e.Keys = s.keys[at:len(s.keys):len(s.keys)]
	}
	s.effects = all
	return s.reader.Err()
}

// commit hands the decided batch to the Store and moves the cursor with it.
func (a *Applier) commit(ctx context.Context, l *log, h *wire.BatchHeader) error {
	a.cursors[0] = store.Cursor{Log: l.id, Position: h.End(), Epoch: h.Epoch}
	a.change = store.Change{Shard: a.shard, Batch: h, Effects: a.scratch.effects, Cursors: a.cursors[:]}
	if plant.CursorFirst || plant.EffectsFirst {
		l.cursor, l.epoch = h.End(), h.Epoch
		return commitTwice(ctx, a.store, a.change)
	}
	if err := a.store.Apply(ctx, &a.change); err != nil {
		return err
	}
	l.cursor, l.epoch = h.End(), h.Epoch
	a.highest = max(a.highest, h.Epoch)
	return nil
}

// commitTwice tears cursor and effects apart: a mistake, see package plant.
func commitTwice(ctx context.Context, s store.Store, whole store.Change) error {
	first, second := whole, whole
	if plant.CursorFirst {
		first.Effects, second.Cursors = nil, nil
	} else {
		first.Cursors, second.Effects = nil, nil
	}
	return errors.Join(s.Apply(ctx, &first), s.Apply(ctx, &second))
}

// Cursor is the applied position of a log.
func (a *Applier) Cursor(id wire.LogID) wire.Position {
	at, found := a.find(id)
	if !found {
		return wire.Position{}
	}
	return a.logs[at].cursor
}

// Cursors appends the applied positions of the shard's logs, sorted by log.
func (a *Applier) Cursors(dst []store.Cursor) []store.Cursor {
	for _, l := range a.logs {
		if l.cursor != (wire.Position{}) {
			dst = append(dst, store.Cursor{Log: l.id, Position: l.cursor, Epoch: l.epoch})
		}
	}
	return dst
}

// Stop stops a log for a reason that the caller found, such as batches that are
// no longer kept.
func (a *Applier) Stop(id wire.LogID, err error) {
	if l := a.log(id); l.err == nil {
		l.err = fmt.Errorf("log %s stopped behind seq %d: %w", id, l.cursor.Seq, err)
	}
}

// Err says why a log stopped; nil while it runs.
func (a *Applier) Err(id wire.LogID) error {
	at, found := a.find(id)
	if !found {
		return nil
	}
	return a.logs[at].err
}
