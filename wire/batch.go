package wire

import (
	"encoding/binary"
	"fmt"

	"github.com/zeebo/xxh3"
)

// Sizes and limits of the format. Part of the format, never reuse.
const (
	BatchMagic             uint32 = 0x42534643 // the bytes "CFSB"
	BatchHeaderBytes              = 160
	BatchBytesMax                 = 1<<20 + 64<<10 // header included
	MarkerBytesMax                = 1024           // of a marker's own bytes, behind its kind
	EntryHeaderBytes              = 22             // without the 2-byte length of each key
	EntryBytesMin                 = EntryHeaderBytes + 2 + 1
	EntryKeyCountMax              = 8
	EntryKeyBytesMax              = 512
	EntryPayloadBytesMax          = 1 << 20
	EntryExtensionBytesMax        = 4096
	Version                       = 1
)

// DigestXXH3 is the only digest kind of this release: XXH3-128, seed 0, in its
// canonical (big-endian) form. Part of the format.
const DigestXXH3 uint8 = 1

// FlagBaseVector is the header flag of a body that begins with the context's
// base vector. Part of the format.
const FlagBaseVector uint8 = 1 << 0

// BatchKind tells what a batch's body holds. Part of the format.
type BatchKind uint8

const (
	BatchData    BatchKind = 1 // entries of the host
	BatchStart   BatchKind = 2 // opens an incarnation or epoch; names the ends it follows; count 1
	BatchMarker  BatchKind = 3 // a point in the log with a meaning for the control layer; count 1
	BatchControl BatchKind = 4 // the node's small durable state; never shipped; count 1
)

// BatchHeader is the decoded form of the 160 bytes that open a batch.
type BatchHeader struct {
	Kind        BatchKind
	DigestKind  uint8 // DigestXXH3
	Flags       uint8 // FlagBaseVector
	Chain       Chain
	Prev        Chain
	BodyDigest  Digest
	Incarnation Incarnation
	Cluster     ClusterID
	Site        SiteID
	Node        NodeID
	Shard       Shard
	Domain      Domain
	Epoch       Epoch
	Count       uint32
	BodyBytes   uint32
	FirstSeq    Seq
	FirstStamp  Stamp
	LastStamp   Stamp
	LastIndex   uint64 // the host's own log index of the last entry; 0 = none
	Schema      uint16 // payload schema, the host's
}

// Log returns the log that the batch belongs to.
func (h *BatchHeader) Log() LogID { return LogID{h.Site, h.Shard} }

// LastSeq returns the seq of the last entry.
func (h *BatchHeader) LastSeq() Seq { return h.FirstSeq + Seq(h.Count) - 1 }

// End returns the position behind the batch.
func (h *BatchHeader) End() Position { return Position{h.Incarnation, h.LastSeq(), h.Chain} }

// Bytes returns the size of the whole batch, header included.
func (h *BatchHeader) Bytes() int { return BatchHeaderBytes + int(h.BodyBytes) }

// CloseBatch finishes a batch in place: b is header room (BatchHeaderBytes)
// followed by the body. It fills DigestKind, BodyBytes, BodyDigest and Chain of
// h, then encodes h into b. It never allocates. A batch over BatchBytesMax is
// the caller's mistake and panics; the other fields are what Check says.
func CloseBatch(b []byte, h *BatchHeader) {
	if len(b) < BatchHeaderBytes || len(b) > BatchBytesMax {
		panic(fmt.Sprintf("wire: closing a batch of %d bytes, allowed %d to %d", len(b), BatchHeaderBytes,
			BatchBytesMax))
	}
	body := b[BatchHeaderBytes:]
	h.DigestKind = DigestXXH3
	h.BodyBytes = uint32(len(body))
	h.BodyDigest = Digest(xxh3.Hash128(body).Bytes())
	putBatchHeader(b, h)
	h.Chain = chainOf(b)
	copy(b[8:24], h.Chain[:])
}

// putBatchHeader encodes every field of h, the chain as it stands.
func putBatchHeader(b []byte, h *BatchHeader) {
	b = b[:BatchHeaderBytes]
	le := binary.LittleEndian
	le.PutUint32(b[0:], BatchMagic)
	b[4] = Version
	b[5] = uint8(h.Kind)
	b[6] = h.DigestKind
	b[7] = h.Flags
	copy(b[8:24], h.Chain[:])
	copy(b[24:40], h.Prev[:])
	copy(b[40:56], h.BodyDigest[:])
	copy(b[56:72], h.Incarnation[:])
	le.PutUint64(b[72:], uint64(h.Cluster))
	le.PutUint32(b[80:], uint32(h.Site))
	le.PutUint32(b[84:], uint32(h.Node))
	le.PutUint32(b[88:], uint32(h.Shard))
	le.PutUint32(b[92:], uint32(h.Domain))
	le.PutUint64(b[96:], uint64(h.Epoch))
	le.PutUint32(b[104:], h.Count)
	le.PutUint32(b[108:], h.BodyBytes)
	le.PutUint64(b[112:], uint64(h.FirstSeq))
	le.PutUint64(b[120:], uint64(h.FirstStamp))
	le.PutUint64(b[128:], uint64(h.LastStamp))
	le.PutUint64(b[136:], h.LastIndex)
	le.PutUint16(b[144:], h.Schema)
	clear(b[146:160])
}

