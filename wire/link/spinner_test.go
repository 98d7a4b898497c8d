package link

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSpinnerLeavesOutMoreEachTimeItWasInVain(t *testing.T) {
	var s Spinner
	tries := 0
	for range 4 * spinSkipsMax {
		if s.Worth() {
			tries++
			s.Done(false)
		}
	}
	require.Less(t, tries, 20)
	for !s.Worth() {
	}
	s.Done(true)
	for range 100 {
		require.True(t, s.Worth())
		s.Done(true)
	}
}
