package journal

import (
	"fmt"

	"github.com/claudefs/repl/wire"
)

// continues says whether a batch follows a tail: it carries its log's seq and
// chain on, or opens a new incarnation.
func (t *Tail) continues(h *wire.BatchHeader) error {
	p, log := &t.Position, h.Log()
	switch {
	case h.Incarnation != p.Incarnation:
		if h.Kind == wire.BatchStart || h.Kind == wire.BatchControl && p.Seq == 0 {
			if h.FirstSeq == 1 {
				return nil
			}
		}
		return fmt.Errorf("log %s: seq %d of incarnation %s after %s: %w",
			log, h.FirstSeq, h.Incarnation, p, ErrOrder)
	case h.FirstSeq != p.Seq+1:
		return fmt.Errorf("log %s: seq %d after %s: %w", log, h.FirstSeq, p, ErrOrder)
	case h.Prev != p.Chain:
		return fmt.Errorf("log %s: seq %d follows chain %s, the tail is %s: %w", log, h.FirstSeq, h.Prev, p, ErrOrder)
	case h.FirstStamp <= t.LastStamp:
		return fmt.Errorf("log %s: seq %d: stamp %d after %d: %w", log, h.FirstSeq, h.FirstStamp, t.LastStamp, ErrOrder)
	}
	return nil
}

// after returns the tail behind a batch. A host's index never falls, and a new
// incarnation inherits it.
func (t Tail) after(h *wire.BatchHeader) Tail {
	return Tail{Position: h.End(), LastStamp: h.LastStamp, LastIndex: max(t.LastIndex, h.LastIndex)}
}

// logState is what the journal knows of one log.
type logState struct {
	durable Tail // zero position: nothing durable yet
	staged  Tail // where the next batch must continue
	suspect bool
	adopted wire.Position // see Adopt; zero: never in this life
	hiding  int           // how many hiding damages lay before the last proof of durable
}
