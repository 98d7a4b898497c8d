package journal

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/zeebo/xxh3"

	"github.com/claudefs/repl/wire"
)

// Sizes, magics and limits of the format (FORMAT.md). Part of the format, never
// reuse.
const (
	BlockBytes      = 4096 // heads and units begin and end on it
	HeadFixedBytes  = 128  // of a head, before its table
	HeadLogBytes    = 72   // one row of a head's table
	UnitHeaderBytes = 128
	HeadBytesMax    = 64 << 20
	UnitBytesLimit  = 16 << 20 // no unit is larger, whatever the options say
	FormatVersion   = 1
	FormatStarts    = 2 // of heads that have STARTs

	headMagic = 0x53736663 // "cfsS"
	unitMagic = 0x55736663 // "cfsU"

	roleSegment = 0
	roleRepair  = 1

	rowSuspect = 1 // flags of a table row
	rowBegins  = 2
)

// head opens a segment file.
type head struct {
	kind         Kind
	role         uint8
	bytes        int64 // of the head, aligned
	term         wire.Term
	cluster      wire.ClusterID
	site         wire.SiteID
	node         wire.NodeID
	segment      uint64
	generation   uint64
	segmentBytes int64
	first        UnitNumber // of the first unit in this segment
	prev         UnitNumber // the last valid unit before it
	mark         UnitNumber // durable through here when the head was written
	logs         []headLog
	control      []byte
	starts       []byte
}

// headLog is one row of the table of log tails.
type headLog struct {
	log     wire.LogID
	tail    Tail
	suspect bool
	begins  bool // the log goes on here behind a tail that was adopted: nothing before it is missing
}

func (r headLog) compare(log wire.LogID) int { return r.log.Compare(log) }

func align(n int64) int64 { return (n + BlockBytes - 1) &^ (BlockBytes - 1) }

// headBytes is how large a head with so many logs and control bytes is.
func headBytes(logs, control int) int64 {
	return align(HeadFixedBytes + int64(logs)*HeadLogBytes + int64(control))
}

// headDigest hashes a whole head with its digest field taken as zero.
func headDigest(b []byte) [16]byte {
	var zero [16]byte
	h := xxh3.New128()
	h.Write(b[:16])
	h.Write(zero[:])
	h.Write(b[32:])
	return h.Sum128().Bytes()
}

// encode returns the head's bytes, aligned.
func (h *head) encode() []byte {
	h.bytes = headBytes(len(h.logs), len(h.control)+len(h.starts))
	b := make([]byte, h.bytes)
	le := binary.LittleEndian
	le.PutUint32(b[0:], headMagic)
	b[4], b[5], b[6] = FormatVersion, uint8(h.kind), h.role
	if len(h.starts) > 0 { // to an older release their absence would not show
		b[4] = FormatStarts
	}
	le.PutUint32(b[8:], uint32(h.bytes))
	le.PutUint32(b[12:], uint32(h.term))
	le.PutUint64(b[32:], uint64(h.cluster))
	le.PutUint32(b[40:], uint32(h.site))
	le.PutUint32(b[44:], uint32(h.node))
	le.PutUint64(b[48:], h.segment)
	le.PutUint64(b[56:], h.generation)
	le.PutUint64(b[64:], uint64(h.segmentBytes))
	le.PutUint64(b[72:], uint64(h.first))
	le.PutUint64(b[80:], uint64(h.prev))
	le.PutUint64(b[88:], uint64(h.mark))
	le.PutUint32(b[96:], uint32(len(h.logs)))
	le.PutUint32(b[100:], uint32(len(h.control)))
	le.PutUint32(b[104:], uint32(len(h.starts)))
	at := HeadFixedBytes
	for i := range h.logs {
		putHeadLog(b[at:], &h.logs[i])
		at += HeadLogBytes
	}
	copy(b[at:], h.control)
	copy(b[at+len(h.control):], h.starts)
	digest := headDigest(b)
	copy(b[16:], digest[:])
	return b
}

