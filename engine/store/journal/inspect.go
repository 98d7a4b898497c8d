package journal

import (
	"fmt"
	"math"

	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/claudefs/repl/wire"
)

// HeadInfo is what a segment's head says.
type HeadInfo struct {
	Kind         Kind
	Repair       bool // a repair segment: Logs holds where the hole begins and ends
	Bytes        int64
	Term         wire.Term
	Cluster      wire.ClusterID
	Site         wire.SiteID
	Node         wire.NodeID
	Segment      uint64
	Generation   uint64
	SegmentBytes int64
	First        UnitNumber // of the first unit in this segment
	Prev         UnitNumber // the last valid unit before it
	Mark         UnitNumber // durable through here
	Logs         []LogTail
	Control      Control
	Starts       []wire.Start
}

// LogTail is one row of a head's table.
type LogTail struct {
	Log     wire.LogID
	Tail    Tail
	Suspect bool
}

// UnitInfo is what a unit's header says.
type UnitInfo struct {
	Number     UnitNumber
	Mark       UnitNumber // durable through here
	Term       wire.Term
	Segment    uint64
	Generation uint64
	Bytes      int // aligned
	Used       int // header and batches
	Batches    int
}

// Item is one thing in a segment file; exactly one of the pointers is set. They
// are borrowed for the call.
type Item struct {
	Offset int64
	Head   *HeadInfo
	Unit   *UnitInfo
	Batch  *wire.BatchHeader // follows its unit
	Damage *Damage           // bytes that do not hold; says nothing about marks of other files
}

// Inspect reads a segment or repair file without a journal and visits what it
// finds, in the order of the bytes: the head, each unit, its batches, each place
// that does not hold. It decodes as much of a damaged file as it can, and never
// writes. It ends behind the last intact unit; what lies there in a recycled file is
// an older generation's. An error is one of reading, or visit's.
func Inspect(fsys vfs.FS, file string, visit func(Item) error) error {
	f, err := fsys.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	n := &inspection{v: newVerifier(), file: file, visit: visit}
	if err := n.w.reset(f, file); err != nil {
		return err
	}
	off, err := n.head()
	if err != nil {
		return err
	}
	return n.units(off)
}

type inspection struct {
	v     *verifier
	w     window
	file  string
	p     place
	next  UnitNumber // expected; 0 = unknown
	visit func(Item) error
}

func (n *inspection) damage(off int64, unit UnitNumber, reason string) error {
	return n.visit(Item{Offset: off, Damage: &Damage{File: n.file, Offset: off, Unit: unit, Reason: reason}})
}

// head visits the head and returns where the units begin.
func (n *inspection) head() (int64, error) {
	h, err := readHead(&n.w)
	if err != nil {
		if err := n.damage(0, 0, err.Error()); err != nil {
			return 0, err
		}
		return BlockBytes, n.guess()
	}
	n.p = place{
		segment: h.segment, generation: h.generation, term: h.term, cluster: h.cluster, site: h.site, node: h.node,
	}
	n.next = h.first
	info := &HeadInfo{
		Kind: h.kind, Repair: h.role == roleRepair, Bytes: h.bytes, Term: h.term, Cluster: h.cluster, Site: h.site,
		Node: h.node, Segment: h.segment, Generation: h.generation, SegmentBytes: h.segmentBytes,
		First: h.first, Prev: h.prev, Mark: h.mark,
	}
	for _, row := range h.logs {
		info.Logs = append(info.Logs, LogTail{row.log, row.tail, row.suspect})
	}
	if len(h.control) > 0 {
		if info.Control, err = decodeControl(h.control); err != nil {
			if err := n.damage(0, 0, err.Error()); err != nil {
				return 0, err
			}
		}
	}
	kept, err := decodeStarts(h.starts)
	if err != nil {
		if err := n.damage(0, 0, err.Error()); err != nil {
			return 0, err
		}
	}
	info.Starts = kept.arrived
	if err := n.visit(Item{Head: info}); err != nil {
		return 0, err
	}
	if n.w.size < h.segmentBytes {
		reason := fmt.Sprintf("file of %d bytes, its head says %d", n.w.size, h.segmentBytes)
		if err := n.damage(n.w.size, 0, reason); err != nil {
			return 0, err
		}
	}
	return h.bytes, nil
}

// guess takes the identity from the unit of the highest segment number that
// holds, since a recycled file has older ones too.
func (n *inspection) guess() error {
	for off := int64(BlockBytes); off+BlockBytes <= n.w.size; off += BlockBytes {
		b, err := n.w.at(off, UnitHeaderBytes)
		if err != nil {
			return err
		}
		var u unitHeader
		u.decode(b)
		p := place{
			segment: u.segment, generation: u.generation, term: u.term, cluster: u.cluster, site: u.site, node: u.node,
		}
		if u.segment <= n.p.segment || !u.sizesHold() {
			continue
		}
		var got verdict
		if err := n.v.check(&n.w, off, p, &got); err != nil {
			return err
		}
		if got.holds {
			n.p = p
		}
	}
	return nil
}

func (n *inspection) units(off int64) error {
	var got verdict
	for off+BlockBytes <= n.w.size {
		if err := n.v.check(&n.w, off, n.p, &got); err != nil {
			return n.damage(off, n.next, err.Error())
		}
		if got.holds {
			if err := n.unit(&got); err != nil {
				return err
			}
			off += int64(got.unit.bytes)
			continue
		}
		fault := got.fault
		next, err := n.v.next(&n.w, off, n.p, 0, math.MaxUint64, &got)
		if err != nil {
			return err
		}
		if next < 0 {
			return n.end(off, fault)
		}
		if err := n.damage(off, n.next, fmt.Sprintf("%d bytes: %v", next-off, fault)); err != nil {
			return err
		}
		off, n.next = next, 0
	}
	return nil
}

// end tells a unit that was begun from the clean end of the units.
func (n *inspection) end(off int64, fault error) error {
	b, err := n.w.at(off, UnitHeaderBytes)
	if err != nil || len(b) < UnitHeaderBytes {
		return err
	}
	if begun(b, off, n.p, n.next) {
		return n.damage(off, n.next, fault.Error())
	}
	return nil
}

func (n *inspection) unit(got *verdict) error {
	u := &got.unit
	if n.next != 0 && u.number != n.next {
		reason := fmt.Sprintf("unit %d where %d is due", u.number, n.next)
		if err := n.damage(u.offset, n.next, reason); err != nil {
			return err
		}
	}
	n.next = u.number + 1
	err := n.visit(Item{Offset: u.offset, Unit: &UnitInfo{
		Number: u.number, Mark: u.mark, Term: u.term, Segment: u.segment, Generation: u.generation,
		Bytes: int(u.bytes), Used: int(u.used), Batches: int(u.count),
	}})
	if err != nil {
		return err
	}
	at, bodies := u.offset+UnitHeaderBytes, false
	for i := range n.v.refs {
		h := n.v.refs[i].Header
		if err := n.visit(Item{Offset: at, Batch: &h}); err != nil {
			return err
		}
		if n.v.bad[i] {
			bodies = true
			reason := fmt.Sprintf("body of log %s seq %d does not hold its digest", h.Log(), h.FirstSeq)
			if err := n.damage(at, u.number, reason); err != nil {
				return err
			}
		}
		at += int64(h.Bytes())
	}
	if got.fault != nil && !bodies {
		return n.damage(u.offset, u.number, got.fault.Error())
	}
	return nil
}
