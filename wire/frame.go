package wire

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

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
	FrameJoin          FrameKind = 13 // source → receiver, first on a connection that is one of several of a link
	FrameVerify        FrameKind = 14 // either: asks for what both sites must have in common
	FrameVerified      FrameKind = 15 // answer
	FrameMend          FrameKind = 18 // either: asks for what makes a shard equal to the other site's
	FrameRows          FrameKind = 19 // answer
)

// frameKinds is the one table of frames. A kind without a name is not one.
var frameKinds = [...]struct {
	name     string
	batches  bool           // its body is batches; else a control message
	opens    bool           // it comes before there is a session
	numbered bool           // it carries a number: of a batch frame, or its fetch's id
	message  func() Message // nil: batches
}{
	FrameHello:         {name: "hello", opens: true, message: newMessage[Hello]},
	FrameWelcome:       {name: "welcome", message: newMessage[Welcome]},
	FrameRefusal:       {name: "refusal", message: newMessage[Refusal]},
	FrameBatches:       {name: "batches", batches: true, numbered: true},
	FrameAck:           {name: "ack", message: newMessage[Ack]},
	FrameBatchRefusal:  {name: "batch refusal", message: newMessage[BatchRefusal]},
	FrameCursorPage:    {name: "cursor page", message: newMessage[CursorPage]},
	FrameHeartbeat:     {name: "heartbeat", message: newMessage[Heartbeat]},
	FrameHeartbeatEcho: {name: "heartbeat echo", message: newMessage[HeartbeatEcho]},
	FrameFetch:         {name: "fetch", numbered: true, message: newMessage[Fetch]},
	FrameFetched:       {name: "fetched", batches: true, numbered: true},
	FrameFetchEnd:      {name: "fetch end", numbered: true, message: newMessage[FetchEnd]},
	FrameJoin:          {name: "join", opens: true, message: newMessage[Join]},
	FrameVerify:        {name: "verify", message: newMessage[Verify]},
	FrameVerified:      {name: "verified", message: newMessage[Verified]},
	FrameMend:          {name: "mend", message: newMessage[Mend]},
	FrameRows:          {name: "rows", message: newMessage[Rows]},
}

// newMessage makes an empty control message.
func newMessage[T any, P interface {
	*T
	Message
}]() Message {
	return P(new(T))
}

// known tells the kinds of this release.
func (k FrameKind) known() bool { return int(k) < len(frameKinds) && frameKinds[k].name != "" }

func (k FrameKind) String() string {
	if !k.known() {
		return fmt.Sprintf("frame kind %d", uint8(k))
	}
	return frameKinds[k].name
}

// NewMessage returns an empty message of that kind; nil if its frames carry batches, or
// there is no such kind.
func NewMessage(k FrameKind) Message {
	if !k.known() || frameKinds[k].message == nil {
		return nil
	}
	return frameKinds[k].message()
}

const (
	EnvelopeBytes   = 32
	FrameBytesMax   = 4 << 20 // envelope, extensions and body
	ControlBytesMax = 1 << 20 // body of a control frame

	// ShippedBytesMin is the smallest batch that a frame may carry: a START
	// batch that names no ends.
	ShippedBytesMin = BatchHeaderBytes + startCountBytes
)

// castagnoli is the table of CRC32C.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// crcRoom stands for the CRC field while its value is computed. It is not a
// variable of frameCRC because crc32 would move it to the heap.
var crcRoom = make([]byte, 4)

// Envelope is the decoded form of the 32 bytes that open a frame.
type Envelope struct {
	Kind       FrameKind
	Flags      uint16
	Codec      Codec
	ExtBytes   uint8
	BatchCount uint16
	WireBytes  uint32 // of the body as sent
	PlainBytes uint32 // of the body, uncompressed
	Session    uint32 // the dialer's session counter; 0 in a hello and a join
	Number     uint64 // of batch frames, from 1 per direction; fetch id; else 0

	// Stopped is how many logs the source leaves out of the session, as an extension of its
	// heartbeats tells. CheckFrame fills it; it is not encoded from here.
	Stopped uint32
}

// FrameBytes returns the size of the whole frame.
func (e *Envelope) FrameBytes() int { return EnvelopeBytes + int(e.ExtBytes) + int(e.WireBytes) }

// carriesBatches tells the frames whose body is batches from control frames.
func (k FrameKind) carriesBatches() bool { return k.known() && frameKinds[k].batches }

// appendEnvelope appends the 32 bytes with a zero CRC.
func appendEnvelope(dst []byte, e *Envelope) []byte {
	var b [EnvelopeBytes]byte
	le := binary.LittleEndian
	b[0] = uint8(e.Kind)
	b[1] = Version
	le.PutUint16(b[2:], e.Flags)
	b[4] = uint8(e.Codec)
	b[5] = e.ExtBytes
	le.PutUint16(b[6:], e.BatchCount)
	le.PutUint32(b[8:], e.WireBytes)
	le.PutUint32(b[12:], e.PlainBytes)
	le.PutUint32(b[16:], e.Session)
	le.PutUint64(b[20:], e.Number)
	return append(dst, b[:]...)
}

// sealFrame writes the CRC of the frame that begins at lo of b; hi is the end
// of what the CRC covers.
func sealFrame(b []byte, lo, hi int) []byte {
	binary.LittleEndian.PutUint32(b[lo+28:], frameCRC(b[lo:hi]))
	return b
}

// frameCRC is the CRC32C over b with its CRC field taken as zero.
func frameCRC(b []byte) uint32 {
	crc := crc32.Update(0, castagnoli, b[:28])
	crc = crc32.Update(crc, castagnoli, crcRoom)
	return crc32.Update(crc, castagnoli, b[EnvelopeBytes:])
}

