package wire

import "encoding/binary"

// Fetch asks for the batches of Log in (From, To]. From.Chain is the asker's
// tail, so that the answer can prove that it continues it. To = 0: as far as
// the answerer has. To counts in From's incarnation. Where the answer is to go on in a
// later one, To is 0, and an extension of the frame says up to where: see Until.
type Fetch struct {
	ID   uint64
	Log  LogID
	From Position
	To   Seq
}

// AppendTo appends a whole frame, numbered with the fetch's id.
func (m *Fetch) AppendTo(dst []byte, session uint32) []byte {
	at := len(dst)
	dst = openFrame(dst, FrameFetch, session, m.ID)
	dst = binary.LittleEndian.AppendUint64(dst, m.ID)
	dst = appendLog(dst, m.Log)
	dst = appendPosition(dst, m.From)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(m.To))
	return closeFrame(dst, at)
}

// Decode reads a fetch's body.
func (m *Fetch) Decode(body []byte) error {
	r := bodyReader{kind: FrameFetch, body: body}
	m.ID = r.u64("id")
	m.Log = r.log()
	m.From = r.position()
	m.To = Seq(r.u64("to"))
	if m.ID == 0 {
		r.refuse("id is zero")
	}
	if m.To != 0 && m.To <= m.From.Seq {
		r.refuse("log %s: nothing lies behind seq %d up to %d", m.Log, m.From.Seq, m.To)
	}
	return r.end()
}

// FetchEnd closes the answer to a Fetch.
type FetchEnd struct {
	ID   uint64
	Code RefusalCode // 0 = all was sent
	Text string
}

// AppendTo appends a whole frame, numbered with the fetch's id. A text over
// TextBytesMax is cut.
func (m *FetchEnd) AppendTo(dst []byte, session uint32) []byte {
	at := len(dst)
	dst = openFrame(dst, FrameFetchEnd, session, m.ID)
	dst = binary.LittleEndian.AppendUint64(dst, m.ID)
	dst = binary.LittleEndian.AppendUint16(dst, uint16(m.Code))
	dst = appendText(dst, m.Text)
	return closeFrame(dst, at)
}

// Decode reads the body of a fetch's end.
func (m *FetchEnd) Decode(body []byte) error {
	r := bodyReader{kind: FrameFetchEnd, body: body}
	m.ID = r.u64("id")
	m.Code = RefusalCode(r.u16("code"))
	r.text(&m.Text)
	if m.ID == 0 {
		r.refuse("id is zero")
	}
	return r.end()
}
