package wire

import (
	"bytes"
	"encoding/binary"
	"slices"
)

// VerifyKind is what a Verify asks for. Part of the format, never reuse.
type VerifyKind uint8

const (
	VerifyState    VerifyKind = 1 // digests of a shard's applied state, of one snapshot at a point
	VerifyTails    VerifyKind = 2 // where the journals' logs of a range of shards end
	VerifyJournals VerifyKind = 3 // the same, after reading their stored bytes again
	VerifyEnd      VerifyKind = 4 // no more questions: what was kept for them is given back
)

// Bounds of one answer. Part of the format.
const (
	VerifyShardMax = 64  // shards of one question about logs
	VerifyPartMax  = 256 // digests of one answer
	VerifyRowMax   = 4096

	// VerifyKeysUnknown is the count of keys of a site that knows only the digest of
	// the whole shard, whatever range was asked for.
	VerifyKeysUnknown = 1<<32 - 1

	verifyRowBytes = 8 + positionBytes + 8 + 8
)

// Verify asks the other site for what two sites must have in common. A later one
// on the same link takes the place of an earlier one.
type Verify struct {
	ID    uint64
	Kind  VerifyKind
	Count uint32 // state: keys per part; tails, journals: shards, from Log.Shard on; end: 0
	// Log names, for state, whose seq the point is; else the first shard.
	Log LogID
	// Seq is the point, for state: the first end of a batch at or behind it, which is
	// the same batch at every site. Questions with the point of the one before are
	// answered from the same snapshot.
	Seq    Seq
	Lo, Hi []byte // state: the range of keys [Lo, Hi); no Hi = unbounded
}

// Verified answers a Verify.
type Verified struct {
	ID    uint64
	Code  RefusalCode // 0 = answered
	Text  string      // why not; or the first damage that was met
	Rows  []VerifiedLog
	Parts []VerifiedPart // state: from Lo on, without a gap; more are there if the last ends before Hi
}

// VerifiedLog is one log at the answerer: for state the snapshot's cursor.
type VerifiedLog struct {
	Log LogID
	At  Position
	// After a reading of the stored bytes: the first seq that is kept, and the first
	// one that does not hold; 0 = none. Without one, Bad is not 0 if the log has stopped
	// towards the asker because the histories differ.
	From, Bad Seq
}

// VerifiedPart is the digest of the keys from the part before up to Hi.
type VerifiedPart struct {
	Keys   uint32 // of this part; what a site holds at them is its own matter
	Digest [32]byte
	Hi     []byte // empty in the last part of an unbounded range
}

// AppendTo appends a whole frame.
func (m *Verify) AppendTo(dst []byte, session uint32) []byte {
	at := len(dst)
	le := binary.LittleEndian
	dst = openFrame(dst, FrameVerify, session, 0)
	dst = le.AppendUint64(dst, m.ID)
	dst = append(dst, uint8(m.Kind), 0, 0, 0)
	dst = le.AppendUint32(dst, m.Count)
	dst = appendLog(dst, m.Log)
	dst = le.AppendUint64(dst, uint64(m.Seq))
	dst = appendKey(dst, m.Lo)
	dst = appendKey(dst, m.Hi)
	return closeFrame(dst, at)
}

func appendKey(dst, key []byte) []byte {
	return append(binary.LittleEndian.AppendUint16(dst, uint16(len(key))), key...)
}

// Decode reads a question's body.
func (m *Verify) Decode(body []byte) error {
	r := bodyReader{kind: FrameVerify, body: body}
	m.ID = r.u64("id")
	m.Kind = VerifyKind(r.u8("kind"))
	r.zero(3)
	m.Count = r.u32("count")
	m.Log = r.log()
	m.Seq = Seq(r.u64("seq"))
	r.key("lo", &m.Lo, EntryKeyBytesMax)
	r.key("hi", &m.Hi, EntryKeyBytesMax)
	switch {
	case m.ID == 0:
		r.refuse("id is zero")
	case m.Kind < VerifyState || m.Kind > VerifyEnd:
		r.refuse("kind %d", m.Kind)
	case (m.Count == 0) != (m.Kind == VerifyEnd):
		r.refuse("count %d in a question of kind %d", m.Count, m.Kind)
	case m.Kind != VerifyState && (m.Seq != 0 || len(m.Lo)+len(m.Hi) != 0):
		r.refuse("a point or a range in a question of kind %d", m.Kind)
	case m.Kind != VerifyState && m.Count > VerifyShardMax:
		r.refuse("%d shards, limit %d", m.Count, VerifyShardMax)
	case len(m.Hi) != 0 && bytes.Compare(m.Lo, m.Hi) >= 0:
		r.refuse("range from %x to %x holds nothing", m.Lo, m.Hi)
	}
	return r.end()
}

