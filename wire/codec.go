package wire

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Sizes and limits of control messages. Part of the format.
const (
	NameBytesMax = 255  // of a cluster's or site's name
	TextBytesMax = 1024 // of a text for people

	pageHeaderBytes  = 1 + 2
	pageRowBytes     = 8 + positionBytes + 8
	pageFlagsDefined = PageResume | PageLast
)

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

// AppendTo appends a whole frame. session is 0: a hello has none yet. A name
// over NameBytesMax panics.
func (m *Hello) AppendTo(dst []byte, session uint32) []byte {
	at := len(dst)
	le := binary.LittleEndian
	dst = openFrame(dst, FrameHello, session, 0)
	dst = append(dst, m.VersionMin, m.VersionMax, m.DigestKind, 0)
	dst = le.AppendUint32(dst, uint32(m.Site))
	dst = le.AppendUint32(dst, uint32(m.Node))
	dst = le.AppendUint32(dst, uint32(m.Peer))
	dst = le.AppendUint32(dst, uint32(m.Term))
	dst = le.AppendUint32(dst, m.Counter)
	dst = le.AppendUint32(dst, m.Shards)
	dst = le.AppendUint32(dst, uint32(m.Primary))
	dst = le.AppendUint64(dst, uint64(m.Cluster))
	dst = le.AppendUint64(dst, uint64(m.Epoch))
	dst = le.AppendUint64(dst, m.Features)
	dst = appendName(dst, m.ClusterName)
	dst = appendName(dst, m.SiteName)
	dst = appendName(dst, m.PeerName)
	return closeFrame(dst, at)
}

// Decode reads a hello's body. Versions, features and digest kinds that this
// release does not know pass: the answer to them is a Refusal that names them.
func (m *Hello) Decode(body []byte) error {
	r := bodyReader{kind: FrameHello, body: body}
	m.VersionMin = r.u8("version min")
	m.VersionMax = r.u8("version max")
	m.DigestKind = r.u8("digest kind")
	r.zero(1)
	m.Site = SiteID(r.u32("site"))
	m.Node = NodeID(r.u32("node"))
	m.Peer = SiteID(r.u32("peer"))
	m.Term = Term(r.u32("term"))
	m.Counter = r.u32("counter")
	m.Shards = r.u32("shards")
	m.Primary = SiteID(r.u32("primary"))
	m.Cluster = ClusterID(r.u64("cluster"))
	m.Epoch = Epoch(r.u64("epoch"))
	m.Features = r.u64("features")
	r.name("cluster name", &m.ClusterName)
	r.name("site name", &m.SiteName)
	r.name("peer name", &m.PeerName)
	switch {
	case m.VersionMin == 0 || m.VersionMax < m.VersionMin:
		r.refuse("versions %d to %d", m.VersionMin, m.VersionMax)
	case m.DigestKind == 0:
		r.refuse("digest kind is zero")
	case m.Site == 0 || m.Peer == 0:
		r.refuse("site %08x, peer %08x: one is zero", uint32(m.Site), uint32(m.Peer))
	case m.Term == 0 || m.Counter == 0:
		r.refuse("term %d, counter %d: one is zero", m.Term, m.Counter)
	case m.Shards == 0 || m.Shards > ShardCountMax:
		r.refuse("%d shards, allowed 1 to %d", m.Shards, ShardCountMax)
	case m.Cluster == 0:
		r.refuse("cluster is zero")
	}
	return r.end()
}

// AppendTo appends a whole frame. A name over NameBytesMax panics.
func (m *Welcome) AppendTo(dst []byte, session uint32) []byte {
	at := len(dst)
	le := binary.LittleEndian
	dst = openFrame(dst, FrameWelcome, session, 0)
	dst = append(dst, m.Version, 0, 0, 0)
	dst = le.AppendUint32(dst, uint32(m.Site))
	dst = le.AppendUint32(dst, uint32(m.Node))
	dst = le.AppendUint32(dst, uint32(m.Term))
	dst = le.AppendUint64(dst, uint64(m.Epoch))
	dst = appendName(dst, m.SiteName)
	return closeFrame(dst, at)
}

