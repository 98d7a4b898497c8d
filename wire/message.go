package wire

// Control messages. Each has AppendTo, which appends a whole frame (envelope,
// body, CRC), and Decode, which reads a checked frame's body, refuses what
// FORMAT.md does not allow, and reuses the message's own slices.

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
	Features               uint64 // must-understand features that this session will use; none yet
	ClusterName            string // ≤ 255 bytes: so that an error can name it
	SiteName               string
	PeerName               string
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

// RefusalCode is why a session ended or a log was refused. Part of the format,
// never reuse.
type RefusalCode uint16

const (
	RefuseVersion            RefusalCode = 1
	RefuseCluster            RefusalCode = 2
	RefuseSite               RefusalCode = 3 // not the site that was meant, or not a configured peer
	RefuseSiteCollision      RefusalCode = 4 // same SiteID, other name
	RefuseShards             RefusalCode = 5
	RefuseSession            RefusalCode = 6 // an older (term, counter) than the highest seen
	RefuseFeature            RefusalCode = 7
	RefuseDigestKind         RefusalCode = 8
	RefusePrimary            RefusalCode = 9 // the ends disagree about who writes
	RefuseMalformed          RefusalCode = 10
	RefuseGoodbye            RefusalCode = 11 // no fault: the other end is closing
	RefuseSuperseded         RefusalCode = 12 // a newer session of the same pair took over
	RefuseInternal           RefusalCode = 13
	RefuseUnknownIncarnation RefusalCode = 32
	RefuseChain              RefusalCode = 33 // same seq, other chain: histories differ
	RefuseGap                RefusalCode = 34 // first seq beyond the tail
	RefuseEpoch              RefusalCode = 35
	RefuseOrder              RefusalCode = 36 // stamps or seqs do not rise
	RefuseSuspect            RefusalCode = 37 // this copy is damaged and not yet repaired
	RefuseNotRetained        RefusalCode = 38 // the batches asked for are gone
	RefuseShardRange         RefusalCode = 39
	RefuseNotWriter          RefusalCode = 40
)

// Refusal ends a session.
type Refusal struct {
	Code    RefusalCode
	Term    Term // with RefuseSession: the highest session seen
	Counter uint32
	Text    string // ≤ 1024 bytes, for people
}

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

// BatchRefusal takes one log out of the session: everything of Log from
// Position on is refused, and frame acks no longer speak for it.
type BatchRefusal struct {
	Code     RefusalCode
	Log      LogID
	Position Position // the receiver's tail of that log
	Text     string
}

// Page flags.
const (
	PageResume uint8 = 1 // part of the answer to a hello: all logs
	PageLast   uint8 = 2 // the last page of the answer
)

// PageEntryMax is the most rows a page may hold.
const PageEntryMax = 4096

// CursorPage carries positions of changed logs, of all logs the site mirrors.
type CursorPage struct {
	Flags   uint8
	Entries []PageEntry // strictly rising by log
}

// PageEntry is one row of a CursorPage.
type PageEntry struct {
	Log     LogID
	Durable Position // the mirror's flushed tail
	Applied Seq      // in the Store, same incarnation; ≤ Durable.Seq
}

// Heartbeat carries the source's clock and its last stamp.
type Heartbeat struct {
	Clock     uint64 // source's wall clock, microseconds
	LastStamp Stamp
	Number    uint64 // rises
}

// SourceHeartbeat is a heartbeat that tells what its source leaves out of the session.
type SourceHeartbeat struct {
	Heartbeat
	Stopped uint32 // logs; decoded into the envelope
}

// HeartbeatEcho answers a Heartbeat.
type HeartbeatEcho struct {
	Clock  uint64 // receiver's wall clock, microseconds
	Number uint64
}

// Fetch asks for the batches of Log in (From, To]. From.Chain is the asker's
// tail, so that the answer can prove that it continues it. To = 0: as far as
// the answerer has.
type Fetch struct {
	ID   uint64
	Log  LogID
	From Position
	To   Seq
}

// FetchEnd closes the answer to a Fetch.
type FetchEnd struct {
	ID   uint64
	Code RefusalCode // 0 = all was sent
	Text string
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
