package wire

// FrameKind tells what a frame carries. Part of the format, never reuse.
type FrameKind uint8

const (
	FrameHello         FrameKind = 1  // source → receiver: who dials, what it speaks
	FrameWelcome       FrameKind = 2  // receiver → source: accepted
	FrameRefusal       FrameKind = 3  // either: the session ends, with code and text
	FrameBatches       FrameKind = 4  // source → receiver: 1…n whole batches, numbered from 1
	FrameAck           FrameKind = 5  // receiver → source: highest frame at a level
	FrameBatchRefusal  FrameKind = 6  // receiver → source: one log is out, with reason
	FrameCursorPage    FrameKind = 7  // receiver → source: positions of changed logs
	FrameHeartbeat     FrameKind = 8  // source → receiver: clock and last stamp
	FrameHeartbeatEcho FrameKind = 9  // receiver → source
	FrameFetch         FrameKind = 10 // either: asks for (log, from, to, chain)
	FrameFetched       FrameKind = 11 // answer: whole batches of that log, in order; frame number = the fetch's id
	FrameFetchEnd      FrameKind = 12 // answer: no more; code 0, or why not
)

const (
	EnvelopeBytes   = 32
	FrameBytesMax   = 4 << 20 // envelope, extensions and body
	ControlBytesMax = 1 << 20 // body of a control frame
)

// Codec is a frame's compression. Part of the format.
type Codec uint8

// CodecNone is the only codec of this release.
const CodecNone Codec = 0

// Envelope is the decoded form of the 32 bytes that open a frame.
type Envelope struct {
	Kind       FrameKind
	Flags      uint16
	Codec      Codec
	ExtBytes   uint8
	BatchCount uint16
	WireBytes  uint32 // of the body as sent
	PlainBytes uint32 // of the body, uncompressed
	Session    uint32 // the dialer's session counter; 0 in a hello
	Number     uint64 // of batch frames, from 1 per direction; fetch id; else 0
}

// FrameBytes returns the size of the whole frame.
func (e *Envelope) FrameBytes() int { return EnvelopeBytes + int(e.ExtBytes) + int(e.WireBytes) }

// AppendBatchesEnvelope appends the envelope of a frame that carries batches
// (FrameBatches, FrameFetched); their bytes follow it on the link, unchanged.
func AppendBatchesEnvelope(dst []byte, e *Envelope) []byte { panic("unwritten") }

// DecodeEnvelope reads the envelope at the start of b and checks everything
// that can be checked without the rest: kind, version, reserved bits, sizes
// against the limits. Newer versions are told apart from damage (ErrVersion).
func DecodeEnvelope(b []byte, e *Envelope) error { panic("unwritten") }

// CheckFrame verifies the CRC32C of a whole frame (envelope, extensions, and
// the body of a control frame) and walks the extensions. frame is exactly
// e.FrameBytes() long.
func CheckFrame(e *Envelope, frame []byte) error { panic("unwritten") }

// Body returns the body of a checked frame.
func Body(e *Envelope, frame []byte) []byte { return frame[EnvelopeBytes+int(e.ExtBytes):] }

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
// must agree. It allocates only when refs must grow.
func SplitBatches(body []byte, count int, refs []BatchRef) ([]BatchRef, error) { panic("unwritten") }