// DecodeEnvelope reads the envelope at the start of b and checks everything
// that can be checked without the rest: kind, version, reserved bits, sizes
// against the limits. A newer version is not damage (ErrVersion).
// The CRC is CheckFrame's, so ErrProtocol from here may be damage as well.
func DecodeEnvelope(b []byte, e *Envelope) error {
	if len(b) < EnvelopeBytes {
		return fmt.Errorf("envelope: %d bytes, want %d: %w", len(b), EnvelopeBytes, ErrCorrupt)
	}
	if b[1] > Version {
		return fmt.Errorf("envelope: version %d at offset 1, this release reads %d: %w", b[1], Version, ErrVersion)
	}
	if b[1] == 0 {
		return fmt.Errorf("envelope: version 0 at offset 1: %w", ErrProtocol)
	}
	le := binary.LittleEndian
	*e = Envelope{
		Kind:       FrameKind(b[0]),
		Flags:      le.Uint16(b[2:]),
		Codec:      Codec(b[4]),
		ExtBytes:   b[5],
		BatchCount: le.Uint16(b[6:]),
		WireBytes:  le.Uint32(b[8:]),
		PlainBytes: le.Uint32(b[12:]),
		Session:    le.Uint32(b[16:]),
		Number:     le.Uint64(b[20:]),
	}
	return e.check()
}

// check refuses what FORMAT.md does not allow in an envelope.
func (e *Envelope) check() error {
	if !e.Kind.known() {
		return fmt.Errorf("envelope: unknown kind %d: %w", uint8(e.Kind), ErrProtocol)
	}
	if e.Flags != 0 {
		return fmt.Errorf("envelope: %s: reserved flags %04x: %w", e.Kind, e.Flags, ErrProtocol)
	}
	if err := e.checkCodec(); err != nil {
		return err
	}
	kind := &frameKinds[e.Kind]
	switch {
	case kind.opens && e.Session != 0:
		return fmt.Errorf("envelope: %s: session %d, want 0: %w", e.Kind, e.Session, ErrProtocol)
	case e.Session == 0 && !kind.opens && e.Kind != FrameRefusal:
		return fmt.Errorf("envelope: %s: session is zero: %w", e.Kind, ErrProtocol)
	case kind.numbered != (e.Number != 0):
		return fmt.Errorf("envelope: %s: number %d: %w", e.Kind, e.Number, ErrProtocol)
	case !kind.batches && e.BatchCount != 0:
		return fmt.Errorf("envelope: %s: batch count %d, want 0: %w", e.Kind, e.BatchCount, ErrProtocol)
	case !kind.batches && e.WireBytes > ControlBytesMax:
		return fmt.Errorf("envelope: %s: body of %d bytes, limit %d: %w", e.Kind, e.WireBytes, ControlBytesMax,
			ErrProtocol)
	case kind.batches && e.BatchCount == 0:
		return fmt.Errorf("envelope: %s: batch count is zero: %w", e.Kind, ErrProtocol)
	case kind.batches && e.WireBytes < uint32(e.BatchCount)*ShippedBytesMin:
		return fmt.Errorf("envelope: %s: body of %d bytes, %d batches take at least %d: %w",
			e.Kind, e.WireBytes, e.BatchCount, uint32(e.BatchCount)*ShippedBytesMin, ErrProtocol)
	case uint64(e.WireBytes) > FrameBytesMax-EnvelopeBytes-uint64(e.ExtBytes):
		return fmt.Errorf("envelope: %s: body of %d bytes, the frame's limit is %d: %w",
			e.Kind, e.WireBytes, FrameBytesMax, ErrProtocol)
	}
	return nil
}

// CheckFrame verifies the CRC32C of a whole frame (envelope, extensions, and
// the body of a control frame) and reads the extensions into e. frame is exactly
// e.FrameBytes() long. Batches are not looked at: SplitBatches does.
func CheckFrame(e *Envelope, frame []byte) error {
	if len(frame) != e.FrameBytes() {
		return fmt.Errorf("frame: %s: %d bytes, the envelope says %d: %w", e.Kind, len(frame), e.FrameBytes(),
			ErrCorrupt)
	}
	bodyAt := EnvelopeBytes + int(e.ExtBytes)
	covered := frame
	if e.Kind.carriesBatches() {
		covered = frame[:bodyAt]
	}
	if got, want := binary.LittleEndian.Uint32(frame[28:]), frameCRC(covered); got != want {
		return fmt.Errorf("frame: %s: crc at offset 28: got %08x, want %08x: %w", e.Kind, got, want, ErrCorrupt)
	}
	if err := readEnvelopeExtensions(frame[EnvelopeBytes:bodyAt], e); err != nil {
		return fmt.Errorf("frame: %s: %w", e.Kind, err)
	}
	if kind := &frameKinds[e.Kind]; kind.numbered && !kind.batches {
		body := frame[bodyAt:]
		if len(body) < 8 || binary.LittleEndian.Uint64(body) != e.Number {
			return fmt.Errorf("frame: %s: number %d is not the id in its body: %w", e.Kind, e.Number, ErrProtocol)
		}
	}
	return nil
}

// Body returns the body of a checked frame.
func Body(e *Envelope, frame []byte) []byte { return frame[EnvelopeBytes+int(e.ExtBytes):] }

// ExtensionsOf returns the extensions of a checked frame, borrowed.
func ExtensionsOf(e *Envelope, frame []byte) Extensions {
	hi := EnvelopeBytes + int(e.ExtBytes)
	return Extensions(frame[EnvelopeBytes:hi:hi])
}
