package node

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine/lag"
)

// writerAt is what a standby says of the writer.
func writerAt(t *testing.T, s *site) PeerStatus {
	t.Helper()
	p := peerOf(s)
	require.True(t, p.Writes)
	return p
}

// A standby tells for how long it has lacked what it lacks, whatever the clocks do.
func TestStandbyTellsHowFarBehindItIs(t *testing.T) {
	for name, step := range map[string]time.Duration{"back": -time.Hour, "forward": time.Hour, "none": 0} {
		t.Run(name, func(t *testing.T) {
			w, a, b := livelyPair()
			require.Equal(t, lag.Behind{Known: true}, writerAt(t, b).Behind)
			require.False(t, peerOf(a).Writes, "a standby writes nothing")
			b.noFlush = true
			a.append(0, 1)
			w.pass(time.Second)
			b.wall += step
			a.append(0, 1)
			w.pass(2 * time.Second)
			p := writerAt(t, b)
			require.True(t, p.Behind.Known)
			require.InDelta(t, 3, p.Behind.Time.Seconds(), 0.5)
			require.Positive(t, p.Staged)
			b.noFlush = false
			a.append(1, 1) // which flushes them all
			w.pass(time.Second)
			require.Equal(t, lag.Behind{Known: true}, writerAt(t, b).Behind)
			require.Zero(t, writerAt(t, b).Staged)
		})
	}
}

// Who has not heard the writer in this session does not know.
func TestStandbyKnowsNothingOfSilentWriter(t *testing.T) {
	w, a, b := livelyPair()
	require.True(t, writerAt(t, b).Behind.Known)
	before := peerOf(b)
	require.NotZero(t, before.FramesReceived)
	require.NotZero(t, before.BytesReceived)
	require.EqualValues(t, 1, before.SessionsAccepted)
	a.crash()
	w.pass(10 * time.Millisecond)
	require.Equal(t, lag.Behind{}, writerAt(t, b).Behind)
	a.open()
	w.pass(3 * time.Second)
	require.Equal(t, lag.Behind{Known: true}, writerAt(t, b).Behind)
	require.EqualValues(t, 2, peerOf(b).SessionsAccepted)
}

// A new standby of a writer with entries is behind for nobody knows how long, but at
// least since the first heartbeat.
func TestNewStandbyIsBehindForLong(t *testing.T) {
	w, a, b := livelyPair()
	b.crash()
	b.own, b.mirror, b.peers, b.applied = disk{}, disk{}, nil, nil
	b.open()
	b.noFlush = true
	w.pass(3 * time.Second)
	p := writerAt(t, b)
	require.False(t, p.Behind.Known)
	require.Positive(t, p.Behind.Time)
	b.noFlush = false
	a.append(1, 1)
	w.pass(time.Second)
	require.Equal(t, lag.Behind{Known: true}, writerAt(t, b).Behind)
}
