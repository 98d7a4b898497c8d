package sim

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestNewEpochsKeepEveryEntry: the writer begins epochs while it appends, while a peer is away,
// and right after another one; everybody follows, pulls what is closed, and has each entry once
// (I1, I2, I5, I7, I14).
func TestNewEpochsKeepEveryEntry(t *testing.T) {
	marks := live(t, `
		duration 20s
		sites 3
		shards 4
		100ms burst count=600 span=18s
		1s new-epoch site-a span=50ms draw=1
		3s new-epoch site-a span=50ms draw=2
		3200ms restart site-a span=50ms
		5s isolate site-b span=3s
		6s new-epoch site-a span=50ms draw=3
		6200ms restart site-a span=50ms
		11s kill site-c span=2s
		12s new-epoch site-a span=20ms draw=4
		12500ms power site-a span=100ms
		13s kill site-b span=500ms
	`)
	for _, mark := range []string{
		"epoch begun", "epoch begun by an operator", "epoch taken over", "own log opened again",
	} {
		require.NotZero(t, marks[mark], mark)
	}
}
