package wire

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"time"

	"github.com/zeebo/xxh3"
)

// ClusterID names all sites that replicate one another. Zero is invalid.
type ClusterID uint64

// SiteID names one site of a cluster. Zero is invalid.
type SiteID uint32

// NodeID names one storage node of a site. Today a site is one node, number 0.
type NodeID uint32

// Shard is a unit of order, ownership and cursor, [0, shard count).
type Shard uint32

// ShardControl is the shard number of a node's control batches. They stay in
// the node's own journal and are never shipped. Part of the format.
const ShardControl Shard = 1<<32 - 1

// ShardCountMax is the largest number of shards a cluster may have.
const ShardCountMax = 65536

// Domain names the logs that may have one writer at a time: 0 is the whole
// cluster, else it is the SiteID whose logs they are.
type Domain uint32

// Epoch is the fencing token of a domain's writer. Zero is invalid.
type Epoch uint64

// String is the epoch for people: its counter, and of one above the first the site that writes
// in it, in hexadecimal digits.
func (e Epoch) String() string {
	if e>>32 == 0 {
		return strconv.FormatUint(uint64(e), 10)
	}
	return fmt.Sprintf("%d.%08x", uint64(e>>32), uint32(e))
}

// Term counts the openings of a journal. Zero is invalid.
type Term uint32

// Seq numbers the entries of a log: 1, 2, 3 … within one incarnation. Zero
// means "before the first".
type Seq uint64

// Stamp is a hybrid logical clock time: 52 bits of microseconds since the Unix
// epoch, then a 12-bit counter.
type Stamp uint64

// StampOf returns the first stamp of the microsecond that holds t.
func StampOf(t time.Time) Stamp { return Stamp(t.UnixMicro()) << 12 }

// Time returns the wall-clock part of s.
func (s Stamp) Time() time.Time { return time.UnixMicro(int64(s >> 12)) }

// Incarnation is the random identity of a log. Zero is invalid in a batch and
// means "no log yet" in a position.
type Incarnation [16]byte

func (i Incarnation) String() string { return hex.EncodeToString(i[:]) }

// Chain is the running hash over a log's batches. The first batch of an
// incarnation has the zero chain before it.
type Chain [16]byte

func (c Chain) String() string { return hex.EncodeToString(c[:]) }

// Digest is the XXH3-128 digest of a batch's plain body.
type Digest [16]byte

// LogID names a log: the entries that Site writes for Shard.
type LogID struct {
	Site  SiteID
	Shard Shard
}

func (l LogID) String() string { return fmt.Sprintf("%08x/%d", uint32(l.Site), uint32(l.Shard)) }

// Compare orders logs by site, then shard.
func (l LogID) Compare(o LogID) int {
	switch {
	case l.Site != o.Site:
		if l.Site < o.Site {
			return -1
		}
		return 1
	case l.Shard != o.Shard:
		if l.Shard < o.Shard {
			return -1
		}
		return 1
	}
	return 0
}

// RegisteredPeer is a site that a node keeps batches for. It leaves only by
// an operator's verb, never by its absence from a configuration.
type RegisteredPeer struct {
	Site    SiteID
	Name    string
	Cursors []Cursor // sorted by log; what the peer has confirmed as durable; lazily saved, never ahead of truth
}

// SiteRecord is a site that an operator took in while the node ran. A later start knows it
// without being told.
type SiteRecord struct {
	Site    SiteID
	Name    string
	Addrs   []string // where it is dialed
	Learner bool     // it counts for nothing before it holds everything
}

// RemovedSite is a site that an operator removed: its hello is refused until one takes it in again.
type RemovedSite struct {
	Site SiteID
	Name string
	By   string // who asked for it
	At   Stamp
}

// Ref names one appended entry.
type Ref struct {
	Log         LogID
	Incarnation Incarnation
	Seq         Seq
}

// RequestID lets a client retry an operation safely: the host keeps it in the
// same commit as the effect. Zero means "none".
type RequestID [16]byte

// ClusterIDOf returns the identity of the cluster with this name. It is never
// zero.
func ClusterIDOf(name string) ClusterID {
	return ClusterID(max(1, xxh3.HashString("cfs cluster\x00"+name)))
}

// SiteIDOf returns the identity of a site. It is never zero. A collision
// between two sites of a cluster is refused in the handshake.
func SiteIDOf(cluster, site string) SiteID {
	return SiteID(max(1, uint32(xxh3.HashString("cfs site\x00"+cluster+"\x00"+site))))
}
