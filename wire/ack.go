package wire

import "encoding/binary"

// AckLevel is how safe an entry is. Part of the format.
type AckLevel uint8

const (
	LevelReceived AckLevel = 1 // in the peer's memory
	LevelDurable  AckLevel = 2 // in the peer's journal, flushed
	LevelApplied  AckLevel = 3 // in the peer's Store
)

// Ack names the highest batch frame of the session at a level.
type Ack struct {
	Level  AckLevel // received or durable
	Number uint64
}

// AppendTo appends a whole frame.
func (m *Ack) AppendTo(dst []byte, session uint32) []byte {
	at := len(dst)
	dst = openFrame(dst, FrameAck, session, 0)
	dst = append(dst, uint8(m.Level))
	dst = binary.LittleEndian.AppendUint64(dst, m.Number)
	return closeFrame(dst, at)
}

// Decode reads an ack's body.
func (m *Ack) Decode(body []byte) error {
	r := bodyReader{kind: FrameAck, body: body}
	m.Level = AckLevel(r.u8("level"))
	m.Number = r.u64("number")
	if m.Level != LevelReceived && m.Level != LevelDurable {
		r.refuse("level %d of a frame", uint8(m.Level))
	}
	if m.Number == 0 {
		r.refuse("number is zero")
	}
	return r.end()
}

// BatchRefusal takes one log out of the session: everything of Log from
// Position on is refused, and frame acks no longer speak for it.
type BatchRefusal struct {
	Code     RefusalCode
	Log      LogID
	Position Position // the receiver's tail of that log
	Text     string
}

// AppendTo appends a whole frame. A text over TextBytesMax is cut.
func (m *BatchRefusal) AppendTo(dst []byte, session uint32) []byte {
	at := len(dst)
	dst = openFrame(dst, FrameBatchRefusal, session, 0)
	dst = binary.LittleEndian.AppendUint16(dst, uint16(m.Code))
	dst = appendLog(dst, m.Log)
	dst = appendPosition(dst, m.Position)
	dst = appendText(dst, m.Text)
	return closeFrame(dst, at)
}

// Decode reads a batch refusal's body. A code of a later release passes, as in
// Refusal.Decode.
func (m *BatchRefusal) Decode(body []byte) error {
	r := bodyReader{kind: FrameBatchRefusal, body: body}
	m.Code = RefusalCode(r.u16("code"))
	m.Log = r.log()
	m.Position = r.position()
	r.text(&m.Text)
	if m.Code == 0 {
		r.refuse("code is zero")
	}
	return r.end()
}
