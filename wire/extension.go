package wire

import (
	"encoding/binary"
	"fmt"
)

// Extensions of an entry: type u16, length u16, value. Bit 15 of the type says
// that a reader must understand it; the number below it names it. Part of the
// format, never reuse.
const (
	ExtRequest uint16 = 0x0001 // request id: 16 bytes, not all zero
	ExtContext uint16 = 0x8002 // context delta; this release does not understand it
	ExtGroup   uint16 = 0x8003 // transaction group id and count; this release does not understand it

	extMust         uint16 = 1 << 15
	extHeaderBytes         = 4
	extRequestBytes        = extHeaderBytes + 16
)

// Extensions of an envelope: type u8, length u8, value, bit 7 as above. Part
// of the format, never reuse.
const (
	EnvelopeExtTrace   uint8 = 0x01 // trace context: TraceBytes
	EnvelopeExtStopped uint8 = 0x02 // of a heartbeat: how many logs its source leaves out of the session: u32
	EnvelopeExtUntil   uint8 = 0x08 // of a fetch: up to where, in a later incarnation: incarnation, seq u64

	envelopeExtMust        uint8 = 1 << 7
	envelopeExtHeaderBytes       = 2
)

// ExtBytesMax is how many bytes of extensions an envelope takes. Part of the format.
const ExtBytesMax = 255

// Extensions are those of an envelope, as they lie between it and the body: numbers rise
// strictly.
type Extensions []byte

// Append appends one, behind all of lower numbers. A value over 255 bytes panics.
func (x Extensions) Append(kind uint8, value []byte) Extensions {
	if len(value) > 255 {
		panic(fmt.Sprintf("wire: frame extension %02x of %d bytes", kind, len(value)))
	}
	return append(append(x, kind, uint8(len(value))), value...)
}

// AppendStopped appends how many logs the source of a heartbeat leaves out of the session.
func (x Extensions) AppendStopped(logs uint32) Extensions {
	return binary.LittleEndian.AppendUint32(append(x, EnvelopeExtStopped, envelopeExtStoppedBytes), logs)
}

// AppendUntil appends up to where a fetch asks: a position of a later incarnation.
func (x Extensions) AppendUntil(p Position) Extensions {
	x = append(append(x, EnvelopeExtUntil, envelopeExtUntilBytes), p.Incarnation[:]...)
	return binary.LittleEndian.AppendUint64(x, uint64(p.Seq))
}

// Until is what AppendUntil appended, without a chain; zero if there is none.
func (x Extensions) Until() (p Position) {
	if value, ok := x.Value(EnvelopeExtUntil); ok {
		p.Incarnation, p.Seq = Incarnation(value[:16]), Seq(binary.LittleEndian.Uint64(value[16:]))
	}
	return p
}

// Value returns the value of the extension of that kind, borrowed from x, which passed
// CheckFrame.
func (x Extensions) Value(kind uint8) (value []byte, ok bool) {
	for len(x) > 0 {
		size := envelopeExtHeaderBytes + int(x[1])
		if x[0] == kind {
			return x[envelopeExtHeaderBytes:size:size], true
		}
		x = x[size:]
	}
	return nil, false
}

// TraceBytes is the size of a trace context: trace id 16, span id 8, flags 1.
const TraceBytes = 25

const (
	envelopeExtStoppedBytes = 4
	envelopeExtUntilBytes   = 24
)

// extensions is what walkExtensions finds.
type extensions struct {
	request      RequestID
	requestBytes int    // size of the request id's extension, 0 = absent; it comes first
	must         uint16 // first type that must be understood and is not
}

// walkExtensions checks the extensions of an entry. The numbers rise strictly,
// so there is one order, and no number comes with both values of the bit.
func walkExtensions(b []byte) (extensions, error) {
	var x extensions
	last := uint16(0)
	for at := 0; at < len(b); {
		if len(b)-at < extHeaderBytes {
			return x, fmt.Errorf("extensions: %d bytes left at offset %d: %w", len(b)-at, at, ErrProtocol)
		}
		kind := binary.LittleEndian.Uint16(b[at:])
		size := int(binary.LittleEndian.Uint16(b[at+2:]))
		number := kind &^ extMust
		if number <= last {
			return x, fmt.Errorf("extension %04x at offset %d behind number %04x: %w", kind, at, last, ErrProtocol)
		}
		if size > len(b)-at-extHeaderBytes {
			return x, fmt.Errorf("extension %04x of %d bytes at offset %d passes the end: %w", kind, size, at,
				ErrProtocol)
		}
		value := b[at+extHeaderBytes : at+extHeaderBytes+size]
		switch number {
		case ExtRequest:
			if kind != ExtRequest || len(value) != len(x.request) || RequestID(value) == (RequestID{}) {
				return x, fmt.Errorf("request id as extension %04x with value %x: %w", kind, value, ErrProtocol)
			}
			x.request = RequestID(value)
			x.requestBytes = extRequestBytes
		case ExtContext &^ extMust, ExtGroup &^ extMust:
			if kind&extMust == 0 {
				return x, fmt.Errorf("extension %04x without its must-understand bit: %w", kind, ErrProtocol)
			}
		}
		if kind&extMust != 0 && x.must == 0 {
			x.must = kind
		}
		last = number
		at += extHeaderBytes + size
	}
	return x, nil
}

// readEnvelopeExtensions is the same for an envelope, where one that must be
// understood and is not refuses the frame. What the frame tells goes into e.
func readEnvelopeExtensions(b []byte, e *Envelope) error {
	last := uint8(0)
	for at := 0; at < len(b); {
		if len(b)-at < envelopeExtHeaderBytes {
			return fmt.Errorf("frame extensions: %d bytes left at offset %d: %w", len(b)-at, at, ErrProtocol)
		}
		kind, size := b[at], int(b[at+1])
		number := kind &^ envelopeExtMust
		switch {
		case number <= last:
			return fmt.Errorf("frame extension %02x at offset %d behind number %02x: %w", kind, at, last, ErrProtocol)
		case size > len(b)-at-envelopeExtHeaderBytes:
			return fmt.Errorf("frame extension %02x of %d bytes at offset %d passes the end: %w", kind, size, at,
				ErrProtocol)
		case kind&envelopeExtMust != 0:
			return fmt.Errorf("frame extension %02x must be understood and is not: %w", kind, ErrProtocol)
		case kind == EnvelopeExtTrace && size != TraceBytes:
			return fmt.Errorf("frame extension %02x of %d bytes, a trace context takes %d: %w",
				kind, size, TraceBytes, ErrProtocol)
		case kind == EnvelopeExtStopped && size != envelopeExtStoppedBytes:
			return fmt.Errorf("frame extension %02x of %d bytes, a number of stopped logs takes %d: %w",
				kind, size, envelopeExtStoppedBytes, ErrProtocol)
		case kind == EnvelopeExtUntil && size != envelopeExtUntilBytes:
			return fmt.Errorf("frame extension %02x of %d bytes, want %d: %w",
				kind, size, envelopeExtUntilBytes, ErrProtocol)
		case kind == EnvelopeExtStopped:
			e.Stopped = binary.LittleEndian.Uint32(b[at+envelopeExtHeaderBytes:])
		}
		last = number
		at += envelopeExtHeaderBytes + size
	}
	return nil
}