// key takes a key with a two-byte length into dst, which keeps its memory.
func (r *bodyReader) key(field string, dst *[]byte, bytesMax int) {
	n := int(r.u16(field))
	if n > bytesMax {
		r.refuse("%s of %d bytes, limit %d", field, n, bytesMax)
	}
	if *dst == nil {
		*dst = []byte{} // so that a used message and a new one read the same
	}
	*dst = append((*dst)[:0], r.take(field, n)...)
}

// AppendTo appends a whole frame. A text over TextBytesMax is cut.
func (m *Verified) AppendTo(dst []byte, session uint32) []byte {
	at := len(dst)
	le := binary.LittleEndian
	dst = openFrame(dst, FrameVerified, session, 0)
	dst = le.AppendUint64(dst, m.ID)
	dst = le.AppendUint16(dst, uint16(m.Code))
	dst = le.AppendUint16(dst, uint16(len(m.Rows)))
	dst = le.AppendUint16(dst, uint16(len(m.Parts)))
	dst = appendText(dst, m.Text)
	for i := range m.Rows {
		row := &m.Rows[i]
		dst = appendPosition(appendLog(dst, row.Log), row.At)
		dst = le.AppendUint64(dst, uint64(row.From))
		dst = le.AppendUint64(dst, uint64(row.Bad))
	}
	return closeFrame(appendParts(dst, m.Parts), at)
}

func appendParts(dst []byte, parts []VerifiedPart) []byte {
	for i := range parts {
		part := &parts[i]
		dst = binary.LittleEndian.AppendUint32(dst, part.Keys)
		dst = append(dst, part.Digest[:]...)
		dst = appendKey(dst, part.Hi)
	}
	return dst
}

// Decode reads an answer's body.
func (m *Verified) Decode(body []byte) error {
	r := bodyReader{kind: FrameVerified, body: body}
	m.ID = r.u64("id")
	m.Code = RefusalCode(r.u16("code"))
	rows, parts := int(r.u16("row count")), int(r.u16("part count"))
	r.text(&m.Text)
	switch {
	case m.ID == 0:
		r.refuse("id is zero")
	case rows > VerifyRowMax:
		r.refuse("%d rows, limit %d", rows, VerifyRowMax)
	case parts > VerifyPartMax:
		r.refuse("%d parts, limit %d", parts, VerifyPartMax)
	case rows*verifyRowBytes > len(r.body)-r.at:
		r.refuse("%d rows in %d bytes", rows, len(r.body)-r.at)
	}
	m.Rows = m.Rows[:0]
	for i := 0; i < rows && r.err == nil; i++ {
		row := VerifiedLog{r.log(), r.position(), Seq(r.u64("from")), Seq(r.u64("bad"))}
		if i > 0 && m.Rows[i-1].Log.Compare(row.Log) >= 0 {
			r.refuse("row %d: log %s does not rise", i, row.Log)
		}
		m.Rows = append(m.Rows, row)
	}
	r.parts(&m.Parts, parts, EntryKeyBytesMax)
	return r.end()
}

// parts takes parts into dst, and keeps the memory of those that were there before.
func (r *bodyReader) parts(dst *[]VerifiedPart, count, keyBytesMax int) {
	parts := (*dst)[:0]
	for i := 0; i < count && r.err == nil; i++ {
		parts = slices.Grow(parts, 1)[:i+1]
		part := &parts[i]
		part.Keys = r.u32("keys")
		copy(part.Digest[:], r.take("digest", len(part.Digest)))
		r.key("hi", &part.Hi, keyBytesMax)
		if len(part.Hi) == 0 && i < count-1 {
			r.refuse("part %d of %d is unbounded", i, count)
		}
		if i > 0 && len(part.Hi) != 0 && bytes.Compare(parts[i-1].Hi, part.Hi) >= 0 {
			r.refuse("part %d: %x does not rise", i, part.Hi)
		}
	}
	*dst = parts
}