// chainOf hashes the header at the start of b with its chain field taken as
// zero. The field of the batch before is inside, which makes it a chain.
func chainOf(b []byte) Chain {
	var header [BatchHeaderBytes]byte
	copy(header[:], b)
	clear(header[8:24])
	return Chain(xxh3.Hash128(header[:]).Bytes())
}

// DecodeBatchHeader reads the header at the start of b into h and checks, in
// this order: length, magic, version, chain (the header's own checksum), then
// every field against FORMAT.md. It does not touch the body and never
// allocates unless it fails. After an error h is undefined.
func DecodeBatchHeader(b []byte, h *BatchHeader) error {
	if len(b) < BatchHeaderBytes {
		return fmt.Errorf("batch header: %d bytes, want %d: %w", len(b), BatchHeaderBytes, ErrCorrupt)
	}
	le := binary.LittleEndian
	if magic := le.Uint32(b); magic != BatchMagic {
		return fmt.Errorf("batch header: magic %08x at offset 0, want %08x: %w", magic, BatchMagic, ErrCorrupt)
	}
	if b[4] > Version {
		return fmt.Errorf("batch header: version %d at offset 4, this release reads %d: %w", b[4], Version, ErrVersion)
	}
	if b[4] == 0 {
		return fmt.Errorf("batch header: version 0 at offset 4: %w", ErrProtocol)
	}
	h.Chain = Chain(b[8:24])
	if chain := chainOf(b); chain != h.Chain {
		return fmt.Errorf("batch header: chain %s at offset 8, the header gives %s: %w", h.Chain, chain, ErrCorrupt)
	}
	h.Kind = BatchKind(b[5])
	h.DigestKind = b[6]
	h.Flags = b[7]
	h.Prev = Chain(b[24:40])
	h.BodyDigest = Digest(b[40:56])
	h.Incarnation = Incarnation(b[56:72])
	h.Cluster = ClusterID(le.Uint64(b[72:]))
	h.Site = SiteID(le.Uint32(b[80:]))
	h.Node = NodeID(le.Uint32(b[84:]))
	h.Shard = Shard(le.Uint32(b[88:]))
	h.Domain = Domain(le.Uint32(b[92:]))
	h.Epoch = Epoch(le.Uint64(b[96:]))
	h.Count = le.Uint32(b[104:])
	h.BodyBytes = le.Uint32(b[108:])
	h.FirstSeq = Seq(le.Uint64(b[112:]))
	h.FirstStamp = Stamp(le.Uint64(b[120:]))
	h.LastStamp = Stamp(le.Uint64(b[128:]))
	h.LastIndex = le.Uint64(b[136:])
	h.Schema = le.Uint16(b[144:])
	for i, v := range b[146:160] {
		if v != 0 {
			return fmt.Errorf("batch header: reserved byte %02x at offset %d: %w", v, 146+i, ErrProtocol)
		}
	}
	return h.Check()
}