// Decode reads a welcome's body.
func (m *Welcome) Decode(body []byte) error {
	r := bodyReader{kind: FrameWelcome, body: body}
	m.Version = r.u8("version")
	r.zero(3)
	m.Site = SiteID(r.u32("site"))
	m.Node = NodeID(r.u32("node"))
	m.Term = Term(r.u32("term"))
	m.Epoch = Epoch(r.u64("epoch"))
	r.name("site name", &m.SiteName)
	switch {
	case m.Version == 0:
		r.refuse("version is zero")
	case m.Site == 0:
		r.refuse("site is zero")
	case m.Term == 0:
		r.refuse("term is zero")
	}
	return r.end()
}

// AppendTo appends a whole frame. session is 0 when no hello could be read. A
// text over TextBytesMax is cut.
func (m *Refusal) AppendTo(dst []byte, session uint32) []byte {
	at := len(dst)
	le := binary.LittleEndian
	dst = openFrame(dst, FrameRefusal, session, 0)
	dst = le.AppendUint16(dst, uint16(m.Code))
	dst = le.AppendUint32(dst, uint32(m.Term))
	dst = le.AppendUint32(dst, m.Counter)
	dst = appendText(dst, m.Text)
	return closeFrame(dst, at)
}

// Decode reads a refusal's body. A code of a later release passes: whatever it
// says, the session ends, and the text tells why.
func (m *Refusal) Decode(body []byte) error {
	r := bodyReader{kind: FrameRefusal, body: body}
	m.Code = RefusalCode(r.u16("code"))
	m.Term = Term(r.u32("term"))
	m.Counter = r.u32("counter")
	r.text(&m.Text)
	if m.Code == 0 {
		r.refuse("code is zero")
	}
	if (m.Term == 0) != (m.Counter == 0) {
		r.refuse("term %d, counter %d: one is zero", m.Term, m.Counter)
	}
	return r.end()
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

// AppendTo appends a whole frame. More than PageEntryMax rows panic.
func (m *CursorPage) AppendTo(dst []byte, session uint32) []byte {
	if len(m.Entries) > PageEntryMax {
		panic(fmt.Sprintf("wire: cursor page of %d rows, limit %d", len(m.Entries), PageEntryMax))
	}
	at := len(dst)
	le := binary.LittleEndian
	dst = slices.Grow(dst, EnvelopeBytes+pageHeaderBytes+len(m.Entries)*pageRowBytes)
	dst = openFrame(dst, FrameCursorPage, session, 0)
	dst = append(dst, m.Flags)
	dst = le.AppendUint16(dst, uint16(len(m.Entries)))
	for i := range m.Entries {
		row := &m.Entries[i]
		dst = appendLog(dst, row.Log)
		dst = appendPosition(dst, row.Durable)
		dst = le.AppendUint64(dst, uint64(row.Applied))
	}
	return closeFrame(dst, at)
}

// Decode reads a cursor page's body and reuses m.Entries.
func (m *CursorPage) Decode(body []byte) error {
	r := bodyReader{kind: FrameCursorPage, body: body}
	m.Entries = m.Entries[:0]
	m.Flags = r.u8("flags")
	count := int(r.u16("row count"))
	switch {
	case m.Flags&^pageFlagsDefined != 0:
		r.refuse("reserved flags %02x", m.Flags)
	case m.Flags == PageLast:
		r.refuse("last page of no answer")
	case count > PageEntryMax:
		r.refuse("%d rows, limit %d", count, PageEntryMax)
	case len(body) != pageHeaderBytes+count*pageRowBytes:
		r.refuse("%d rows in a body of %d bytes", count, len(body))
	}
	if r.err != nil {
		return r.err
	}
	m.Entries = slices.Grow(m.Entries, count)
	for range count {
		row := PageEntry{Log: r.log(), Durable: r.position(), Applied: Seq(r.u64("applied"))}
		if n := len(m.Entries); n > 0 && m.Entries[n-1].Log.Compare(row.Log) >= 0 {
			r.refuse("row %d: log %s does not rise", n, row.Log)
		}
		if row.Applied > row.Durable.Seq {
			r.refuse("log %s: applied seq %d over durable seq %d", row.Log, row.Applied, row.Durable.Seq)
		}
		if r.err != nil {
			return r.err
		}
		m.Entries = append(m.Entries, row)
	}
	return r.end()
}

// AppendTo appends a whole frame.
func (m *Heartbeat) AppendTo(dst []byte, session uint32) []byte {
	at := len(dst)
	le := binary.LittleEndian
	dst = openFrame(dst, FrameHeartbeat, session, 0)
	dst = le.AppendUint64(dst, m.Clock)
	dst = le.AppendUint64(dst, uint64(m.LastStamp))
	dst = le.AppendUint64(dst, m.Number)
	return closeFrame(dst, at)
}

// AppendTo appends a whole frame, with an extension if a log is left out.
func (m *SourceHeartbeat) AppendTo(dst []byte, session uint32) []byte {
	at := len(dst)
	dst = m.Heartbeat.AppendTo(dst, session)
	if m.Stopped == 0 {
		return dst
	}
	var ext [envelopeExtHeaderBytes + envelopeExtStoppedBytes]byte
	ext[0], ext[1] = EnvelopeExtStopped, envelopeExtStoppedBytes
	binary.LittleEndian.PutUint32(ext[envelopeExtHeaderBytes:], m.Stopped)
	dst = slices.Insert(dst, at+EnvelopeBytes, ext[:]...)
	dst[at+5] = uint8(len(ext))
	return sealFrame(dst, at, len(dst))
}

// Decode reads a heartbeat's body.
func (m *Heartbeat) Decode(body []byte) error {
	r := bodyReader{kind: FrameHeartbeat, body: body}
	m.Clock = r.u64("clock")
	m.LastStamp = Stamp(r.u64("last stamp"))
	m.Number = r.u64("number")
	return r.end()
}

// AppendTo appends a whole frame.
func (m *HeartbeatEcho) AppendTo(dst []byte, session uint32) []byte {
	at := len(dst)
	dst = openFrame(dst, FrameHeartbeatEcho, session, 0)
	dst = binary.LittleEndian.AppendUint64(dst, m.Clock)
	dst = binary.LittleEndian.AppendUint64(dst, m.Number)
	return closeFrame(dst, at)
}

// Decode reads a heartbeat echo's body.
func (m *HeartbeatEcho) Decode(body []byte) error {
	r := bodyReader{kind: FrameHeartbeatEcho, body: body}
	m.Clock = r.u64("clock")
	m.Number = r.u64("number")
	return r.end()
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

// AppendTo appends a whole frame. session is 0: there is none before the hello.
func (m *Join) AppendTo(dst []byte, session uint32) []byte {
	at := len(dst)
	dst = openFrame(dst, FrameJoin, session, 0)
	dst = append(dst, m.Link[:]...)
	dst = binary.LittleEndian.AppendUint16(dst, m.Streams)
	dst = binary.LittleEndian.AppendUint16(dst, m.Stream)
	return closeFrame(dst, at)
}

// Decode reads a join's body.
func (m *Join) Decode(body []byte) error {
	r := bodyReader{kind: FrameJoin, body: body}
	copy(m.Link[:], r.take("link", len(m.Link)))
	m.Streams = r.u16("streams")
	m.Stream = r.u16("stream")
	if m.Streams < 2 || m.Streams > StreamsMax {
		r.refuse("%d streams, want 2 to %d", m.Streams, StreamsMax)
	}
	if m.Stream >= m.Streams {
		r.refuse("stream %d of %d", m.Stream, m.Streams)
	}
	return r.end()
}
