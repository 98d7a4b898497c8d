package journal

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/zeebo/xxh3"

	"github.com/claudefs/repl/engine/internal/plant"
	"github.com/claudefs/repl/wire"
)

// Kinds of control records. Part of the format, never reuse.
const (
	recordClockBound = 1
	recordEpoch      = 2
	recordPeer       = 3
	recordRemovePeer = 4
	recordSite       = 5 // of version 2
	recordRemoved    = 6 // of version 2
)

// Limits of sites that are taken in or removed while a node runs. Part of the format.
const (
	SiteAddrsMax      = 8   // addresses of a site
	SiteAddrBytesMax  = 255 // of one
	RemovedSitesMax   = 64  // removed sites that are remembered; the oldest go first
	removedByBytesMax = 127 // what is longer is cut
)

const (
	// controlVersion is the version that this release writes where it needs no record of
	// controlVersionSites, so that an older one reads it.
	controlVersion      = 1
	controlVersionSites = 2

	recordBytes      = 5         // kind u8, size u32
	peerCursorBytes  = 48        // log 8, incarnation 16, chain 16, seq 8
	peerCursorMax    = 4096      // per record; a peer with more takes several
	peerNameBytesMax = 255       // as in a hello
	controlBatchFull = 512 << 10 // a control batch is closed beyond this; a record adds at most 200 KiB
)

// appendRecord appends one record: kind, size, fields.
func appendRecord(b []byte, kind uint8, fields []byte) []byte {
	b = append(b, kind)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(fields)))
	return append(b, fields...)
}

func appendPeer(b []byte, p *wire.RegisteredPeer, cursors []wire.Cursor) []byte {
	le := binary.LittleEndian
	f := le.AppendUint32(nil, uint32(p.Site))
	f = append(f, uint8(len(p.Name)))
	f = append(f, p.Name...)
	f = le.AppendUint32(f, uint32(len(cursors)))
	for _, c := range cursors {
		f = le.AppendUint32(f, uint32(c.Log.Site))
		f = le.AppendUint32(f, uint32(c.Log.Shard))
		f = append(f, c.Position.Incarnation[:]...)
		f = append(f, c.Position.Chain[:]...)
		f = le.AppendUint64(f, uint64(c.Position.Seq))
	}
	return appendRecord(b, recordPeer, f)
}

// appendRecords encodes one change as one or more records, each of them whole
// in itself, and calls emit after each.
func appendRecords(b []byte, r *ControlRecord, emit func([]byte) []byte) ([]byte, error) {
	le := binary.LittleEndian
	set := 0
	for _, is := range []bool{
		r.ClockBound != 0, r.Epoch != nil, r.Peer != nil, r.RemovePeer != 0, r.Site != nil, r.Removed != nil,
	} {
		if is {
			set++
		}
	}
	if set != 1 {
		return b, fmt.Errorf("control record with %d fields set, want 1: %w", set, wire.ErrLimit)
	}
	switch {
	case r.ClockBound != 0:
		return emit(appendRecord(b, recordClockBound, le.AppendUint64(nil, uint64(r.ClockBound)))), nil
	case r.Epoch != nil:
		f := le.AppendUint32(nil, uint32(r.Epoch.Domain))
		f = le.AppendUint64(f, uint64(r.Epoch.Epoch))
		return emit(appendRecord(b, recordEpoch, le.AppendUint32(f, uint32(r.Epoch.Writer)))), nil
	case r.RemovePeer != 0:
		return emit(appendRecord(b, recordRemovePeer, le.AppendUint32(nil, uint32(r.RemovePeer)))), nil
	case r.Site != nil || r.Removed != nil:
		return appendMember(b, r, emit)
	}
	if len(r.Peer.Name) > peerNameBytesMax || r.Peer.Site == 0 {
		return b, fmt.Errorf("peer %08x with a name of %d bytes: %w",
			uint32(r.Peer.Site), len(r.Peer.Name), wire.ErrLimit)
	}
	rest := r.Peer.Cursors
	for {
		n := min(len(rest), peerCursorMax)
		b = emit(appendPeer(b, r.Peer, rest[:n]))
		rest = rest[n:]
		if len(rest) == 0 {
			return b, nil
		}
	}
}

// encodeControl is the control state as records, for a head.
func encodeControl(c *Control) []byte {
	b := []byte{controlVersion}
	if len(c.Sites)+len(c.Removed) > 0 {
		b[0] = controlVersionSites
	}
	keep := func(b []byte) []byte { return b }
	if c.ClockBound != 0 && !plant.ClockForgotten {
		b, _ = appendRecords(b, &ControlRecord{ClockBound: c.ClockBound}, keep)
	}
	for i := range c.Epochs {
		b, _ = appendRecords(b, &ControlRecord{Epoch: &c.Epochs[i]}, keep)
	}
	for i := range c.Peers { // checked when they were staged
		b, _ = appendRecords(b, &ControlRecord{Peer: &c.Peers[i]}, keep)
	}
	for i := range c.Sites {
		b, _ = appendRecords(b, &ControlRecord{Site: &c.Sites[i]}, keep)
	}
	for i := range c.Removed {
		b, _ = appendRecords(b, &ControlRecord{Removed: &c.Removed[i]}, keep)
	}
	return b
}

