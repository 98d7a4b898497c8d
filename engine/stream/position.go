package stream

import "github.com/claudefs/repl/wire"

// Relation is how a peer's position of a log stands to our own.
type Relation uint8

const (
	Equal  Relation = iota + 1 // equal seq and chain: equal history
	Behind                     // the peer has less; its chain is still to be compared
	Ahead                      // the peer has more; our chain is still to be compared
	Differ                     // another incarnation, or equal seq with another chain
)

// Relate compares the peer's position with ours. Unequal seqs are lag and no
// difference: only a chain at the same seq proves or disproves (I4).
func Relate(own, peer wire.Position) Relation {
	switch {
	case own.Seq == 0 && peer.Seq == 0:
		return Equal
	case peer.Seq == 0:
		return Behind
	case own.Seq == 0:
		return Ahead
	case own.Incarnation != peer.Incarnation:
		return Differ
	case peer.Seq < own.Seq:
		return Behind
	case peer.Seq > own.Seq:
		return Ahead
	case peer.Chain != own.Chain:
		return Differ
	}
	return Equal
}
