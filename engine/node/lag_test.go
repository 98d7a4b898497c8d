package node

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine/stream"
)

// peerOf is what a site says of its only peer.
func peerOf(s *site) PeerStatus { return s.node.Status(s.now()).Peers[0] }

// A peer that comes back with nothing has applied nothing, whatever it told before.
func TestAppliedLagOfWipedPeer(t *testing.T) {
	w, a, b := livelyPair()
	entries := int64(0)
	for _, l := range a.own.logs() {
		entries += int64(l.Tail.Seq)
	}
	require.NotZero(t, entries)
	b.crash()
	b.own, b.mirror, b.peers, b.applied, b.noApply = disk{}, disk{}, nil, nil, true
	b.open()
	w.pass(10 * time.Second)
	p := peerOf(a)
	require.True(t, p.Durable.Known)
	require.Zero(t, p.Durable.Entries, "the journal has it again")
	require.True(t, p.Applied.Known)
	require.Equal(t, entries, p.Applied.Entries)
	require.NotZero(t, p.Applied.Time)
}

// What an earlier session proved says nothing about who answers now: a lag is unknown
// until the present session has told its positions and answered a heartbeat.
func TestLagWantsAnAnswerOfItsSession(t *testing.T) {
	w, a, _ := livelyPair()
	require.True(t, peerOf(a).Durable.Known)
	for range 20 {
		for _, p := range w.pipes {
			p.cut(nil)
		}
		for a.node.peers[0].Phase != stream.PhaseLive {
			require.False(t, peerOf(a).Durable.Known, a.node.peers[0].Phase)
			require.False(t, peerOf(a).Applied.Known, a.node.peers[0].Phase)
			require.Zero(t, peerOf(a).RTT, "that was another link")
			w.pass(time.Millisecond)
		}
	}
	w.pass(time.Second)
	require.True(t, peerOf(a).Durable.Known)
}

// Stamps run ahead of a clock that was set back, and an hour lies between those before
// and after a clock that was set forward. An entry waits for as long as it waits.
func TestLagTimeIgnoresClockSteps(t *testing.T) {
	for name, step := range map[string]time.Duration{"back": -time.Hour, "forward": time.Hour, "none": 0} {
		t.Run(name, func(t *testing.T) {
			w, a, b := livelyPair()
			b.noFlush = true
			a.append(0, 1)
			w.pass(time.Second)
			a.wall += step
			a.append(1, 1)
			w.pass(2 * time.Second)
			p := peerOf(a)
			require.True(t, p.Durable.Known)
			require.EqualValues(t, 2, p.Durable.Entries)
			require.InDelta(t, 3, p.Durable.Time.Seconds(), 0.1)
			require.InDelta(t, 0, a.now().Wall.Sub(p.LastHeard).Seconds(), 1, "nor when the peer was heard")
		})
	}
}

// The peer is away: what it has not confirmed is a fact, also after a restart here.
func TestUnconfirmedIsToldWhilePeerIsDown(t *testing.T) {
	w, a, b := livelyPair()
	w.pass(3 * time.Second)
	b.crash()
	w.pass(5 * time.Second)
	p := peerOf(a)
	require.False(t, p.Durable.Known)
	require.Zero(t, p.Durable.Entries)
	require.Zero(t, p.Durable.Time, "nothing is missing there as far as anybody knows")
	a.append(0, 3)
	w.pass(2 * time.Second)
	a.append(1, 4)
	w.pass(2 * time.Second)
	p = peerOf(a)
	require.False(t, p.Durable.Known)
	require.EqualValues(t, 7, p.Durable.Entries)
	require.InDelta(t, 4, p.Durable.Time.Seconds(), 0.1)
	a.crash()
	a.open()
	w.pass(2 * time.Second)
	p = peerOf(a)
	require.False(t, p.Durable.Known)
	require.EqualValues(t, 7, p.Durable.Entries)
	require.GreaterOrEqual(t, p.Durable.Time, 2*time.Second)
}
