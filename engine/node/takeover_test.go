package node

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine/stream"
)

// takeOver has a link to the site's i-th peer come up that nobody asked for.
func (s *site) takeOver(i int) {
	far := s.w.site(s.c.Peers[i].Name)
	if s.node == nil || far.node == nil || s.noDial || far.noDial {
		return
	}
	p := s.w.connect(s, far)
	s.later(func() { s.step(&LinkUp{Link: p.ends[0].id, Peer: far.c.Site, Takeover: true}) })
}

// A better link takes over from one that is live, in mid-flight: nothing is lost,
// repeated or reordered (I2, I3), and nobody is alarmed.
func TestBetterLinkTakesOverALiveSession(t *testing.T) {
	w, a, b := pair()
	a.open()
	b.open()
	w.pass(time.Second)
	p := a.node.peers[0]
	for range 5 {
		first := p.link
		require.Equal(t, stream.PhaseLive, p.Phase)
		a.append(0, 3)
		a.flush(Own)
		a.takeOver(0)
		a.append(1, 2)
		w.settle()
		require.NotEqual(t, first.Link, p.link.Link, "the link that took over carries the session")
		require.Greater(t, p.link.Session, first.Session, "a newer session")
		w.pass(time.Second)
		s := a.node.Status(w.now())
		require.Equal(t, p.link.Link, s.Peers[0].Dialed)
		require.Equal(t, b.node.peers[0].in.Link, b.node.Status(w.now()).Peers[0].Accepted)
	}
	require.NoError(t, w.fault)
	require.Equal(t, a.own.batches, b.mirror.batches)
	require.Contains(t, w.take(), "a better link takes over")
}

// It is as good as a dialed one where none is open, whatever the peer is at.
func TestLinkThatTakesOverNeedsNoOther(t *testing.T) {
	w, a, b := pair()
	a.open()
	b.noDial = true
	b.open()
	w.pass(time.Second)
	p := a.node.peers[0]
	require.Nil(t, p.link)
	b.noDial = false
	require.Contains(t, []stream.Phase{stream.PhaseDown, stream.PhaseDialing}, p.Phase)
	a.takeOver(0)
	w.settle()
	require.Equal(t, stream.PhaseLive, p.Phase)
}
