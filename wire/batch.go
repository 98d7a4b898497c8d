package wire

// Sizes and limits of the format. Part of the format, never reuse.
const (
	BatchHeaderBytes       = 160
	EntryHeaderBytes       = 22 // without the 2-byte length of each key
	EntryKeyCountMax       = 8
	EntryKeyBytesMax       = 512
	EntryPayloadBytesMax   = 1 << 20
	EntryExtensionBytesMax = 4096
	BatchBytesMax          = 1<<20 + 64<<10 // header included
	Version                = 1
)

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
	DigestKind  uint8 // 1 = XXH3-128
	Flags       uint8 // bit 0: the body begins with the context's base vector
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
// followed by the body. It fills BodyBytes, BodyDigest and Chain of h, then
// encodes h into b. It never allocates.
func CloseBatch(b []byte, h *BatchHeader) { panic("unwritten") }

// DecodeBatchHeader reads the header at the start of b into h and checks, in
// this order: length, magic, version, chain (the header's own checksum), then
// every field against FORMAT.md. It does not touch the body and never
// allocates unless it fails.
func DecodeBatchHeader(b []byte, h *BatchHeader) error { panic("unwritten") }

// VerifyBody compares the digest of body, which must be h.BodyBytes long.
func VerifyBody(h *BatchHeader, body []byte) error { panic("unwritten") }

// CheckBody walks the whole body and refuses everything FORMAT.md does not
// allow for a batch of this kind. It never allocates unless it fails.
func CheckBody(h *BatchHeader, body []byte) error { panic("unwritten") }

// LogEnd is one row of a START batch's body: where an older log of the shard
// ended.
type LogEnd struct {
	Log LogID
	End Position
}

// AppendStart appends the body of a START batch. ends must be sorted by log,
// then incarnation.
func AppendStart(dst []byte, ends []LogEnd) ([]byte, error) { panic("unwritten") }

// DecodeStart appends the rows of a START body to ends.
func DecodeStart(body []byte, ends []LogEnd) ([]LogEnd, error) { panic("unwritten") }
