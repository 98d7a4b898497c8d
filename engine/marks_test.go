package engine

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/wire"
)

// TestWatermarksCountInOneIncarnation: what was durable and confirmed of one says nothing
// about seqs of the next, and who waits for an entry of the first learns that (I1).
func TestWatermarksCountInOneIncarnation(t *testing.T) {
	first, next := wire.Incarnation{1}, wire.Incarnation{2}
	s := &shardState{peers: make([]peerMark, 1)}
	s.goesOn(first)
	s.local, s.applied, s.peers[0] = 9, 9, peerMark{durable: 9, applied: 9}
	levels := []Level{Local, Durable(1), Applied(1), AppliedHere}
	for _, level := range levels {
		reached, err := s.reached(first, 5, level)
		require.NoError(t, err)
		require.True(t, reached)
	}
	waits := &waiter{of: first, seq: 20, level: Local, ready: make(chan struct{}, 1)}
	s.first = waits
	s.goesOn(wire.Incarnation{})
	require.Equal(t, first, s.incarnation, "nothing is known")
	s.goesOn(next)
	for _, level := range levels {
		reached, err := s.reached(next, 5, level)
		require.NoError(t, err)
		require.False(t, reached)
		reached, err = s.reached(first, 5, level)
		require.ErrorIs(t, err, ErrStopped)
		require.True(t, reached)
	}
	s.wake()
	require.Len(t, waits.ready, 1)
}
