package node

import (
	"time"

	"github.com/claudefs/repl/engine/stream"
	"github.com/claudefs/repl/wire"
)

// Now is the time of a step. Mono drives timers; Wall is the node's clock.
type Now struct {
	Mono time.Duration // since an arbitrary start, never goes back
	Wall time.Time
}

// Config is what does not change while a node runs.
type Config struct {
	Cluster     wire.ClusterID
	ClusterName string
	Site        wire.SiteID
	SiteName    string
	Node        wire.NodeID
	Shards      uint32
	Primary     wire.SiteID // who writes domain 0
	// PrimaryNamed: an operator named Primary for this start. A directory that does not
	// know yet who writes then takes his word; else it waits for that of every peer.
	PrimaryNamed bool
	Peers        []Peer // configured peers, sorted by site

	WindowBytesMax   int64         // per peer; default 64 MiB
	WindowBytesMin   int64         // default 1 MiB
	FrameBytesMax    int           // of batches in one frame; default 2 MiB less an envelope
	HeartbeatEvery   time.Duration // default 250ms
	HeartbeatTimeout time.Duration // silence that makes lag unknown and ends the link; default 3s
	RestoreBytesMax  int64         // given back and not flushed, before more is asked for; default 4 MiB
	PageEvery        time.Duration // default 1s
	VerifyWait       time.Duration // how long appends wait for a peer's word after open; default 3s
	RedialMin        time.Duration // default 50ms
	RedialMax        time.Duration // default 2s
	Seed             uint64        // for jitter

	// Sometimes lets a simulator choose what is rare: whether to do now, at the
	// named point, what is always allowed. nil = never.
	Sometimes func(point string) bool
}

// Peer is a site that this one talks to.
type Peer struct {
	Site wire.SiteID
	Name string
	// NoAddress: it is never reached by a dial, so that its pages, which say what it
	// mirrors of other sites, cannot come. Of a configured peer.
	NoAddress bool
}

// Log is where a log ends in a journal.
type Log struct {
	ID        wire.LogID
	Tail      wire.Position
	LastStamp wire.Stamp
	LastIndex uint64
}

// Boot is what the node finds when it starts.
type Boot struct {
	Term          wire.Term
	Own           []Log // sorted; own journal
	Mirror        []Log // sorted; mirror journal
	OwnSuspect    []wire.LogID
	MirrorSuspect []wire.LogID
	Peers         []RegisteredPeer // sorted by site; from the control state
	Applied       []stream.Cursor  // the Store's cursors, sorted by log
	// Founded: the directory has it on record, or what is in it shows, that Config.Primary
	// writes. Else this is a new directory: see Effects.Found.
	Founded bool
}

// RegisteredPeer is a peer with the cursors that it once confirmed.
type RegisteredPeer struct {
	Peer
	Cursors []stream.Cursor // sorted by log

	// Boot only: bytes of the own journal that lie behind the cursors, if Measured.
	Backlog  int64
	Measured bool
}

// LinkID is the shell's name for a link; never reused.
type LinkID uint64

// Journal names one of the node's two journals.
type Journal uint8

const (
	Own Journal = iota + 1
	Mirror
)

// Input is what happened. The pointer and everything behind it are borrowed
// for the step.
type Input interface{ input() }

// Tick: a timer may be due. A tick that finds nothing due changes nothing.
type Tick struct {
	// Moving are links on which nothing was heard for half of HeartbeatTimeout, but part
	// of a frame came: they count as heard, and the peer is told that somebody is here.
	Moving []LinkID
}

// LinkUp: a link is open. Dialed links name the peer that Dial asked for.
type LinkUp struct {
	Link LinkID
	Peer wire.SiteID // 0 if accepted
	// Takeover: nobody asked for it, but it is better than the one to Peer, whose
	// session ends for a newer one on this link.
	Takeover bool
}

// LinkDown: a link, or a dial to Peer (Link 0), ended.
type LinkDown struct {
	Link LinkID
	Peer wire.SiteID
	Err  error
}

// FrameIn: a whole, checked frame arrived. For frames of batches, Headers are
// those of its batches, bodies verified; BatchErr says why they do not hold.
type FrameIn struct {
	Link     LinkID
	Envelope wire.Envelope
	Body     []byte // of a control frame; nil else
	Headers  []wire.BatchHeader
	BatchErr error
}

// Sought answers Seek: the reader stands; Tails are the tails of all logs of
// the own journal where it stands. If Err is that batches are no longer
// retained, NotRetained names at least one of their logs: the node takes those
// out and seeks again.
type Sought struct {
	Link        LinkID
	Tails       []stream.Cursor
	NotRetained []wire.LogID
	Err         error
}

