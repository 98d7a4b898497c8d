package journal

import "github.com/claudefs/repl/wire"

// Control is the node's small durable state, folded from its control batches
// and kept in every segment head of the own journal.
type Control struct {
	ClockBound wire.Stamp            // no stamp above it was ever given out
	Epochs     []DomainEpoch         // sorted by domain
	Peers      []wire.RegisteredPeer // sorted by site
	Sites      []wire.SiteRecord     // sorted by site
	// Removed are the sites that were removed last, in that order, at most RemovedSitesMax. Of none
	// is there anything above.
	Removed []wire.RemovedSite
}

// DomainEpoch is the highest epoch that this node has acknowledged anything in.
type DomainEpoch struct {
	Domain wire.Domain
	Epoch  wire.Epoch
	Writer wire.SiteID // 0 = not known, or not any more
}

// Writer is the site on record as the writer of a domain; 0 = none.
func (c *Control) Writer(domain wire.Domain) wire.SiteID {
	for _, e := range c.Epochs {
		if e.Domain == domain {
			return e.Writer
		}
	}
	return 0
}

// Epoch is the one on record for a domain; 0 = none.
func (c *Control) Epoch(domain wire.Domain) wire.Epoch {
	for _, e := range c.Epochs {
		if e.Domain == domain {
			return e.Epoch
		}
	}
	return 0
}

// ControlRecord changes Control; exactly one field is set.
type ControlRecord struct {
	ClockBound wire.Stamp
	Epoch      *DomainEpoch
	Peer       *wire.RegisteredPeer // registers, or merges its cursors
	RemovePeer wire.SiteID          // it leaves Peers and Sites
	Site       *wire.SiteRecord     // as it is from now on; it is not removed any more
	Removed    *wire.RemovedSite
}
