package wire

import "encoding/binary"

// Heartbeat carries the source's clock and its last stamp.
type Heartbeat struct {
	Clock     uint64 // source's wall clock, microseconds
	LastStamp Stamp
	Number    uint64 // rises
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

// Decode reads a heartbeat's body.
func (m *Heartbeat) Decode(body []byte) error {
	r := bodyReader{kind: FrameHeartbeat, body: body}
	m.Clock = r.u64("clock")
	m.LastStamp = Stamp(r.u64("last stamp"))
	m.Number = r.u64("number")
	return r.end()
}

// HeartbeatEcho answers a Heartbeat.
type HeartbeatEcho struct {
	Clock  uint64 // receiver's wall clock, microseconds
	Number uint64
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
