package role

import (
	"slices"

	"github.com/claudefs/repl/wire"
)

// Known is what a site knows about incarnations, of all shards: the STARTs above the first epoch
// that its journals hold or held, and where they end in incarnations that a later one of the same
// log followed. The zero value knows nothing. Its memory is what was added: nothing for shards
// without such a START. Not for concurrent use.
type Known struct {
	shards map[wire.Shard]*known
}

type known struct {
	ends Ends
	// left are where the journals ended in an incarnation when the next one of its log came.
	left []wire.Cursor
}

// Of is where the logs of a shard end; nil = no START above the first epoch is known.
func (k *Known) Of(s wire.Shard) *Ends {
	if of := k.shards[s]; of != nil {
		return &of.ends
	}
	return nil
}

// Add notes a START that a journal holds durably, with Before. fresh: it was not known. See
// Ends.Add for the error.
func (k *Known) Add(s Start) (fresh bool, err error) {
	if k.shards == nil {
		k.shards = make(map[wire.Shard]*known)
	}
	of := k.shards[s.Log.Shard]
	if of == nil {
		of = new(known)
		k.shards[s.Log.Shard] = of
	}
	fresh = of.ends.Start(s.Epoch) == nil
	if err := of.ends.Add(s); err != nil {
		return false, err
	}
	if before := s.Before; before.Seq != 0 && before.Incarnation != s.Incarnation && of.at(before.Incarnation) == nil {
		of.left = append(of.left, wire.Cursor{Log: s.Log, Position: before, Epoch: of.epoch(before.Incarnation)})
	}
	return fresh, nil
}

// epoch is that of an incarnation that the journals hold: its START is kept, or it is of the first.
func (k *known) epoch(i wire.Incarnation) wire.Epoch { return max(k.ends.Epoch(i), First) }

func (k *known) at(i wire.Incarnation) *wire.Cursor {
	at := slices.IndexFunc(k.left, func(c wire.Cursor) bool { return c.Position.Incarnation == i })
	if at < 0 {
		return nil
	}
	return &k.left[at]
}

// Left is where the journals ended in an incarnation of a shard when the next one of its log came;
// zero if none came.
func (k *Known) Left(s wire.Shard, i wire.Incarnation) wire.Position {
	if of := k.shards[s]; of != nil {
		if c := of.at(i); c != nil {
			return c.Position
		}
	}
	return wire.Position{}
}

// AllLeft is Left for every incarnation of a shard; shared.
func (k *Known) AllLeft(s wire.Shard) []wire.Cursor {
	if of := k.shards[s]; of != nil {
		return of.left
	}
	return nil
}

// EpochOf is the epoch of an incarnation that the journals hold.
func (k *Known) EpochOf(s wire.Shard, i wire.Incarnation) wire.Epoch {
	return max(k.Of(s).Epoch(i), First)
}

// Highest is the highest epoch of all STARTs that are known, at least First.
func (k *Known) Highest() wire.Epoch {
	highest := First
	for _, of := range k.shards {
		if starts := of.ends.starts; len(starts) > 0 {
			highest = max(highest, starts[len(starts)-1].Epoch)
		}
	}
	return highest
}
