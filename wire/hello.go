package wire

import "encoding/binary"

// Hello opens a session. The source dials; frames follow only after Welcome.
type Hello struct {
	VersionMin, VersionMax uint8
	Cluster                ClusterID
	Site                   SiteID // who dials
	Node                   NodeID
	Peer                   SiteID // whom it means to reach
	Term                   Term   // of its own journal
	Counter                uint32 // rises with every session of the term; (Term, Counter) names the session
	Shards                 uint32
	DigestKind             uint8
	Primary                SiteID // who writes domain 0, as this site knows it
	Epoch                  Epoch  // of domain 0, as this site knows it
	Features               uint64 // must-understand features that this session will use
	ClusterName            string // ≤ 255 bytes: so that an error can name it
	SiteName               string
	PeerName               string
}

// Features of a session that both ends must understand.
const (
	FeatureEpochs uint64 = 1 // epochs above the first
	FeaturesKnown        = FeatureEpochs
)

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

// Welcome accepts a session. Cursor pages with PageResume set follow at once.
type Welcome struct {
	Version  uint8
	Site     SiteID
	Node     NodeID
	Term     Term
	Epoch    Epoch
	SiteName string
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

// Refusal ends a session.
type Refusal struct {
	Code    RefusalCode
	Term    Term   // with RefuseSession: the highest session seen
	Counter uint32 // with RefuseFenced, both are the epoch: see Fence
	Text    string // ≤ 1024 bytes, for people
}

// Fence has a refusal tell the epoch that another session's is below of.
func (m *Refusal) Fence(e Epoch) { m.Term, m.Counter = Term(e>>32), uint32(e) }

// Epoch is what Fence put there.
func (m *Refusal) Epoch() Epoch { return Epoch(m.Term)<<32 | Epoch(m.Counter) }

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

// StreamsMax is how many connections one link may have.
const StreamsMax = 64

// Join opens a connection that carries a part of a link's frames: frame n of a
// direction, counted from 0 and without the joins, goes over connection n modulo
// Streams.
type Join struct {
	Link    [16]byte // random, the same on all connections of a link
	Streams uint16   // 2 to StreamsMax
	Stream  uint16   // which one this is, from 0
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
