package wire

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Limits of control messages. Part of the format.
const (
	NameBytesMax = 255  // of a cluster's or site's name
	TextBytesMax = 1024 // of a text for people
)

// Message is a control message: the body of a frame that carries no batches.
type Message interface {
	// AppendTo appends the whole frame (envelope, body, CRC), without extensions.
	AppendTo(dst []byte, session uint32) []byte
	// Decode reads a checked frame's body, refuses what FORMAT.md does not allow, and reuses
	// the message's own slices.
	Decode(body []byte) error
}

// AppendControl appends the whole frame of a control message with extensions, which may be
// none. More than ExtBytesMax bytes of them panic.
func AppendControl(dst []byte, session uint32, m Message, x Extensions) []byte {
	at := len(dst)
	dst = m.AppendTo(dst, session)
	if len(x) == 0 {
		return dst
	}
	if len(x) > ExtBytesMax {
		panic(fmt.Sprintf("wire: extensions of %d bytes, limit %d", len(x), ExtBytesMax))
	}
	dst = slices.Insert(dst, at+EnvelopeBytes, x...)
	dst[at+5] = uint8(len(x))
	return sealFrame(dst, at, len(dst))
}

// openFrame appends the envelope of a control frame; closeFrame fills in what
// is known only behind the body.
func openFrame(dst []byte, kind FrameKind, session uint32, number uint64) []byte {
	return appendEnvelope(dst, &Envelope{Kind: kind, Session: session, Number: number})
}

// closeFrame finishes the control frame that begins at offset at.
func closeFrame(dst []byte, at int) []byte {
	size := len(dst) - at - EnvelopeBytes
	if size > ControlBytesMax {
		panic(fmt.Sprintf("wire: control frame with a body of %d bytes, limit %d", size, ControlBytesMax))
	}
	binary.LittleEndian.PutUint32(dst[at+8:], uint32(size))
	binary.LittleEndian.PutUint32(dst[at+12:], uint32(size))
	return sealFrame(dst, at, len(dst))
}

// appendName appends a name with a one-byte length. Whoever takes names from a
// configuration has refused the others.
func appendName(dst []byte, s string) []byte {
	if len(s) > NameBytesMax || !utf8.ValidString(s) {
		panic(fmt.Sprintf("wire: name of %d bytes, limit %d, or not UTF-8: %.40q", len(s), NameBytesMax, s))
	}
	return append(append(dst, uint8(len(s))), s...)
}

// appendText appends a text with a two-byte length. It is for people, so what
// does not fit is cut and what is not UTF-8 is replaced.
func appendText(dst []byte, s string) []byte {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) > TextBytesMax {
		cut := TextBytesMax
		for !utf8.RuneStart(s[cut]) {
			cut--
		}
		s = s[:cut]
	}
	return append(binary.LittleEndian.AppendUint16(dst, uint16(len(s))), s...)
}
