package stream

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/wire"
)

// TestHelloFitsOurs: each field that keeps two sites apart has its own refusal, in
// FORMAT.md's order.
func TestHelloFitsOurs(t *testing.T) {
	ours := wire.Hello{
		VersionMin: 1, VersionMax: 1, Cluster: 7, ClusterName: "prod", Site: 1, SiteName: "site-a",
		Peer: 2, PeerName: "site-b", Shards: 4, DigestKind: wire.DigestXXH3,
	}
	theirs := ours
	theirs.Site, theirs.SiteName, theirs.Peer, theirs.PeerName = 2, "site-b", 1, "site-a"
	require.Nil(t, Fits(&ours, &theirs, 0))
	require.Nil(t, Fits(&ours, &theirs, 2))
	later := []struct {
		code   wire.RefusalCode
		change func(*wire.Hello)
	}{
		{wire.RefuseFeature, func(h *wire.Hello) { h.Features = 4 }},
		{wire.RefuseDigestKind, func(h *wire.Hello) { h.DigestKind = 9 }},
		{wire.RefuseShards, func(h *wire.Hello) { h.Shards = 5 }},
		{wire.RefuseSiteCollision, func(h *wire.Hello) { h.SiteName = "site-x" }},
		{wire.RefuseSite, func(h *wire.Hello) { h.Site = 3 }},
		{wire.RefuseSiteCollision, func(h *wire.Hello) { h.PeerName = "site-y" }},
		{wire.RefuseSite, func(h *wire.Hello) { h.Peer = 9 }},
		{wire.RefuseCluster, func(h *wire.Hello) { h.Cluster = 8 }},
		{wire.RefuseVersion, func(h *wire.Hello) { h.VersionMin, h.VersionMax = 2, 3 }},
	}
	for _, c := range later { // each goes before those that are wrong already
		c.change(&theirs)
		require.Equal(t, c.code, Fits(&ours, &theirs, 0).Code)
	}
}

// TestProvenSiteIsTheHellos: a link that another site proved carries no session of this one.
func TestProvenSiteIsTheHellos(t *testing.T) {
	ours := wire.Hello{
		VersionMin: 1, VersionMax: 1, Site: 1, SiteName: "site-a", Peer: 2, PeerName: "site-b",
	}
	theirs := wire.Hello{
		VersionMin: 1, VersionMax: 1, Site: 2, SiteName: "site-b", Peer: 1, PeerName: "site-a",
	}
	require.Nil(t, Fits(&ours, &theirs, 2))
	why := Fits(&ours, &theirs, 3)
	require.Equal(t, wire.RefuseSite, why.Code)
	require.Contains(t, why.Text, "proved")
}
