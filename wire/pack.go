package wire

import "fmt"

// Codec is a frame's compression. Part of the format.
type Codec uint8

// CodecNone is the only codec of this release.
const CodecNone Codec = 0

// codecs is the one table of codecs: whether the sizes of a frame's body, as sent and
// plain, fit one another. A codec that changes bodies is called by Pack and Unpack, and
// nowhere else.
var codecs = [...]func(wire, plain uint32) bool{
	CodecNone: func(wire, plain uint32) bool { return wire == plain },
}

// checkCodec refuses a codec that this release does not know, and sizes that do not fit it.
func (e *Envelope) checkCodec() error {
	if int(e.Codec) >= len(codecs) {
		return fmt.Errorf("envelope: %s: unknown codec %d: %w", e.Kind, e.Codec, ErrProtocol)
	}
	if !codecs[e.Codec](e.WireBytes, e.PlainBytes) {
		return fmt.Errorf("envelope: %s: %d plain bytes, %d wire bytes, codec %d: %w",
			e.Kind, e.PlainBytes, e.WireBytes, e.Codec, ErrProtocol)
	}
	return nil
}

// Pack makes a frame of batches: parts[1:] are the batches, and parts[0] becomes the
// envelope, which it makes in room and returns for reuse. The caller sets Kind, Session and
// Number of e; Pack sets the rest. Nothing else packs batches into the frames that a
// session sends.
func Pack(e *Envelope, room []byte, parts [][]byte) []byte {
	e.BatchCount, e.WireBytes = uint16(len(parts)-1), 0
	for _, part := range parts[1:] {
		e.WireBytes += uint32(len(part))
	}
	parts[0] = AppendBatchesEnvelope(room[:0], e)
	return parts[0]
}

// AppendBatchesEnvelope appends the envelope of a frame that carries batches
// (FrameBatches, FrameFetched); their bytes follow it on the link, unchanged.
// The caller sets Kind, BatchCount, WireBytes, Session and Number, which must
// be allowed by FORMAT.md; the call fills the rest of e.
func AppendBatchesEnvelope(dst []byte, e *Envelope) []byte {
	e.Flags, e.Codec, e.ExtBytes, e.PlainBytes = 0, CodecNone, 0, e.WireBytes
	at := len(dst)
	dst = appendEnvelope(dst, e)
	return sealFrame(dst, at, len(dst))
}

// Unpack appends one BatchRef per batch of a checked frame: see SplitBatches.
func Unpack(e *Envelope, frame []byte, refs []BatchRef) ([]BatchRef, error) {
	return SplitBatches(Body(e, frame), int(e.BatchCount), refs)
}

// BatchRef is one batch where it lies: the decoded header and its bytes,
// header included. The bytes are borrowed from whoever handed it out.
type BatchRef struct {
	Header BatchHeader
	Bytes  []byte
}

// Body returns the batch's body.
func (b *BatchRef) Body() []byte { return b.Bytes[BatchHeaderBytes:] }

// SplitBatches appends one BatchRef per batch of body. Each header is decoded
// and checked, each body digest verified; sizes must add up exactly and count
// must agree. It allocates only when refs must grow. After an error it returns
// refs as they came. Bodies are not walked: CheckBody and EntryReader do.
func SplitBatches(body []byte, count int, refs []BatchRef) ([]BatchRef, error) {
	kept := refs
	at := 0
	for i := range count {
		refs = append(refs, BatchRef{})
		ref := &refs[len(refs)-1]
		if err := ref.read(body[at:]); err != nil {
			return kept, fmt.Errorf("batch %d of %d at body offset %d: %w", i+1, count, at, err)
		}
		at += len(ref.Bytes)
	}
	if at != len(body) {
		return kept, fmt.Errorf("%d bytes behind %d batches: %w", len(body)-at, count, ErrProtocol)
	}
	return refs, nil
}

// read takes the batch at the start of b.
func (b *BatchRef) read(bytes []byte) error {
	if err := DecodeBatchHeader(bytes, &b.Header); err != nil {
		return err
	}
	size := b.Header.Bytes()
	if size > len(bytes) {
		return fmt.Errorf("log %s seq %d: %d bytes, %d are left: %w",
			b.Header.Log(), b.Header.FirstSeq, size, len(bytes), ErrCorrupt)
	}
	b.Bytes = bytes[:size:size]
	return VerifyBody(&b.Header, b.Body())
}
