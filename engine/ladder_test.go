package engine

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func testLadder() ladder {
	return newLadder(time.Second, time.Minute, []string{"rdma", "io_uring", "tcp"})
}

func TestBestTransportIsTriedFirst(t *testing.T) {
	l := testLadder()
	require.Equal(t, 0, l.next(0, 0))
	require.Empty(t, l.reason(0, 0))
	_, ok := l.better(0)
	require.False(t, ok)
}

func TestFailedDialTriesNextTransport(t *testing.T) {
	l := testLadder()
	l.failed(0, 10*time.Second, 0, "transport retry exceeded")
	require.Equal(t, 1, l.next(0, 10*time.Second))
	require.Equal(t, "rdma: transport retry exceeded, next try in 1s", l.reason(1, 10*time.Second))
	l.failed(1, 10*time.Second, 0, "no memory")
	require.Equal(t, 2, l.next(0, 10*time.Second))
	require.Equal(t, "rdma: transport retry exceeded, next try in 1s; io_uring: no memory, next try in 1s",
		l.reason(2, 10*time.Second))
	at, ok := l.better(2)
	require.True(t, ok)
	require.Equal(t, 11*time.Second, at)
	require.Equal(t, 0, l.next(0, at))
	require.Contains(t, l.reason(2, at), "rdma: transport retry exceeded, being tried again")
}

func TestLastTransportIsAlwaysThere(t *testing.T) {
	l := testLadder()
	for i := range 3 {
		l.failed(i, 0, 0, "refused")
	}
	require.Equal(t, 2, l.next(0, 0))
}

// No flapping: what keeps failing is tried less and less often, within bounds, even
// where each time it came up for a while.
func TestTransportThatKeepsFailingIsTriedLessOften(t *testing.T) {
	l := testLadder()
	now := time.Duration(0)
	var pauses []int
	for range 9 {
		l.failed(0, now, 5*time.Second, "lost")
		at, ok := l.better(1)
		require.True(t, ok)
		pauses = append(pauses, int((at-now)/time.Second))
		now = at
	}
	require.Equal(t, []int{1, 2, 4, 8, 16, 32, 60, 60, 60}, pauses)
	for range 100 {
		l.failed(0, now, 0, "lost")
	}
	at, _ := l.better(1)
	require.Equal(t, time.Minute, at-now)
}

func TestTransportThatHeldIsForgivenItsPast(t *testing.T) {
	l := testLadder()
	for range 7 {
		l.failed(0, 0, 0, "lost")
	}
	l.failed(0, time.Hour, time.Minute, "lost")
	at, _ := l.better(1)
	require.Equal(t, time.Hour+time.Second, at)
}