func putHeadLog(b []byte, row *headLog) {
	le := binary.LittleEndian
	le.PutUint32(b[0:], uint32(row.log.Site))
	le.PutUint32(b[4:], uint32(row.log.Shard))
	copy(b[8:24], row.tail.Position.Incarnation[:])
	copy(b[24:40], row.tail.Position.Chain[:])
	le.PutUint64(b[40:], uint64(row.tail.Position.Seq))
	le.PutUint64(b[48:], uint64(row.tail.LastStamp))
	le.PutUint64(b[56:], row.tail.LastIndex)
	var flags uint32
	if row.suspect {
		flags |= rowSuspect
	}
	if row.begins {
		flags |= rowBegins
	}
	le.PutUint32(b[64:], flags)
}

// headSize reads from a head's first block how large the head is; an error
// wraps wire.ErrCorrupt.
func headSize(b []byte) (int64, error) {
	le := binary.LittleEndian
	if magic := le.Uint32(b); magic != headMagic {
		return 0, fmt.Errorf("head: magic %08x, want %08x: %w", magic, uint32(headMagic), wire.ErrCorrupt)
	}
	n := int64(le.Uint32(b[8:]))
	if n < BlockBytes || n > HeadBytesMax || n%BlockBytes != 0 {
		return 0, fmt.Errorf("head: size %d: %w", n, wire.ErrCorrupt)
	}
	return n, nil
}

// decodeHead reads a whole head. The digest comes before the version, so that
// a newer release's head (wire.ErrVersion) is told apart from damage.
func decodeHead(b []byte) (*head, error) {
	if digest := headDigest(b); digest != [16]byte(b[16:32]) {
		return nil, fmt.Errorf("head: digest %x, its bytes give %x: %w", b[16:32], digest, wire.ErrCorrupt)
	}
	if b[4] < FormatVersion || b[4] > FormatStarts {
		return nil, fmt.Errorf("head: version %d, this release reads %d and %d: %w",
			b[4], FormatVersion, FormatStarts, wire.ErrVersion)
	}
	le := binary.LittleEndian
	h := &head{
		kind:         Kind(b[5]),
		role:         b[6],
		bytes:        int64(len(b)),
		term:         wire.Term(le.Uint32(b[12:])),
		cluster:      wire.ClusterID(le.Uint64(b[32:])),
		site:         wire.SiteID(le.Uint32(b[40:])),
		node:         wire.NodeID(le.Uint32(b[44:])),
		segment:      le.Uint64(b[48:]),
		generation:   le.Uint64(b[56:]),
		segmentBytes: int64(le.Uint64(b[64:])),
		first:        UnitNumber(le.Uint64(b[72:])),
		prev:         UnitNumber(le.Uint64(b[80:])),
		mark:         UnitNumber(le.Uint64(b[88:])),
	}
	logs, control, starts := int64(le.Uint32(b[96:])), int64(le.Uint32(b[100:])), int64(le.Uint32(b[104:]))
	used := HeadFixedBytes + logs*HeadLogBytes + control + starts
	switch {
	case align(used) != h.bytes:
		return nil, fmt.Errorf("head: %d logs, %d control bytes and %d bytes of STARTs in %d bytes: %w",
			logs, control, starts, h.bytes, wire.ErrProtocol)
	case h.segmentBytes < h.bytes || h.first != h.prev+1 || h.mark > h.prev:
		return nil, fmt.Errorf("head: segment of %d bytes, first unit %d after %d, mark %d: %w",
			h.segmentBytes, h.first, h.prev, h.mark, wire.ErrProtocol)
	case (b[4] == FormatStarts) != (starts > 0):
		return nil, fmt.Errorf("head: version %d with %d bytes of STARTs: %w", b[4], starts, wire.ErrProtocol)
	case h.role > roleRepair || b[7] != 0 || !allZero(b[108:HeadFixedBytes]) || !allZero(b[used:]):
		return nil, fmt.Errorf("head: reserved bytes are not zero: %w", wire.ErrProtocol)
	}
	at := int64(HeadFixedBytes)
	h.logs = make([]headLog, logs)
	for i := range h.logs {
		if err := getHeadLog(b[at:at+HeadLogBytes], &h.logs[i]); err != nil {
			return nil, err
		}
		if i > 0 && h.role == roleSegment && h.logs[i-1].log.Compare(h.logs[i].log) >= 0 {
			return nil, fmt.Errorf("head: log %s out of order: %w", h.logs[i].log, wire.ErrProtocol)
		}
		at += HeadLogBytes
	}
	h.control, h.starts = b[at:at+control], b[at+control:used]
	return h, nil
}

