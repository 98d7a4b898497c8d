package rdma

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/claudefs/repl/wire"
)

// Both ends of a ring, and a slow one that remembers who owns each 64 bytes: no
// message overlaps one that is not free, and both ends agree on where it lies.
func TestMessagesNeverOverlapAndBothEndsAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const count = 8
		ringBytes := ringBytesMin + ringAlign*rapid.IntRange(0, 3).Draw(t, "extra pages")
		far, near := newSpans(ringBytes, count), newSpans(ringBytes, count)
		owner := make([]uint64, ringBytes/messageAlign+1)
		mark := func(s span, number uint64) {
			lo := int(s.start % uint64(ringBytes))
			require.LessOrEqual(t, lo+s.size(), ringBytes, "a message goes round the end")
			for i := lo / messageAlign; i*messageAlign < lo+s.size(); i++ {
				require.True(t, owner[i] == 0 || number == 0, "message %d overlaps %d", number, owner[i])
				owner[i] = number
			}
		}
		for range 60 {
			if rapid.Bool().Draw(t, "free") && near.freed < near.taken {
				near.freed++
				mark(*near.at(near.freed), 0)
				continue
			}
			if rapid.Bool().Draw(t, "credit") {
				far.freed = near.freed
				continue
			}
			size := rapid.OneOf(rapid.IntRange(1, 300), rapid.IntRange(1, ringBytesMin)).Draw(t, "size")
			at, room := far.next(size)
			if !room {
				require.NotZero(t, far.taken-far.freed, "an empty ring has room for anything")
				continue
			}
			number := far.take(at)
			landed, err := near.land(size)
			require.NoError(t, err)
			require.Equal(t, number, landed)
			require.Equal(t, at, *near.at(landed))
			mark(at, number)
		}
	})
}

func TestMessagesWithoutCreditAreRefused(t *testing.T) {
	s := newSpans(ringBytesMin, 2)
	for _, size := range []int{0, -1, wire.FrameBytesMax + 1} {
		_, err := s.land(size)
		require.ErrorIs(t, err, wire.ErrProtocol)
	}
	_, err := s.land(wire.FrameBytesMax)
	require.NoError(t, err)
	_, err = s.land(1)
	require.ErrorIs(t, err, wire.ErrProtocol, "the ring is full")
	s = newSpans(ringBytesMin, 2)
	for range 2 {
		_, err = s.land(1)
		require.NoError(t, err)
	}
	_, err = s.land(1)
	require.ErrorIs(t, err, wire.ErrProtocol, "no receive was left")
}
