package wire

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
)

// MendKind is what a Mend asks for. Part of the format, never reuse.
type MendKind uint8

const (
	MendOpen  MendKind = 1 // a view of the shard as it stands; its cursors are the answer
	MendParts MendKind = 2 // digests of the rows of a range, in parts
	MendRows  MendKind = 3 // the rows of ranges
)

// Bounds of a question and its answer. Part of the format.
const (
	MendRangeMax   = 256                          // ranges of a question about rows
	RowKeyBytesMax = EntryKeyBytesMax + 32        // key of a row: an entry's key, and what the host adds
	RowsBytesMax   = ControlBytesMax - 16*(1<<10) // rows of one answer

	rowHeadBytes   = 2 + 4
	cursorBytes    = 8 + positionBytes + 8
	rowsPieceBytes = 32 + 4
)

// Mend asks the other site for what makes a shard here equal to the same shard there. A
// later question on the same link takes the place of an earlier one; a Verify of kind
// VerifyEnd ends them, and gives the view back.
type Mend struct {
	ID    uint64
	Kind  MendKind
	Shard Shard
	View  uint64 // which view answers; 0 = a new one, for MendOpen
	Count uint32 // parts: rows of a part
	// Skip is how many bytes of the first range's rows the asker has. For rows.
	Skip   uint32
	Ranges []MendRange // parts: one; rows: rising, disjoint
}

// MendRange is the rows of [Lo, Hi); no Hi = unbounded.
type MendRange struct {
	Digest [32]byte // of what the asker has of it; zero = nothing. Equal: no rows are sent
	Lo, Hi []byte
}

// Rows answers a Mend.
type Rows struct {
	ID   uint64
	View uint64 // which one answers; 0 = none
	// Rest is how many bytes of the rows of the last range follow: asked for with Skip.
	Rest    uint32
	Code    RefusalCode // 0 = answered
	Text    string      // why not
	Cursors []Cursor    // of a new view
	Parts   []VerifiedPart
	Pieces  []RowsPiece // of the first ranges, in their order
	Data    []byte      // the rows of the pieces, one behind the other; decoded: borrowed from the body
}

// RowsPiece is what a view has of one range.
type RowsPiece struct {
	Digest [32]byte
	Bytes  uint32 // of its rows in Data; 0 with the asker's digest: it has them
}

// AppendRow appends a row as it lies in an answer and in files.
func AppendRow(dst, key, value []byte) []byte {
	dst = binary.LittleEndian.AppendUint16(dst, uint16(len(key)))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(value)))
	return append(append(dst, key...), value...)
}

// RowBytes is how many bytes AppendRow appends.
func RowBytes(key, value []byte) int { return rowHeadBytes + len(key) + len(value) }

// NextRow takes the first row off b; ok is false, and nothing is taken, if b does not hold
// all of it. Key and value are borrowed from b. A key longer than RowKeyBytesMax, or a value
// longer than a batch, is ErrProtocol.
func NextRow(b []byte) (key, value, rest []byte, ok bool, err error) {
	if len(b) < rowHeadBytes {
		return nil, nil, b, false, nil
	}
	k, v := int(binary.LittleEndian.Uint16(b)), int64(binary.LittleEndian.Uint32(b[2:]))
	if k == 0 || k > RowKeyBytesMax || v > BatchBytesMax {
		return nil, nil, b, false, fmt.Errorf("row with a key of %d bytes, limit %d, and a value of %d, limit %d: %w",
			k, RowKeyBytesMax, v, BatchBytesMax, ErrProtocol)
	}
	hi := rowHeadBytes + k + int(v)
	if len(b) < hi {
		return nil, nil, b, false, nil
	}
	return b[rowHeadBytes : rowHeadBytes+k], b[rowHeadBytes+k : hi], b[hi:], true, nil
}

// AppendTo appends a whole frame.
func (m *Mend) AppendTo(dst []byte, session uint32) []byte {
	at := len(dst)
	le := binary.LittleEndian
	dst = openFrame(dst, FrameMend, session, 0)
	dst = le.AppendUint64(dst, m.ID)
	dst = append(dst, uint8(m.Kind), 0, 0, 0)
	dst = le.AppendUint32(dst, uint32(m.Shard))
	dst = le.AppendUint64(dst, m.View)
	dst = le.AppendUint32(dst, m.Count)
	dst = le.AppendUint32(dst, m.Skip)
	dst = le.AppendUint16(dst, uint16(len(m.Ranges)))
	for i := range m.Ranges {
		r := &m.Ranges[i]
		dst = append(dst, r.Digest[:]...)
		dst = appendKey(dst, r.Lo)
		dst = appendKey(dst, r.Hi)
	}
	return closeFrame(dst, at)
}

