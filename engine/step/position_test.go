package step

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/wire"
)

func TestStopIsAnError(t *testing.T) {
	var err error = Stopf(wire.RefuseGap, "seq %d", 4)
	var s *Stop
	require.True(t, errors.As(err, &s))
	require.Equal(t, "seq 4", err.Error())
}

func at(seq wire.Seq, chain byte) wire.Position {
	return wire.Position{Incarnation: wire.Incarnation{1}, Seq: seq, Chain: wire.Chain{chain}}
}

func TestUnequalSeqsAreLagAndNoDifference(t *testing.T) {
	other := at(5, 1)
	other.Incarnation = wire.Incarnation{2}
	for _, c := range []struct {
		own, peer wire.Position
		want      Relation
	}{
		{wire.Position{}, wire.Position{}, Equal},
		{at(5, 1), at(5, 1), Equal},
		{at(5, 1), at(5, 2), Differ},
		{at(5, 1), other, Differ},
		{at(6, 1), other, Differ},
		{at(5, 1), at(4, 9), Behind},
		{at(5, 1), wire.Position{}, Behind},
		{at(5, 1), at(6, 9), Ahead},
		{wire.Position{}, at(6, 9), Ahead},
	} {
		require.Equal(t, c.want, Relate(c.own, c.peer), "%v %v", c.own, c.peer)
	}
}