// ReadDone answers Read: the next batches in physical order; none = the reader
// is at the durable end. Backlog is how many bytes lie behind them.
type ReadDone struct {
	Link    LinkID
	Headers []wire.BatchHeader
	Backlog int64
	Err     error
}

// OwnDurable: the own journal flushed these batches.
type OwnDurable struct {
	Headers []wire.BatchHeader
}

// Staged batches up to and including this ticket are durable in that journal
// (see Stage).
type Durable struct {
	Journal Journal
	Ticket  uint64
}

// StageFailed: the batches of this ticket were not staged, or their flush failed.
type StageFailed struct {
	Ticket uint64
	Err    error
}

// Repaired answers the last piece of a repair, whenever the disk is done with it.
// Err: the damage is there as before.
type Repaired struct {
	Ticket uint64
	Err    error
}

// Persisted answers Persist.
type Persisted struct {
	Ticket uint64
	Err    error
}

// Applied: the Store's cursor of a log moved.
type Applied struct {
	Cursors []stream.Cursor
}

// StoreDurable: these cursors of the Store would survive a crash.
type StoreDurable struct {
	Cursors []stream.Cursor
}

// JournalDown: a journal stopped; nothing in it is acknowledged any more.
type JournalDown struct {
	Journal Journal
	Err     error
}

// ApplyStopped: the applier of a log stopped; its mirror and acks go on.
type ApplyStopped struct {
	Log wire.LogID
	Err error
}

// MirrorDamaged: a journal lacks a stretch of a log, of the mirror or an own one, that
// damage took; it is to be fetched from any holder: everything in (From, To].
type MirrorDamaged struct {
	Log  wire.LogID
	From wire.Position
	To   wire.Seq
	Gone bool // nothing of the log is missing any more, From and To mean nothing
}

func (*Tick) input()          {}
func (*LinkUp) input()        {}
func (*LinkDown) input()      {}
func (*FrameIn) input()       {}
func (*Sought) input()        {}
func (*ReadDone) input()      {}
func (*OwnDurable) input()    {}
func (*Durable) input()       {}
func (*StageFailed) input()   {}
func (*Repaired) input()      {}
func (*Persisted) input()     {}
func (*Applied) input()       {}
func (*StoreDurable) input()  {}
func (*JournalDown) input()   {}
func (*ApplyStopped) input()  {}
func (*MirrorDamaged) input() {}

// Effects is what is to be done. Step appends; the caller resets it between
// steps and keeps it, so that nothing is allocated. Effects on one link happen
// in the order of Link operations (Ops); there is no other order among them:
// whatever must follow the end of another effect is only asked for once that
// end was reported as an input. So "flush before ack" is: Stage … Durable …
// an Op with the ack.
type Effects struct {
	Ops      []Op    // on links, in order
	Stages   []Stage // in order
	Persists []Persist
	Progress []Progress // positions that peers have reached
	Admits   []Admit
	Clears   []Clear   // before Stages
	Retain   []Journal // floors rose: Journal.Retain with Node.Floor
	Events   []Event
	Asked    []Asked // questions of peers, to be answered
	Told     []Told  // answers of peers
	// Found: stage a record that Config.Primary writes, before anything that follows from
	// Admits: from now on the directory knows it.
	Found   bool
	Adopts  []Log         // Journal.Adopt of the own journal; before Admits
	Wake    time.Duration // Mono time of the next due timer; 0 = none
	bytes   []byte        // backs the control frames of Ops
	indexes []int         // backs the Batches of Ops and Stages
}

// Reset empties e, keeping its memory.
func (e *Effects) Reset() {
	*e = Effects{
		Ops: e.Ops[:0], Stages: e.Stages[:0], Persists: e.Persists[:0], Progress: e.Progress[:0],
		Admits: e.Admits[:0], Clears: e.Clears[:0], Retain: e.Retain[:0], Events: e.Events[:0],
		Asked: e.Asked[:0], Told: e.Told[:0], Adopts: e.Adopts[:0], bytes: e.bytes[:0], indexes: e.indexes[:0],
	}
}

// OpKind is what an Op does.
type OpKind uint8

const (
	OpDial  OpKind = iota + 1 // connect to Peer; answered by LinkUp or LinkDown{Link: 0}
	OpClose                   // send what is queued, then close; answered by LinkDown
	OpSend                    // send Frame, a whole control frame (copy it: it is reused)
	// OpSeek: (re)open the link's reader of the own journal so that it meets
	// everything beyond Have; answered by Sought.
	OpSeek
	OpRead   // read up to Bytes of batches; answered by ReadDone
	OpShip   // send Envelope and those batches of the last ReadDone that Batches names
	OpAnswer // take Fetch among the questions that the link's next grants answer; without an id, drop all of Journal
	OpGrant  // send about Bytes of what is asked for of Journal, in frames like Envelope; answered by Granted
)

