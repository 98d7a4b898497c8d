package step

import (
	"time"

	"github.com/claudefs/repl/engine/event"
	"github.com/claudefs/repl/wire"
)

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
	Reclaim  []Journal // floors rose: Journal.Reclaim with Node.Floor
	Events   []event.Event
	Asked    []Asked // questions of peers, to be answered
	Told     []Told  // answers of peers
	// Raise: a higher epoch is known. Step End, wait until both journals have flushed what is
	// staged, put the epoch on record, and go on with a new heart that has it. 0 = none is.
	Raise wire.Epoch
	// Found: stage a record that Config.Primary writes in Config.Epoch, before anything that
	// follows from Admits: from now on the directory knows it.
	Found   bool
	Opens   []Open        // in order, after Admits
	Adopts  []Log         // Journal.Adopt, of the journal that the log is in; before Admits
	Wake    time.Duration // Mono time of the next due timer; 0 = none
	bytes   []byte        // backs the control frames of Ops
	indexes []int         // backs the Batches of Ops and Stages
}

// Reset empties e, keeping its memory.
func (e *Effects) Reset() {
	*e = Effects{
		Ops: e.Ops[:0], Stages: e.Stages[:0], Persists: e.Persists[:0], Progress: e.Progress[:0],
		Admits: e.Admits[:0], Clears: e.Clears[:0], Reclaim: e.Reclaim[:0], Events: e.Events[:0],
		Asked: e.Asked[:0], Told: e.Told[:0], Adopts: e.Adopts[:0], Opens: e.Opens[:0],
		bytes: e.bytes[:0], indexes: e.indexes[:0],
	}
}

// Room is how many bytes of control frames e keeps memory for.
func (e *Effects) Room() int { return cap(e.bytes) }

// Send has a control message sent over a link.
func (e *Effects) Send(link LinkID, session uint32, m wire.Message) {
	e.SendWith(link, session, m, nil)
}

// SendWith has a control message sent with extensions of its frame.
func (e *Effects) SendWith(link LinkID, session uint32, m wire.Message, x wire.Extensions) {
	lo := len(e.bytes)
	e.bytes = wire.AppendControl(e.bytes, session, m, x)
	hi := len(e.bytes)
	e.Ops = append(e.Ops, Op{Kind: OpSend, Link: link, Frame: e.bytes[lo:hi:hi]})
}

// Mark is where the next picked batch goes.
func (e *Effects) Mark() int { return len(e.indexes) }

// Pick names a batch of the input by its index.
func (e *Effects) Pick(i int) { e.indexes = append(e.indexes, i) }

// Picked are the batches picked since a mark; they stay valid for the step.
func (e *Effects) Picked(since int) []int {
	hi := len(e.indexes)
	return e.indexes[since:hi:hi]
}

// Unpick drops what was picked since a mark.
func (e *Effects) Unpick(since int) { e.indexes = e.indexes[:since] }

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
	Have     []wire.Cursor // sorted by log
	Bytes    int
	Envelope wire.Envelope
	Batches  []int
	Journal  Journal // OpAnswer, OpGrant
	Fetch    wire.Fetch
	Until    wire.Position // OpAnswer: up to where, in a later incarnation; Seq 0 = no such
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

// Clear: the tail of a suspect log is proven by another site, or nobody has more of it:
// Journal.Clear.
type Clear struct {
	Journal Journal
	Log     wire.LogID
}

// Persist: write control records to the own journal and flush. Answered by
// Persisted.
type Persist struct {
	Ticket uint64
	// In this order: what is known of a site may be given up, and then be new.
	Forget  []wire.SiteID // nothing is kept for these any more
	Removed []wire.RemovedSite
	Sites   []wire.SiteRecord
	Peers   []wire.RegisteredPeer
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
	// Open: the log has no incarnation in the epoch held, and begins one before it takes an
	// append. nil = it goes on, or nobody ever wrote the shard.
	Open *Open
}

// Open: the own log of Shard begins a new incarnation: Writer.Open, as its fields of these names
// say. It is answered by OwnDurable. Where it cannot be done now, because somebody holds the
// log's tail, it is tried again by the shell.
type Open struct {
	Shard  wire.Shard
	Epoch  wire.Epoch
	Rows   []wire.LogEnd
	GoesOn bool
	After  wire.Stamp
}

// Asked: answer this question of the other end of a link, with VerifyAnswer, and
// give up the one before. Kind VerifyEnd: nothing more is asked, or the link is
// gone; give back what was kept. Lo and Hi, and Mend, are borrowed.
type Asked struct {
	Link LinkID
	Peer wire.SiteID // which asks
	Ask  wire.Verify
	Mend *wire.Mend // not nil: the question, in the place of Ask
}

// Told is what became of a VerifyAsk. Answer, or Rows where that was a Mend, is borrowed;
// both are nil if Err says why there is none.
type Told struct {
	Peer   wire.SiteID
	ID     uint64
	Answer *wire.Verified
	Rows   *wire.Rows
	Err    error
}
