package stream

import (
	"math"

	"github.com/claudefs/repl/engine/role"
	"github.com/claudefs/repl/engine/step"
	"github.com/claudefs/repl/wire"
)

// TermTop is the highest term of a session. No journal lives to see it, so a hello of that
// term is forged: its session is not remembered beyond its link. Else one such hello would
// permanently shut out the site whose name it takes, which cannot go beyond it.
const TermTop wire.Term = math.MaxUint32 - 1

// Newer says whether session t, c is newer than u, d: term first, then counter.
func Newer(t wire.Term, c uint32, u wire.Term, d uint32) bool { return u < t || u == t && d < c }

// OurHello is what a site says of itself, to any site.
func OurHello(c *step.Config, w role.Writers) wire.Hello {
	h := wire.Hello{
		VersionMin: wire.Version, VersionMax: wire.Version, Cluster: c.Cluster, Site: c.Site, Node: c.Node,
		Shards: c.Shards, DigestKind: wire.DigestXXH3, Primary: w.Primary, ClusterName: c.ClusterName,
		SiteName: c.SiteName,
	}
	if w.Epoch > role.First { // an older release, which knows one epoch, refuses the feature by name
		h.Epoch, h.Features = w.Epoch, wire.FeatureEpochs
	}
	return h
}

// Fits compares a hello with the one that its receiver would say to its sender, and says
// why no session follows; nil = one may. In ours, Peer is 0 unless the sender is a
// configured peer. proven is the site that the transport proved the sender to be, 0 = none.
// The order is FORMAT.md's: version, cluster, site, shards, digest kind, features. Who
// writes is package role's to compare.
func Fits(ours, h *wire.Hello, proven wire.SiteID) *step.Stop {
	switch {
	case h.VersionMin > ours.VersionMax || h.VersionMax < ours.VersionMin:
		return step.Stopf(wire.RefuseVersion,
			"site %q speaks versions %d to %d, site %q speaks %d: upgrade the older one",
			h.SiteName, h.VersionMin, h.VersionMax, ours.SiteName, ours.VersionMax)
	case h.Cluster != ours.Cluster || h.ClusterName != ours.ClusterName:
		return step.Stopf(wire.RefuseCluster,
			"site %q is of cluster %q (%016x), site %q of cluster %q (%016x): check the cluster's name and the address",
			h.SiteName, h.ClusterName, uint64(h.Cluster), ours.SiteName, ours.ClusterName, uint64(ours.Cluster))
	case h.Peer != ours.Site:
		return step.Stopf(wire.RefuseSite,
			"site %q wants site %q (%08x), this is site %q (%08x): check the address of the peer",
			h.SiteName, h.PeerName, uint32(h.Peer), ours.SiteName, uint32(ours.Site))
	case h.PeerName != ours.SiteName:
		return step.Stopf(wire.RefuseSiteCollision, "sites %q and %q have the same id %08x: rename one",
			h.PeerName, ours.SiteName, uint32(ours.Site))
	case proven != 0 && h.Site != proven:
		return step.Stopf(wire.RefuseSite, "site %q (%08x) comes over a link that site %08x proved to be its own",
			h.SiteName, uint32(h.Site), uint32(proven))
	case h.Site != ours.Peer:
		return step.Stopf(wire.RefuseSite, "site %q (%08x) is not a configured peer of site %q: add it there",
			h.SiteName, uint32(h.Site), ours.SiteName)
	case h.SiteName != ours.PeerName:
		return step.Stopf(wire.RefuseSiteCollision, "sites %q and %q have the same id %08x: rename one",
			h.SiteName, ours.PeerName, uint32(h.Site))
	case h.Shards != ours.Shards:
		return step.Stopf(wire.RefuseShards,
			"site %q has %d shards, site %q has %d: the count is fixed at creation, re-create one of them",
			h.SiteName, h.Shards, ours.SiteName, ours.Shards)
	case h.DigestKind != ours.DigestKind:
		return step.Stopf(wire.RefuseDigestKind, "site %q uses digest kind %d, site %q uses %d: upgrade the older one",
			h.SiteName, h.DigestKind, ours.SiteName, ours.DigestKind)
	case h.Features&^wire.FeaturesKnown != 0:
		return step.Stopf(wire.RefuseFeature, "site %q wants features %x, site %q has %x: upgrade the older one",
			h.SiteName, h.Features, ours.SiteName, uint64(wire.FeaturesKnown))
	}
	return nil
}