func getHeadLog(b []byte, row *headLog) error {
	le := binary.LittleEndian
	row.log = wire.LogID{Site: wire.SiteID(le.Uint32(b[0:])), Shard: wire.Shard(le.Uint32(b[4:]))}
	row.tail.Position.Incarnation = wire.Incarnation(b[8:24])
	row.tail.Position.Chain = wire.Chain(b[24:40])
	row.tail.Position.Seq = wire.Seq(le.Uint64(b[40:]))
	row.tail.LastStamp = wire.Stamp(le.Uint64(b[48:]))
	row.tail.LastIndex = le.Uint64(b[56:])
	flags := le.Uint32(b[64:])
	row.suspect, row.begins = flags&rowSuspect != 0, flags&rowBegins != 0
	if flags&^(rowSuspect|rowBegins) != 0 || le.Uint32(b[68:]) != 0 {
		return fmt.Errorf("head: log %s: reserved bits are not zero: %w", row.log, wire.ErrProtocol)
	}
	return nil
}

// unitHeader opens a flush unit.
type unitHeader struct {
	term       wire.Term
	count      uint32 // batches
	segment    uint64
	generation uint64
	number     UnitNumber
	offset     int64
	mark       UnitNumber // durable through here when the unit was written
	bytes      uint32     // aligned
	used       uint32     // header and batches
	cluster    wire.ClusterID
	node       wire.NodeID
	site       wire.SiteID
}

// encode fills b, UnitHeaderBytes long, all but the digest.
func (u *unitHeader) encode(b []byte) {
	clear(b)
	le := binary.LittleEndian
	le.PutUint32(b[0:], unitMagic)
	b[4] = FormatVersion
	le.PutUint32(b[24:], uint32(u.term))
	le.PutUint32(b[28:], u.count)
	le.PutUint64(b[32:], u.segment)
	le.PutUint64(b[40:], u.generation)
	le.PutUint64(b[48:], uint64(u.number))
	le.PutUint64(b[56:], uint64(u.offset))
	le.PutUint64(b[64:], uint64(u.mark))
	le.PutUint32(b[72:], u.bytes)
	le.PutUint32(b[76:], u.used)
	le.PutUint64(b[80:], uint64(u.cluster))
	le.PutUint32(b[88:], uint32(u.site))
	le.PutUint32(b[92:], uint32(u.node))
}

// decode reads the fields without judging them; b holds UnitHeaderBytes.
func (u *unitHeader) decode(b []byte) {
	le := binary.LittleEndian
	u.term = wire.Term(le.Uint32(b[24:]))
	u.count = le.Uint32(b[28:])
	u.segment = le.Uint64(b[32:])
	u.generation = le.Uint64(b[40:])
	u.number = UnitNumber(le.Uint64(b[48:]))
	u.offset = int64(le.Uint64(b[56:]))
	u.mark = UnitNumber(le.Uint64(b[64:]))
	u.bytes = le.Uint32(b[72:])
	u.used = le.Uint32(b[76:])
	u.cluster = wire.ClusterID(le.Uint64(b[80:]))
	u.site = wire.SiteID(le.Uint32(b[88:]))
	u.node = wire.NodeID(le.Uint32(b[92:]))
}

// sizesHold says whether bytes, used and count can be true together.
func (u *unitHeader) sizesHold() bool {
	return u.bytes%BlockBytes == 0 && u.bytes <= UnitBytesLimit && u.used >= UnitHeaderBytes && u.used <= u.bytes &&
		u.bytes-u.used < BlockBytes && uint64(u.count)*wire.BatchHeaderBytes <= uint64(u.used-UnitHeaderBytes)
}

// allZero is for less than len(zeros) bytes: padding, blocks.
func allZero(b []byte) bool { return bytes.Equal(b, zeros[:len(b)]) }