// bytes is at most how long encodeControl's result is.
func (c *Control) bytes() int {
	n := 1 + recordBytes + 8 + len(c.Epochs)*(recordBytes+16)
	for i := range c.Peers {
		cursors := len(c.Peers[i].Cursors)
		n += (1+cursors/peerCursorMax)*(recordBytes+9+len(c.Peers[i].Name)) + cursors*peerCursorBytes
	}
	for i := range c.Sites {
		n += siteRecordBytes(&c.Sites[i])
	}
	for i := range c.Removed {
		n += removedRecordBytes(&c.Removed[i])
	}
	return n
}

// growth is by how much records make it longer, at most: cursors that it has, and the
// clock's bound, take the place of others.
func (c *Control) growth(records []ControlRecord) (n int) {
	for i := range records {
		if e := records[i].Epoch; e != nil {
			n += recordBytes + 16
		}
		if s := records[i].Site; s != nil {
			n += siteRecordBytes(s)
		}
		if s := records[i].Removed; s != nil {
			n += removedRecordBytes(s)
		}
		r := records[i].Peer
		if r == nil {
			continue
		}
		var known []wire.Cursor
		for k := range c.Peers {
			if c.Peers[k].Site == r.Site {
				known = c.Peers[k].Cursors
			}
		}
		fresh := 0
		for k := range r.Cursors {
			for len(known) > 0 && known[0].Log.Compare(r.Cursors[k].Log) < 0 {
				known = known[1:]
			}
			if len(known) == 0 || known[0].Log != r.Cursors[k].Log {
				fresh++ // or it is out of order, which costs some room only
			}
		}
		n += (1+fresh/peerCursorMax)*(recordBytes+9+len(r.Name)) + fresh*peerCursorBytes
	}
	return n
}

// SegmentBytesFor is how large the segments of a node's journals must be at least, so
// that a head has room for what its options allow: the shards' logs of so many other
// sites in the mirror, and a cursor of each own log for each of those sites. 0: no
// segment has so large a head.
func SegmentBytesFor(shards, peers int) int64 {
	records := int64(1+shards/peerCursorMax) * (recordBytes + 9 + peerNameBytesMax)
	// A block for clock and epochs, and what sites taken in or removed need besides.
	control := int64(peers)*(int64(shards)*peerCursorBytes+records+siteRecordMax) +
		RemovedSitesMax*removedRecordMax + BlockBytes
	share := max(headBytes(shards*max(1, peers)+1, 0), align(control))
	if share > HeadBytesMax/2 {
		return 0
	}
	return 4 * share
}

func decodeControl(b []byte) (c Control, err error) {
	err = foldControl(&c, b)
	return c, err
}

