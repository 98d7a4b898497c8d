package journal

import "github.com/claudefs/repl/wire"

// Control is the node's small durable state, folded from its control batches
// and kept in every segment head of the own journal.
type Control struct {
	ClockBound wire.Stamp       // no stamp above it was ever given out
	Epochs     []DomainEpoch    // sorted by domain
	Peers      []RegisteredPeer // sorted by site
}

// DomainEpoch is the highest epoch that this node has acknowledged anything in.
type DomainEpoch struct {
	Domain wire.Domain
	Epoch  wire.Epoch
	Writer wire.SiteID
}

// RegisteredPeer is a site that the node keeps batches for. It leaves only by
// an operator's verb, never by its absence from a configuration.
type RegisteredPeer struct {
	Site    wire.SiteID
	Name    string
	Cursors []PeerCursor // sorted by log; what the peer has confirmed as durable; lazily saved, never ahead of truth
}

// PeerCursor is one log's durable position at a peer.
type PeerCursor struct {
	Log      wire.LogID
	Position wire.Position
}

// ControlRecord changes Control; exactly one field is set.
type ControlRecord struct {
	ClockBound wire.Stamp
	Epoch      *DomainEpoch
	Peer       *RegisteredPeer // registers, or merges its cursors
	RemovePeer wire.SiteID
}