// Op is one thing to do on a link.
type Op struct {
	Kind     OpKind
	Link     LinkID
	Peer     wire.SiteID
	Reason   string // OpClose
	Frame    []byte
	Have     []stream.Cursor // sorted by log
	Bytes    int
	Envelope wire.Envelope
	Batches  []int
	Journal  Journal // OpAnswer, OpGrant
	Fetch    wire.Fetch
}

// StageKind is which journal batches go to, and why.
type StageKind uint8

const (
	StageMirror  StageKind = iota + 1 // into the mirror
	StageRestore                      // own batches that came back from a peer: into the own journal
	StageRepair                       // Journal.Repair of the mirror
)

// Stage: put those batches of the FrameIn of this step that Batches names
// into a journal, and flush. Answered by Durable or StageFailed, in the order of
// tickets per journal: Durable speaks for all lower ones as well. A repair comes in
// pieces that continue each other from From; the shell gathers them, calls
// Journal.Repair with all of them at the one that is Last, and answers that one by
// Repaired: it waits for the disk, and no acknowledgement waits for it (I10).
type Stage struct {
	Kind    StageKind
	Ticket  uint64
	Batches []int
	Log     wire.LogID    // restore and repair: the one log
	From    wire.Position // repair: what the first batch of this piece continues
	Last    bool          // repair: the damage is covered
}

// Clear: the tail of a suspect log was proven by another site: Journal.Clear.
type Clear struct {
	Journal Journal
	Log     wire.LogID
}

// Persist: write control records to the own journal and flush. Answered by
// Persisted.
type Persist struct {
	Ticket uint64
	Peers  []RegisteredPeer
	Forget []wire.SiteID // these are registered no more
}

// Progress: Peer has confirmed Log up to Seq at Level.
type Progress struct {
	Peer     wire.SiteID
	Level    wire.AckLevel
	Log      wire.LogID
	Position wire.Position
	// Lost: it no longer has all that it once confirmed. Nothing of it counts any more, at
	// any level, until it is confirmed again; Level and Position mean nothing.
	Lost bool
}

// Admission is whether a shard's own log takes appends.
type Admission uint8

const (
	AdmitWaiting    Admission = iota // just opened: waiting for a peer's word
	AdmitVerified                    // every peer was heard, and nobody has more
	AdmitUnverified                  // not every peer answered in VerifyWait; admitted all the same
	AdmitRefused                     // suspect, diverged, stopped or withheld: Err says which
	AdmitStandby                     // another site writes
)

// Admit: the own log of Shard changed its admission. Where it was not admitted
// before, Tail is where it ends now: fetched batches may have been added. A
// log that goes from unverified to verified has gone on appending: its writer
// keeps its own tail.
type Admit struct {
	Shard     wire.Shard
	Admission Admission
	Tail      Log
	Err       error
}

// Event is something worth telling people.
type Event struct {
	Kind  string // a closed list, see the constants of events.go
	Peer  wire.SiteID
	Log   wire.LogID
	Text  string
	Alarm bool
}

// PeerStatus is one peer as the node sees it.
type PeerStatus struct {
	Peer
	Link                    string    // "down", "connecting", "hello", "catching up", "live", "refused"
	Reason                  string    // why down or refused; "" else
	LastHeard               time.Time // zero = never since open
	RTT                     time.Duration
	Session                 uint32
	Dialed, Accepted        LinkID // of its sessions; 0 = none
	Sessions                uint64 // that the peer answered since open
	Durable                 stream.Lag
	Applied                 stream.Lag
	WaitingOn               stream.WaitingOn
	WindowBytes, WindowUsed int64
	FramesSent              uint64
	BytesSent               int64
	FramesReceived          uint64
	BytesReceived           int64
	SessionsAccepted        uint64
	Staged                  int64        // bytes received from it that wait for a flush
	Behind                  Behind       // how far this site is behind it
	CatchUpRate             float64      // bytes a second that it confirmed lately, while it lacks some; 0 = not known
	CatchUpSeconds          float64      // what it lacks, at that rate
	Writes                  bool         // else Behind means nothing
	Pinned                  int64        // bytes of the own journal that it has not confirmed; -1 = unknown
	Stopped                 []StoppedLog // logs that this peer refuses or whose histories differ
	LeftOut                 uint32       // logs of its own that it says it leaves out of the session accepted from it
}

// StoppedLog is a log that does not move, and why.
type StoppedLog struct {
	Log    wire.LogID
	Code   wire.RefusalCode
	Reason string
}

// Status is one snapshot.
type Status struct {
	At        time.Time
	Term      wire.Term
	Admission map[Admission]int // shards in each state
	Peers     []PeerStatus      // sorted by name
	Stopped   []StoppedLog      // logs that stopped here
	// Withheld is why no log of this site takes appends, whatever its own state: "" = none
	// of these reasons.
	Withheld string
}
