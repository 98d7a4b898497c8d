package step

import (
	"fmt"

	"github.com/claudefs/repl/wire"
)

// Stop is why a log leaves a session, or a session ends. Text names seqs and both values;
// it does not name the log.
type Stop struct {
	Code wire.RefusalCode
	Text string
}

func (s *Stop) Error() string { return s.Text }

// Missing says that a site does not have what it was asked for, or not whole: that does not
// contradict our history, and another site may have it.
func (s *Stop) Missing() bool {
	return s.Code == wire.RefuseSuspect || s.Code == wire.RefuseNotRetained || s.Code == wire.RefuseInternal
}

// Stopf returns a Stop with that text.
func Stopf(code wire.RefusalCode, format string, args ...any) *Stop {
	return &Stop{code, fmt.Sprintf(format, args...)}
}

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
func Relate(own, peer wire.Position) Relation { return relate(nil, own, peer) }

func relate(l *wire.Lineage, own, peer wire.Position) Relation {
	switch l.Order(peer, own) {
	case wire.OrderUnknown:
		return Differ
	case wire.OrderBefore:
		return Behind
	case wire.OrderAfter:
		return Ahead
	}
	if own.Seq != 0 && peer.Chain != own.Chain {
		return Differ
	}
	return Equal
}

// Differing words two positions of one seq that are not the same history.
func Differing(own, peer wire.Position) *Stop {
	if own.Incarnation != peer.Incarnation {
		return Stopf(wire.RefuseUnknownIncarnation, "incarnation %s, seq %d here, incarnation %s, seq %d at the peer",
			own.Incarnation, own.Seq, peer.Incarnation, peer.Seq)
	}
	return Stopf(wire.RefuseChain,
		"histories differ: the batch that ends at seq %d has chain %s here, %s at the peer",
		own.Seq, own.Chain, peer.Chain)
}
