package node

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/wire"
)

// sayAs has a stranger, who knows the names, say hello to a site as its peer.
func sayAs(s *site, id LinkID, term wire.Term, counter uint32) {
	peer := s.c.Peers[0]
	h := &wire.Hello{
		VersionMin: 1, VersionMax: 1, DigestKind: wire.DigestXXH3, Site: peer.Site, Peer: s.c.Site,
		Term: term, Counter: counter, Shards: s.c.Shards, Primary: s.c.Primary, Cluster: s.c.Cluster,
		ClusterName: s.c.ClusterName, SiteName: peer.Name, PeerName: s.c.SiteName,
	}
	s.step(&LinkUp{Link: id})
	s.step(&FrameIn{
		Link: id, Envelope: wire.Envelope{Kind: wire.FrameHello}, Body: h.AppendTo(nil, 0)[wire.EnvelopeBytes:],
	})
}

// One hello with the highest session there is, or next to it, shuts nobody out once its
// link is gone (I11, I14); the site that it was said for is served again, and no session
// of term 0 is ever said.
func TestForgedSessionShutsNobodyOut(t *testing.T) {
	for _, forged := range []struct {
		term    wire.Term
		counter uint32
	}{
		{math.MaxUint32, math.MaxUint32}, {math.MaxUint32, 1}, {math.MaxUint32 - 1, math.MaxUint32},
		{math.MaxUint32 - 1, 7}, {math.MaxUint32 - 2, math.MaxUint32},
	} {
		w, a, b := livelyPair()
		sayAs(b, 777, forged.term, forged.counter)
		w.pass(time.Second) // it takes part, as far as it is let
		b.step(&LinkDown{Link: 777})
		a.append(0, 2)
		w.pass(20 * time.Second)
		require.Equal(t, a.own.batches, b.mirror.batches, "%v", forged)
		require.Equal(t, "live", a.node.Status(w.now()).Peers[0].Link, "%v", forged)
		require.NotZero(t, a.node.peers[0].Term)
		require.NoError(t, w.fault)
	}
}
