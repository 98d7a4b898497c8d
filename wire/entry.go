package wire

// Op is the kind of an operation. The host defines the values; 0 is invalid.
type Op uint16

// Entry is one operation. As an argument its slices stay the caller's; as a
// result they are borrowed from the batch and valid as long as it is, Keys
// until the reader's next step.
type Entry struct {
	Op      Op
	UID     uint32
	GID     uint32
	Seq     Seq       // result only
	Stamp   Stamp     // result only
	Keys    [][]byte  // 1–8 units of conflict, 1–512 bytes each
	Payload []byte    // ≤ 1 MiB
	Request RequestID // extension "request id", ignorable; zero = absent
	// Extensions holds further extensions, encoded, in rising order of type.
	// Unknown "ignore" extensions are kept here; an unknown "must understand"
	// one makes EntryReader.Next report it in MustUnderstand.
	Extensions []byte
	// MustUnderstand is the type of the first extension this release must
	// understand but does not, or 0. The batch is mirrored and acknowledged all
	// the same; the applier of its log stops. Result only.
	MustUnderstand uint16
}

// EntryBytes returns how many bytes AppendEntry will add for e.
func EntryBytes(e *Entry) int { panic("unwritten") }

// CheckEntry says whether e may be appended: key count and sizes, payload
// size, op, extensions.
func CheckEntry(e *Entry) error { panic("unwritten") }

// AppendEntry encodes e with its stamp behind dst. base is the batch's first
// stamp; stamp - base must fit 32 bits (about one second), see StampFits. e has
// passed CheckEntry. It allocates only when dst must grow.
func AppendEntry(dst []byte, base, stamp Stamp, e *Entry) []byte { panic("unwritten") }

// StampFits says whether an entry stamped s may join a batch that began at
// base.
func StampFits(base, s Stamp) bool { return s >= base && s-base < 1<<32 }

// EntryReader walks the entries of a data batch without allocating. The body
// has passed VerifyBody; CheckBody is not needed before it, since Next checks
// what it reads.
//
//	var r EntryReader
//	r.Reset(&h, body)
//	for r.Next(&e) { … }
//	if r.Err() != nil { … }
type EntryReader struct {
	// unexported fields: rest of body, seq, base stamp, count left,
	// keys [EntryKeyCountMax][]byte, err
	keys [EntryKeyCountMax][]byte
}

// Reset points r at the body of a data batch.
func (r *EntryReader) Reset(h *BatchHeader, body []byte) { panic("unwritten") }

// Next reads the next entry into e.
func (r *EntryReader) Next(e *Entry) bool { panic("unwritten") }

// Err returns why Next stopped, or nil at the end of the batch.
func (r *EntryReader) Err() error { panic("unwritten") }
