package writer

import (
	"github.com/claudefs/repl/engine/internal/plant"
	"github.com/claudefs/repl/engine/store/journal"
	"github.com/claudefs/repl/wire"
)

// Where a log goes on is decided here, for everybody who runs a writer. The heart tells,
// with each admission, where a log ends durably; what was given out may lie beyond that:
//
//	told the first time                           the writer goes on behind it
//	before, or at, what was given out             it does not: that is on its way to the medium
//	after it: given back, or the Store was ahead  it does
//	of another incarnation                        it does, unless entries of its own are pending

//	in an epoch before that of what was given out it does not: see Open

// GoOn takes where the log of a shard ends durably, in an incarnation of that epoch, and says
// whether appends go on behind that: else behind what was given out already. Epoch 0 is that
// of what was given out.
func (w *Writer) GoOn(shard wire.Shard, t journal.Tail, epoch wire.Epoch) bool {
	l := &w.logs[shard]
	l.mu.Lock()
	at := wire.Position{Incarnation: l.incarnation, Seq: l.seq}
	order, told := t.Position.Order(at), l.told
	pending := l.open != nil || l.first != nil || l.reserved
	l.told = true
	if epoch == 0 {
		epoch = l.epoch
	}
	opened := l.opened && epoch < l.epoch
	l.mu.Unlock()
	if plant.TailUntold || opened {
		return false
	}
	if told && (order == wire.OrderBefore || order == wire.OrderLevel || order == wire.OrderUnknown && pending) {
		return false
	}
	w.SetTail(shard, t)
	l.mu.Lock()
	l.epoch = epoch
	l.mu.Unlock()
	return true
}