// foldControl changes c by the records of a control batch's body, or by a
// head's control state.
func foldControl(c *Control, b []byte) error {
	switch {
	case len(b) == 0:
		return fmt.Errorf("control records: version byte missing: %w", wire.ErrProtocol)
	case b[0] != controlVersion && b[0] != controlVersionSites:
		return fmt.Errorf("control records: version %d, this release reads %d and %d: %w",
			b[0], controlVersion, controlVersionSites, wire.ErrVersion)
	}
	version := b[0]
	for b = b[1:]; len(b) > 0; {
		if len(b) < recordBytes || uint64(binary.LittleEndian.Uint32(b[1:])) > uint64(len(b)-recordBytes) {
			return fmt.Errorf("control record of kind %d is cut off: %w", b[0], wire.ErrProtocol)
		}
		n := recordBytes + int(binary.LittleEndian.Uint32(b[1:]))
		if err := foldRecord(c, version, b[0], b[recordBytes:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

func foldRecord(c *Control, version, kind uint8, f []byte) error {
	le := binary.LittleEndian
	switch {
	case kind == recordClockBound && len(f) == 8:
		c.ClockBound = max(c.ClockBound, wire.Stamp(le.Uint64(f)))
	case kind == recordEpoch && len(f) == 16:
		c.setEpoch(DomainEpoch{wire.Domain(le.Uint32(f)), wire.Epoch(le.Uint64(f[4:])), wire.SiteID(le.Uint32(f[12:]))})
	case kind == recordRemovePeer && len(f) == 4:
		c.drop(wire.SiteID(le.Uint32(f)))
	case kind == recordPeer && len(f) >= 9:
		return foldPeer(c, f)
	case kind == recordSite && version >= controlVersionSites:
		return foldSite(c, f)
	case kind == recordRemoved && version >= controlVersionSites:
		return foldRemoved(c, f)
	default:
		return fmt.Errorf("control record of kind %d with %d bytes: %w", kind, len(f), wire.ErrProtocol)
	}
	return nil
}

func (c *Control) setEpoch(e DomainEpoch) {
	i, found := slices.BinarySearchFunc(c.Epochs, e.Domain, func(a DomainEpoch, d wire.Domain) int {
		return int(int64(a.Domain) - int64(d))
	})
	switch {
	case !found:
		c.Epochs = slices.Insert(c.Epochs, i, e)
	case e.Epoch >= c.Epochs[i].Epoch: // an epoch never falls
		c.Epochs[i] = e
	}
}

// foldPeer registers a peer, or merges its cursors.
func foldPeer(c *Control, f []byte) error {
	le := binary.LittleEndian
	site, n := wire.SiteID(le.Uint32(f)), int(f[4])
	if len(f) < 9+n {
		return fmt.Errorf("control record of peer %08x is cut off: %w", uint32(site), wire.ErrProtocol)
	}
	name := string(f[5 : 5+n])
	count := uint64(le.Uint32(f[5+n:]))
	f = f[9+n:]
	if count*peerCursorBytes != uint64(len(f)) {
		return fmt.Errorf("control record of peer %08x: %d cursors in %d bytes: %w",
			uint32(site), count, len(f), wire.ErrProtocol)
	}
	if c.removed(site) {
		return nil // it was written before that was known
	}
	i, found := slices.BinarySearchFunc(c.Peers, site, func(p wire.RegisteredPeer, s wire.SiteID) int {
		return int(int64(p.Site) - int64(s))
	})
	if !found {
		c.Peers = slices.Insert(c.Peers, i, wire.RegisteredPeer{Site: site})
	}
	p := &c.Peers[i]
	p.Name = name
	for ; len(f) > 0; f = f[peerCursorBytes:] {
		cursor := wire.Cursor{
			Log: wire.LogID{Site: wire.SiteID(le.Uint32(f)), Shard: wire.Shard(le.Uint32(f[4:]))},
			Position: wire.Position{
				Incarnation: wire.Incarnation(f[8:24]), Chain: wire.Chain(f[24:40]), Seq: wire.Seq(le.Uint64(f[40:])),
			},
		}
		k, found := slices.BinarySearchFunc(p.Cursors, cursor.Log, func(a wire.Cursor, l wire.LogID) int {
			return a.Log.Compare(l)
		})
		if found {
			p.Cursors[k] = cursor
		} else {
			p.Cursors = slices.Insert(p.Cursors, k, cursor)
		}
	}
	return nil
}

// clone copies c down to its last slice.
func (c *Control) clone() Control {
	d := Control{
		ClockBound: c.ClockBound, Epochs: slices.Clone(c.Epochs), Peers: slices.Clone(c.Peers),
		Sites: slices.Clone(c.Sites), Removed: slices.Clone(c.Removed),
	}
	for i := range d.Peers {
		d.Peers[i].Name = strings.Clone(d.Peers[i].Name)
		d.Peers[i].Cursors = slices.Clone(d.Peers[i].Cursors)
	}
	return d
}

// controlLog is the log of the node's control batches.
func (o *Options) controlLog() wire.LogID { return wire.LogID{Site: o.Site, Shard: wire.ShardControl} }

// controlIncarnation needs no randomness: the control log is never shipped, so
// its identity only has to differ from node to node.
func (o *Options) controlIncarnation() wire.Incarnation {
	name := fmt.Sprintf("cfs control\x00%016x\x00%08x\x00%d", uint64(o.Cluster), uint32(o.Site), o.Node)
	return wire.Incarnation(xxh3.HashString128(name).Bytes())
}

// controlBatches encodes records as one or more closed control batches behind
// tail.
func (o *Options) controlBatches(records []ControlRecord, stamp wire.Stamp, tail Tail) ([]wire.BatchRef, error) {
	var refs []wire.BatchRef
	body := func() []byte { return append(make([]byte, wire.BatchHeaderBytes, 4096), versionOf(records)) }
	b := body()
	closeBatch := func() {
		h := wire.BatchHeader{
			Kind: wire.BatchControl, Prev: tail.Position.Chain, Incarnation: o.controlIncarnation(), Cluster: o.Cluster,
			Site: o.Site, Node: o.Node, Shard: wire.ShardControl, Epoch: 1, Count: 1, FirstSeq: tail.Position.Seq + 1,
		}
		h.FirstStamp = max(stamp, tail.LastStamp+1)
		h.LastStamp = h.FirstStamp
		wire.CloseBatch(b, &h)
		tail = tail.after(&h)
		refs = append(refs, wire.BatchRef{Header: h, Bytes: b})
	}
	emit := func(grown []byte) []byte {
		b = grown
		if len(b) > controlBatchFull {
			closeBatch()
			b = body()
		}
		return b
	}
	for i := range records {
		if _, err := appendRecords(b, &records[i], emit); err != nil {
			return nil, err
		}
	}
	if len(b) > wire.BatchHeaderBytes+1 || len(refs) == 0 {
		closeBatch()
	}
	return refs, nil
}
