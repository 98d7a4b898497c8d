package wire

import (
	"encoding/binary"
	"fmt"
	"slices"
)

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
func EntryBytes(e *Entry) int {
	n := EntryHeaderBytes + e.extensionBytes() + len(e.Payload)
	for _, key := range e.Keys {
		n += 2 + len(key)
	}
	return n
}

// extensionBytes counts the request id, which AppendEntry encodes itself.
func (e *Entry) extensionBytes() int {
	if e.Request == (RequestID{}) {
		return len(e.Extensions)
	}
	return extRequestBytes + len(e.Extensions)
}

// CheckEntry says whether e may be appended: key count and sizes, payload and
// extension sizes (ErrLimit), op and the form of the extensions (ErrProtocol).
func CheckEntry(e *Entry) error {
	if e.Op == 0 {
		return fmt.Errorf("entry: op is zero: %w", ErrProtocol)
	}
	if n := len(e.Keys); n < 1 || n > EntryKeyCountMax {
		return fmt.Errorf("entry: %d keys, allowed 1 to %d: %w", n, EntryKeyCountMax, ErrLimit)
	}
	for i, key := range e.Keys {
		if n := len(key); n < 1 || n > EntryKeyBytesMax {
			return fmt.Errorf("entry: key %d of %d bytes, allowed 1 to %d: %w", i, n, EntryKeyBytesMax, ErrLimit)
		}
	}
	if n := len(e.Payload); n > EntryPayloadBytesMax {
		return fmt.Errorf("entry: payload of %d bytes, limit %d: %w", n, EntryPayloadBytesMax, ErrLimit)
	}
	if n := e.extensionBytes(); n > EntryExtensionBytesMax {
		return fmt.Errorf("entry: extensions of %d bytes, limit %d: %w", n, EntryExtensionBytesMax, ErrLimit)
	}
	if len(e.Extensions) == 0 {
		return nil
	}
	x, err := walkExtensions(e.Extensions)
	if err != nil {
		return fmt.Errorf("entry: %w", err)
	}
	if x.requestBytes != 0 {
		return fmt.Errorf("entry: extension %04x belongs in the field Request: %w", ExtRequest, ErrProtocol)
	}
	return nil
}

// AppendEntry encodes e with its stamp behind dst. base is the batch's first
// stamp; stamp - base must fit 32 bits (about one second), see StampFits. e has
// passed CheckEntry. It allocates only when dst must grow.
func AppendEntry(dst []byte, base, stamp Stamp, e *Entry) []byte {
	dst = slices.Grow(dst, EntryBytes(e))
	return append(AppendEntryHead(dst, base, stamp, e, len(e.Payload)), e.Payload...)
}

// AppendEntryHead is AppendEntry up to where the payload begins: the caller puts
// payloadBytes there. e.Payload is not looked at.
func AppendEntryHead(dst []byte, base, stamp Stamp, e *Entry, payloadBytes int) []byte {
	at := len(dst)
	dst = slices.Grow(dst, EntryHeaderBytes)[:at+EntryHeaderBytes]
	b := dst[at:]
	le := binary.LittleEndian
	le.PutUint32(b[0:], uint32(stamp-base))
	le.PutUint32(b[4:], e.UID)
	le.PutUint32(b[8:], e.GID)
	le.PutUint32(b[12:], uint32(payloadBytes))
	le.PutUint16(b[16:], uint16(e.Op))
	le.PutUint16(b[18:], uint16(e.extensionBytes()))
	b[20] = uint8(len(e.Keys))
	b[21] = 0
	for _, key := range e.Keys {
		dst = le.AppendUint16(dst, uint16(len(key)))
	}
	for _, key := range e.Keys {
		dst = append(dst, key...)
	}
	if e.Request != (RequestID{}) {
		dst = le.AppendUint16(dst, ExtRequest)
		dst = le.AppendUint16(dst, uint16(len(e.Request)))
		dst = append(dst, e.Request[:]...)
	}
	return append(dst, e.Extensions...)
}

// StampFits says whether an entry stamped s may join a batch that began at
// base.
func StampFits(base, s Stamp) bool { return s >= base && s-base < 1<<32 }

// EntryReader walks the entries of a data batch without allocating. The body
// has passed VerifyBody; CheckBody is not needed before it, since Next checks
// what it reads. A reader that lives on the heap and is Reset from batch to
// batch costs nothing; each one declared in a function is one allocation,
// because Entry.Keys points into it.
//
//	var r EntryReader
//	r.Reset(&h, body)
//	for r.Next(&e) { … }
//	if r.Err() != nil { … }
type EntryReader struct {
	walk entryWalk
	keys [EntryKeyCountMax][]byte
}

// Reset points r at the body of a data batch.
func (r *EntryReader) Reset(h *BatchHeader, body []byte) { r.walk.reset(h, body) }

// Next reads the next entry into e.
func (r *EntryReader) Next(e *Entry) bool {
	var v entryView
	if !r.walk.next(&v) {
		return false
	}
	keys := v.keys
	for i := range v.keyCount {
		n := int(binary.LittleEndian.Uint16(v.keySizes[2*i:]))
		r.keys[i] = keys[:n:n]
		keys = keys[n:]
	}
	*e = Entry{
		Op:             v.op,
		UID:            v.uid,
		GID:            v.gid,
		Seq:            v.seq,
		Stamp:          v.stamp,
		Keys:           r.keys[:v.keyCount:v.keyCount],
		Payload:        v.payload,
		Request:        v.request,
		Extensions:     v.extensions,
		MustUnderstand: v.must,
	}
	return true
}

// Err returns why Next stopped, or nil at the end of the batch.
func (r *EntryReader) Err() error { return r.walk.err }
