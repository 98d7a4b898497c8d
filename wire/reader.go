package wire

import (
	"encoding/binary"
	"fmt"
	"unicode/utf8"
)

// bodyReader takes the fields of a control message one by one. The first fault
// sticks, and later takes return zero: a decoder reads all fields, then asks.
// The frame's CRC has been checked, so every fault is ErrProtocol.
type bodyReader struct {
	kind FrameKind
	body []byte
	at   int
	err  error
}

// take returns the next n bytes, or nil.
func (r *bodyReader) take(field string, n int) []byte {
	if r.err != nil {
		return nil
	}
	if left := len(r.body) - r.at; n > left {
		r.err = fmt.Errorf("%s: %s at offset %d: %d bytes left, want %d: %w", r.kind, field, r.at, left, n, ErrProtocol)
		return nil
	}
	b := r.body[r.at : r.at+n]
	r.at += n
	return b
}

func (r *bodyReader) u8(field string) uint8 {
	if b := r.take(field, 1); b != nil {
		return b[0]
	}
	return 0
}

func (r *bodyReader) u16(field string) uint16 {
	if b := r.take(field, 2); b != nil {
		return binary.LittleEndian.Uint16(b)
	}
	return 0
}

func (r *bodyReader) u32(field string) uint32 {
	if b := r.take(field, 4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (r *bodyReader) u64(field string) uint64 {
	if b := r.take(field, 8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

// zero takes n reserved bytes.
func (r *bodyReader) zero(n int) {
	for _, v := range r.take("reserved bytes", n) {
		if v != 0 {
			r.refuse("reserved byte %02x before offset %d", v, r.at)
		}
	}
}

// log takes a log id, which must name a log that is shipped.
func (r *bodyReader) log() LogID {
	b := r.take("log", 8)
	if b == nil {
		return LogID{}
	}
	l := logAt(b)
	if err := checkLog(l); err != nil {
		r.err = fmt.Errorf("%s: %w", r.kind, err)
	}
	return l
}

// position takes a position, which must not contradict itself.
func (r *bodyReader) position() Position {
	b := r.take("position", positionBytes)
	if b == nil {
		return Position{}
	}
	p := positionAt(b)
	if err := checkPosition(p); err != nil {
		r.err = fmt.Errorf("%s: %w", r.kind, err)
	}
	return p
}

// name takes a string with a one-byte length into s.
func (r *bodyReader) name(field string, s *string) {
	r.str(field, int(r.u8(field)), s)
}

// text takes a string with a two-byte length into s.
func (r *bodyReader) text(s *string) {
	n := int(r.u16("text"))
	if n > TextBytesMax {
		r.refuse("text of %d bytes, limit %d", n, TextBytesMax)
	}
	r.str("text", n, s)
}

// str keeps the string that s has when the bytes are the same, so that
// decoding into a used message costs no memory for texts that do not change.
func (r *bodyReader) str(field string, n int, s *string) {
	b := r.take(field, n)
	if r.err == nil && !utf8.Valid(b) {
		r.refuse("%s is not valid UTF-8: %q", field, b)
	}
	if r.err != nil || *s == string(b) {
		return
	}
	*s = string(b)
}

// refuse notes a fault unless there is one already.
func (r *bodyReader) refuse(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%s: %s: %w", r.kind, fmt.Sprintf(format, args...), ErrProtocol)
	}
}

// end returns the first fault; bytes behind the last field are one.
func (r *bodyReader) end() error {
	if left := len(r.body) - r.at; left != 0 {
		r.refuse("%d bytes behind the last field at offset %d", left, r.at)
	}
	return r.err
}
