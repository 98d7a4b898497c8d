package engine

import (
	"slices"

	"github.com/claudefs/repl/engine/store/journal"
	"github.com/claudefs/repl/wire"
)

// measure estimates, before the first session, how many bytes of the own journal lie
// behind a peer's saved cursors: the entries that it has not confirmed, at the mean size
// of those since the segment in which they begin. One walk over the tables. What
// batches that are gone took is not known.
func (e *Engine) measure(r *wire.RegisteredPeer) (bytes int64, known bool) {
	have := func(log wire.LogID) wire.Position {
		i, found := slices.BinarySearchFunc(r.Cursors, log,
			func(c wire.Cursor, log wire.LogID) int { return c.Log.Compare(log) })
		if !found {
			return wire.Position{}
		}
		return r.Cursors[i].Position
	}
	j := e.own.j
	entries, missing := int64(0), int64(0)
	starts := map[wire.LogID]wire.Seq{}
	unit, err := j.SegmentStart(have, func(log wire.LogID, t journal.Tail) { starts[log] = t.Position.Seq })
	if err != nil {
		return 0, false
	}
	for _, log := range j.Logs() {
		tail, _ := j.Tail(log)
		entries += int64(tail.Position.Seq - min(tail.Position.Seq, starts[log]))
		missing += int64(tail.Position.Seq - min(tail.Position.Seq, have(log).Seq))
	}
	if entries == 0 {
		return 0, missing == 0
	}
	reader := j.NewReader(unit)
	defer reader.Close()
	return int64(float64(reader.Backlog()) * float64(missing) / float64(entries)), true
}
