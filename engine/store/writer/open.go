package writer

import (
	"errors"
	"fmt"
	"slices"

	"github.com/claudefs/repl/wire"
)

// Opening is a new incarnation of the log of a shard.
type Opening struct {
	Shard wire.Shard
	Epoch wire.Epoch // above that of what was given out
	// Ends are the rows of its START: where older logs of the shard end, sorted as wire.AppendStart
	// wants them.
	Ends []wire.LogEnd
	// GoesOn: this log did not end before. Its row is where the last entry given out lies,
	// durable or not, whatever Ends says of it: the journal has that before the START.
	GoesOn bool
	After  wire.Stamp // the START's stamp lies above it: above every one that it names
}

// ErrBegun: an append has begun the log's incarnation of that epoch.
var ErrBegun = errors.New("the log has an incarnation of this epoch")

// startBytesFor is the size of a START batch with so many rows.
func startBytesFor(ends int) int { return wire.BatchHeaderBytes + wire.StartBodyBytes(ends) }

// Open begins a new incarnation of a shard's log with a START. That is on its way to the medium
// with the next Flush, whether an append follows or not. It counts as pending also where that
// makes more than BytesMax: by one START for each shard at most. While somebody holds the log's
// tail it waits for the end of that reservation. An error is that of a failed Flush, or says why
// no START can be so; nothing was done then.
func (w *Writer) Open(o *Opening) error {
	if failure := w.failure.Load(); failure != nil {
		return *failure
	}
	l := &w.logs[o.Shard]
	l.mu.Lock()
	defer l.mu.Unlock()
	ends := slices.Clone(o.Ends)
	if _, err := wire.AppendStart(nil, ends); err != nil {
		return err
	}
	switch {
	case l.incarnation != (wire.Incarnation{}) && o.Epoch == l.epoch:
		return fmt.Errorf("shard %d: epoch %s: %w: %w", o.Shard, o.Epoch, ErrBegun, wire.ErrProtocol)
	case l.reserved:
		l.opening = &Opening{o.Shard, o.Epoch, ends, o.GoesOn, o.After}
		return nil
	case l.incarnation != (wire.Incarnation{}) && o.Epoch <= l.epoch:
		return fmt.Errorf("shard %d: START of epoch %d behind entries of epoch %d: %w",
			o.Shard, o.Epoch, l.epoch, wire.ErrProtocol)
	}
	w.open(l, &Opening{o.Shard, o.Epoch, ends, o.GoesOn, o.After})
	return nil
}

// openHeld opens what waited for the end of a reservation. l.mu is held.
func (w *Writer) openHeld(l *shardLog) {
	if o := l.opening; o != nil && w.failure.Load() == nil {
		l.opening = nil
		w.open(l, o)
	}
}

// open is Open, once nobody holds the log's tail. l.mu is held.
func (w *Writer) open(l *shardLog, o *Opening) {
	l.seal()
	ends := o.Ends
	if o.GoesOn && l.seq != 0 {
		ends = l.ends(wire.LogID{Site: w.o.Site, Shard: o.Shard}, ends)
	}
	w.pending.Add(int64(startBytesFor(len(ends))))
	l.epoch, l.opened = o.Epoch, true
	l.stamp = max(l.stamp, o.After)
	w.start(l, o.Shard, l.next(w.o.Now()), ends)
	w.mark(l, o.Shard)
}

// ends has the log's own row say where its last closed batch ends.
func (l *shardLog) ends(log wire.LogID, ends []wire.LogEnd) []wire.LogEnd {
	ends = slices.DeleteFunc(ends, func(e wire.LogEnd) bool { return e.Log == log })
	at := wire.Position{Incarnation: l.incarnation, Seq: l.seq, Chain: l.chain}
	i, _ := slices.BinarySearchFunc(ends, log, func(e wire.LogEnd, log wire.LogID) int { return e.Log.Compare(log) })
	return slices.Insert(ends, i, wire.LogEnd{Log: log, End: at})
}
