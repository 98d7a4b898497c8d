package step

import (
	"github.com/claudefs/repl/wire"
)

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
	// Receiving are links on which nothing was heard for half of HeartbeatTimeout, but part
	// of a frame came: they count as heard, and the peer is told that somebody is here.
	Receiving []LinkID
}

// LinkUp: a link is open. Dialed links name the peer that Dial asked for.
type LinkUp struct {
	Link LinkID
	Peer wire.SiteID // 0 if accepted
	// Proven is the site that the transport proved the other end to be; 0 = none did. A hello
	// that names another one is refused.
	Proven wire.SiteID
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
	Ext      wire.Extensions
	Body     []byte // of a control frame; nil else
	Headers  []wire.BatchHeader
	Starts   []wire.Start // what the STARTs among them say, see wire.StartsOf
	BatchErr error
}

// Sought answers Seek: the reader stands; Tails are the tails of all logs of
// the own journal where it stands. If Err is that batches are no longer
// retained, NotRetained names at least one of their logs: the node takes those
// out and seeks again.
type Sought struct {
	Link        LinkID
	Tails       []wire.Cursor
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
	Starts  []wire.Start // what the STARTs among them say, with Before
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
	Cursors []wire.Cursor
}

// StoreDurable: these cursors of the Store would survive a crash.
type StoreDurable struct {
	Cursors []wire.Cursor
}

// JournalDown: a journal stopped; nothing in it is acknowledged any more.
type JournalDown struct {
	Journal Journal
	Err     error
}

// ApplyStopped: the applier of a log stopped; its mirror and acks go on.
type ApplyStopped struct {
	Log wire.LogID
	Err error // nil: it goes on
}

// LogDamaged: a journal lacks a stretch of a log, of the mirror or an own one, that
// damage took; it is to be fetched from any holder: everything in (From, To].
type LogDamaged struct {
	Log  wire.LogID
	From wire.Position
	To   wire.Position
	Gone bool // it is missing no more
}

// Granted answers OpGrant: so many bytes went, these questions are answered to their
// end, and Open, if not 0, is one that is not.
type Granted struct {
	Link  LinkID
	Bytes int
	Ended []wire.FetchEnd
	Open  uint64
}

// VerifyAsk: ask a peer what both sites must have in common, or what makes a shard here
// equal to the peer's. The answer is a Told; a later question to the same peer takes the
// place of an earlier one, and a question of kind VerifyEnd has no answer. IDs rise over
// all peers.
type VerifyAsk struct {
	Peer wire.SiteID
	Ask  wire.Verify
	Mend *wire.Mend // not nil: the question, in the place of Ask
}

// ID names the question.
func (a *VerifyAsk) ID() uint64 {
	if a.Mend != nil {
		return a.Mend.ID
	}
	return a.Ask.ID
}

// End says that nothing more is asked.
func (a *VerifyAsk) End() bool { return a.Mend == nil && a.Ask.Kind == wire.VerifyEnd }

// VerifyAnswer answers an Asked: by Rows where that is a Mend.
type VerifyAnswer struct {
	Link   LinkID
	Answer *wire.Verified
	Rows   *wire.Rows
}

// Mended: the Store's state of a shard was made equal to a view of another site. Cursors
// are those of the view, of all logs of the shard that it has, and durable in the Store.
type Mended struct {
	Shard   wire.Shard
	Cursors []wire.Cursor
}

// End: this heart gives up its links and does nothing more: another one takes its place.
type End struct{ Reason string }

func (*End) input()          {}
func (*Tick) input()         {}
func (*LinkUp) input()       {}
func (*LinkDown) input()     {}
func (*FrameIn) input()      {}
func (*Sought) input()       {}
func (*ReadDone) input()     {}
func (*OwnDurable) input()   {}
func (*Durable) input()      {}
func (*StageFailed) input()  {}
func (*Repaired) input()     {}
func (*Persisted) input()    {}
func (*Applied) input()      {}
func (*StoreDurable) input() {}
func (*JournalDown) input()  {}
func (*ApplyStopped) input() {}
func (*LogDamaged) input()   {}
func (*Granted) input()      {}
func (*VerifyAsk) input()    {}
func (*VerifyAnswer) input() {}
func (*Mended) input()       {}