// Decode reads a question's body.
func (m *Mend) Decode(body []byte) error {
	r := bodyReader{kind: FrameMend, body: body}
	m.ID = r.u64("id")
	m.Kind = MendKind(r.u8("kind"))
	r.zero(3)
	m.Shard = Shard(r.u32("shard"))
	m.View = r.u64("view")
	m.Count = r.u32("count")
	m.Skip = r.u32("skip")
	count := int(r.u16("range count"))
	switch {
	case m.ID == 0:
		r.refuse("id is zero")
	case m.Kind < MendOpen || m.Kind > MendRows:
		r.refuse("kind %d", m.Kind)
	case m.Shard >= ShardCountMax:
		r.refuse("shard %d", m.Shard)
	case (m.View == 0) != (m.Kind == MendOpen):
		r.refuse("view %d in a question of kind %d", m.View, m.Kind)
	case (m.Count == 0) != (m.Kind != MendParts):
		r.refuse("count %d in a question of kind %d", m.Count, m.Kind)
	case m.Skip != 0 && m.Kind != MendRows:
		r.refuse("skip %d in a question of kind %d", m.Skip, m.Kind)
	case m.Kind == MendOpen && count != 0, m.Kind == MendParts && count != 1,
		m.Kind == MendRows && (count == 0 || count > MendRangeMax):
		r.refuse("%d ranges in a question of kind %d", count, m.Kind)
	}
	m.decodeRanges(&r, count)
	return r.end()
}

// decodeRanges keeps the memory of ranges that were there before.
func (m *Mend) decodeRanges(r *bodyReader, count int) {
	m.Ranges = m.Ranges[:0]
	for i := 0; i < count && r.err == nil; i++ {
		m.Ranges = slices.Grow(m.Ranges, 1)[:i+1]
		a := &m.Ranges[i]
		copy(a.Digest[:], r.take("digest", len(a.Digest)))
		r.key("lo", &a.Lo, RowKeyBytesMax)
		r.key("hi", &a.Hi, RowKeyBytesMax)
		if len(a.Hi) != 0 && bytes.Compare(a.Lo, a.Hi) >= 0 {
			r.refuse("range %d: from %x to %x holds nothing", i, a.Lo, a.Hi)
		}
		if i > 0 && (len(m.Ranges[i-1].Hi) == 0 || bytes.Compare(m.Ranges[i-1].Hi, a.Lo) > 0) {
			r.refuse("range %d: %x does not rise", i, a.Lo)
		}
	}
}

// AppendTo appends a whole frame. A text over TextBytesMax is cut.
func (m *Rows) AppendTo(dst []byte, session uint32) []byte {
	at := len(dst)
	le := binary.LittleEndian
	dst = openFrame(dst, FrameRows, session, 0)
	dst = le.AppendUint64(dst, m.ID)
	dst = le.AppendUint64(dst, m.View)
	dst = le.AppendUint32(dst, m.Rest)
	dst = le.AppendUint16(dst, uint16(m.Code))
	dst = le.AppendUint16(dst, uint16(len(m.Cursors)))
	dst = le.AppendUint16(dst, uint16(len(m.Parts)))
	dst = le.AppendUint16(dst, uint16(len(m.Pieces)))
	dst = appendText(dst, m.Text)
	for i := range m.Cursors {
		c := &m.Cursors[i]
		dst = appendPosition(appendLog(dst, c.Log), c.Position)
		dst = le.AppendUint64(dst, uint64(c.Epoch))
	}
	dst = appendParts(dst, m.Parts)
	for i := range m.Pieces {
		dst = append(dst, m.Pieces[i].Digest[:]...)
		dst = le.AppendUint32(dst, m.Pieces[i].Bytes)
	}
	return closeFrame(append(dst, m.Data...), at)
}

// Decode reads an answer's body. Data is borrowed from it.
func (m *Rows) Decode(body []byte) error {
	r := bodyReader{kind: FrameRows, body: body}
	m.ID = r.u64("id")
	m.View = r.u64("view")
	m.Rest = r.u32("rest")
	m.Code = RefusalCode(r.u16("code"))
	cursors, parts, pieces := int(r.u16("cursor count")), int(r.u16("part count")), int(r.u16("piece count"))
	r.text(&m.Text)
	switch {
	case m.ID == 0:
		r.refuse("id is zero")
	case cursors > VerifyRowMax:
		r.refuse("%d cursors, limit %d", cursors, VerifyRowMax)
	case parts > VerifyPartMax:
		r.refuse("%d parts, limit %d", parts, VerifyPartMax)
	case pieces > MendRangeMax:
		r.refuse("%d pieces, limit %d", pieces, MendRangeMax)
	case m.Rest != 0 && pieces == 0:
		r.refuse("%d bytes of no range follow", m.Rest)
	case cursors*cursorBytes+pieces*rowsPieceBytes > len(r.body)-r.at:
		r.refuse("%d cursors and %d pieces in %d bytes", cursors, pieces, len(r.body)-r.at)
	}
	m.Cursors = m.Cursors[:0]
	for i := 0; i < cursors && r.err == nil; i++ {
		c := Cursor{Log: r.log(), Position: r.position(), Epoch: Epoch(r.u64("epoch"))}
		if i > 0 && m.Cursors[i-1].Log.Compare(c.Log) >= 0 {
			r.refuse("cursor %d: log %s does not rise", i, c.Log)
		}
		m.Cursors = append(m.Cursors, c)
	}
	r.parts(&m.Parts, parts, RowKeyBytesMax)
	m.decodePieces(&r, pieces)
	return r.end()
}

func (m *Rows) decodePieces(r *bodyReader, count int) {
	m.Pieces = m.Pieces[:0]
	sum := uint64(0)
	for i := 0; i < count && r.err == nil; i++ {
		var p RowsPiece
		copy(p.Digest[:], r.take("digest", len(p.Digest)))
		p.Bytes = r.u32("bytes")
		m.Pieces = append(m.Pieces, p)
		sum += uint64(p.Bytes)
	}
	m.Data = r.take("rows", int(min(sum, ControlBytesMax)))
}