// Check says whether the fields of h are allowed by FORMAT.md: what
// DecodeBatchHeader checks behind the chain, and what a writer may ask before
// it closes a batch.
func (h *BatchHeader) Check() error {
	switch {
	case h.Kind < BatchData || h.Kind > BatchControl:
		return fmt.Errorf("batch header: unknown kind %d: %w", uint8(h.Kind), ErrProtocol)
	case h.DigestKind != DigestXXH3:
		return fmt.Errorf("batch header: unknown digest kind %d: %w", h.DigestKind, ErrProtocol)
	case h.Flags&^FlagBaseVector != 0:
		return fmt.Errorf("batch header: reserved flags %02x: %w", h.Flags, ErrProtocol)
	case h.Flags&FlagBaseVector != 0 && (h.Kind != BatchData || h.Domain == 0):
		return fmt.Errorf("batch header: base vector in a %s batch of domain %d: %w", h.Kind, h.Domain, ErrProtocol)
	case h.Incarnation == Incarnation{}:
		return fmt.Errorf("batch header: incarnation is zero: %w", ErrProtocol)
	case h.Cluster == 0:
		return fmt.Errorf("batch header: cluster is zero: %w", ErrProtocol)
	case h.Site == 0:
		return fmt.Errorf("batch header: site is zero: %w", ErrProtocol)
	case h.Epoch == 0:
		return fmt.Errorf("batch header: epoch is zero: %w", ErrProtocol)
	case (h.Shard == ShardControl) != (h.Kind == BatchControl):
		return fmt.Errorf("batch header: shard %d in a %s batch: %w", h.Shard, h.Kind, ErrProtocol)
	case h.Shard >= ShardCountMax && h.Shard != ShardControl:
		return fmt.Errorf("batch header: shard %d, limit %d: %w", h.Shard, ShardCountMax, ErrProtocol)
	case h.Domain != 0 && h.Domain != Domain(h.Site):
		return fmt.Errorf("batch header: domain %08x of site %08x: %w", uint32(h.Domain), uint32(h.Site), ErrProtocol)
	}
	if err := h.checkCounts(); err != nil {
		return fmt.Errorf("batch header: log %s seq %d: %w", h.Log(), h.FirstSeq, err)
	}
	return nil
}

// checkCounts checks count, seqs, sizes and stamps against each other.
func (h *BatchHeader) checkCounts() error {
	size := uint64(h.BodyBytes)
	sizeMin, sizeMax := h.bodyBytesRange()
	spread := uint64(h.LastStamp - h.FirstStamp)
	switch {
	case h.Count == 0:
		return fmt.Errorf("count is zero: %w", ErrProtocol)
	case h.Count != 1 && h.Kind != BatchData:
		return fmt.Errorf("count %d in a %s batch, want 1: %w", h.Count, h.Kind, ErrProtocol)
	case h.FirstSeq == 0:
		return fmt.Errorf("first seq is zero: %w", ErrProtocol)
	case h.LastSeq() < h.FirstSeq:
		return fmt.Errorf("count %d overflows the seq: %w", h.Count, ErrProtocol)
	case (h.FirstSeq == 1) != (h.Prev == Chain{}):
		return fmt.Errorf("previous chain %s, zero belongs to seq 1 only: %w", h.Prev, ErrProtocol)
	case size > sizeMax:
		return fmt.Errorf("body of %d bytes, limit %d: %w", size, sizeMax, ErrProtocol)
	case size < sizeMin:
		return fmt.Errorf("body of %d bytes, %d entries take at least %d: %w", size, h.Count, sizeMin, ErrProtocol)
	case h.LastStamp < h.FirstStamp:
		return fmt.Errorf("last stamp %d before first stamp %d: %w", h.LastStamp, h.FirstStamp, ErrProtocol)
	case !StampFits(h.FirstStamp, h.LastStamp):
		return fmt.Errorf("last stamp %d is 2^32 or more behind first stamp %d: %w", h.LastStamp, h.FirstStamp,
			ErrProtocol)
	case spread < uint64(h.Count)-1 || h.Count == 1 && spread != 0:
		return fmt.Errorf("stamps from %d to %d cannot hold %d rising ones: %w",
			h.FirstStamp, h.LastStamp, h.Count, ErrProtocol)
	}
	return nil
}

// bodyBytesRange returns the sizes a body of this kind and count may have,
// both ends included.
func (h *BatchHeader) bodyBytesRange() (sizeMin, sizeMax uint64) {
	sizeMax = BatchBytesMax - BatchHeaderBytes
	switch h.Kind {
	case BatchStart:
		return startCountBytes, sizeMax
	case BatchMarker:
		return markerKindBytes, markerKindBytes + MarkerBytesMax
	case BatchControl:
		return 0, sizeMax
	}
	sizeMin = uint64(h.Count) * EntryBytesMin
	if h.Flags&FlagBaseVector != 0 {
		sizeMin += baseCountBytes + baseRowBytes
	}
	return sizeMin, sizeMax
}

// VerifyBody compares the digest of body, which must be h.BodyBytes long.
func VerifyBody(h *BatchHeader, body []byte) error {
	if len(body) != int(h.BodyBytes) {
		return fmt.Errorf("batch body: log %s seq %d: %d bytes, the header says %d: %w",
			h.Log(), h.FirstSeq, len(body), h.BodyBytes, ErrCorrupt)
	}
	if digest := Digest(xxh3.Hash128(body).Bytes()); digest != h.BodyDigest {
		return fmt.Errorf("batch body: log %s seq %d: digest %x, the header says %x: %w",
			h.Log(), h.FirstSeq, digest, h.BodyDigest, ErrCorrupt)
	}
	return nil
}
