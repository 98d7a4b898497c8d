package step

import (
	"cmp"
	"slices"

	"github.com/claudefs/repl/wire"
)

// Member is a configured peer: the configuration names it, or an operator took it in.
type Member struct {
	Peer
	Record *wire.SiteRecord // what is on record of it; nil = the configuration alone has it
}

// Members merges the peers that a configuration names with those on record: what it says of a
// removed site counts for nothing. The result is sorted by site.
func Members(named []Peer, sites []wire.SiteRecord, removed []wire.RemovedSite) (members []Member) {
	for _, p := range named {
		if !slices.ContainsFunc(removed, func(r wire.RemovedSite) bool { return r.Site == p.Site }) {
			members = append(members, Member{Peer: p})
		}
	}
	for i := range sites {
		r := &sites[i]
		at := slices.IndexFunc(members, func(m Member) bool { return m.Site == r.Site })
		if at < 0 {
			at = len(members)
			members = append(members, Member{Peer: Peer{Site: r.Site, Name: r.Name, NoAddress: len(r.Addrs) == 0}})
		}
		members[at].Record = r
	}
	slices.SortFunc(members, func(a, b Member) int { return cmp.Compare(a.Site, b.Site) })
	return members
}

// AddPeer: an operator takes a site in. It is dialed and its sessions are accepted from now on,
// also if it was removed before, and a later start knows it. A new one is a learner: it counts
// for nothing until it holds everything. Of a known one only the addresses change. Answered in
// place.
type AddPeer struct {
	Peer  Peer
	Addrs []string // to be put on record

	Err     error // why not
	Known   bool  // it was a peer before
	Learner bool  // it counts for nothing yet
}

// Forget: an operator gives a peer up that never answered, a mistyped name say, or with Gone
// one that did and will not come back; or with Remove any but the writer: it is told, and from
// then on refused. It holds no floor any more and is not dialed; one that was forgotten and is
// configured comes back with the next start. Answered in place.
type Forget struct {
	Site   wire.SiteID
	Only   bool // say what it would lose; change nothing
	Gone   bool // although it was heard
	Remove bool
	By     string // who removes it, for the removed site to read

	Err   error // why not
	Heard bool  // it answered, in this life or before
	Loss  Loss
}

// Loss is what is given up with a peer.
type Loss struct {
	// What it could not be given any more, without a copy of the whole.
	Shards  int   // of whose logs it has not confirmed all
	Entries int64 // of them that it has not confirmed
	// Last are entries that it has confirmed, and neither journal nor Store here has.
	Last int64
}

func (*AddPeer) input() {}
func (*Forget) input()  {}
