package event

import (
	"fmt"
	"strings"

	"github.com/claudefs/repl/wire"
)

// Session numbers a session of two sites.
type Session struct {
	Term    wire.Term
	Counter uint32
}

func (s Session) String() string { return fmt.Sprintf("%d/%d", s.Term, s.Counter) }

// LinkUp: a session reached its peer.
type LinkUp struct {
	Place
	Session Session
	Dialed  bool // else the peer dialed
}

func (*LinkUp) Kind() Kind { return KindLinkUp }

func (e *LinkUp) Text(n Names) string {
	if e.Dialed {
		return fmt.Sprintf("site %s answered, session %s", n(e.Peer), e.Session)
	}
	return fmt.Sprintf("session %s of site %s", e.Session, n(e.Peer))
}

// LinkDown: a session ended.
type LinkDown struct {
	Place
	Dialed bool
	Reason string
}

func (*LinkDown) Kind() Kind { return KindLinkDown }

func (e *LinkDown) Text(n Names) string {
	way := "of"
	if e.Dialed {
		way = "to"
	}
	return fmt.Sprintf("session %s site %s ended: %s", way, n(e.Peer), e.Reason)
}

// LinkClosed: the other end of a link does not keep to the protocol.
type LinkClosed struct {
	Place
	Err error
}

func (*LinkClosed) Kind() Kind { return KindRefused }

func (e *LinkClosed) Text(Names) string { return fmt.Sprintf("link closed: %v", e.Err) }

// SessionRefused: we refused a session that a peer opened.
type SessionRefused struct {
	Place
	Code   wire.RefusalCode
	Reason string
}

func (*SessionRefused) Kind() Kind { return KindRefused }

// Alarm: not where the peer learns of a higher epoch by it, and follows; nor where an operator had it
// removed, and it comes again and again.
func (e *SessionRefused) Alarm() bool {
	return e.Code != wire.RefuseFenced && e.Code != wire.RefuseRemoved
}

func (e *SessionRefused) Text(Names) string { return "refused a session: " + e.Reason }

// SessionStale: a peer opened a session that is not newer than one that was seen, and finds
// that out by our answer.
type SessionStale struct {
	Place
	Opened, Seen Session
}

func (*SessionStale) Kind() Kind { return KindRefused }

// Alarm: it is a matter of one more dial.
func (*SessionStale) Alarm() bool { return false }

func (e *SessionStale) Text(n Names) string {
	return fmt.Sprintf("session %s of site %s is not newer than %s, the highest seen here", e.Opened, n(e.Peer), e.Seen)
}

// SessionEnded: a batch of a peer's session is not of this cluster, or not the peer's.
type SessionEnded struct {
	Place
	Code   wire.RefusalCode
	Reason string
}

func (*SessionEnded) Kind() Kind { return KindRefused }

func (e *SessionEnded) Text(n Names) string {
	return fmt.Sprintf("session of site %s ended: %s", n(e.Peer), e.Reason)
}

// RefusedByPeer: a peer refused our session.
type RefusedByPeer struct {
	Place
	Code   wire.RefusalCode
	Reason string
}

func (*RefusedByPeer) Kind() Kind { return KindRefused }

// Alarm: not where the peer says goodbye, or the next dial does better.
func (e *RefusedByPeer) Alarm() bool {
	return e.Code != wire.RefuseGoodbye && e.Code != wire.RefuseSession && e.Code != wire.RefuseFenced
}

func (e *RefusedByPeer) Text(n Names) string {
	return fmt.Sprintf("site %s refused us: %s", n(e.Peer), e.Reason)
}

// EpochRaised: another epoch began, and the site that writes in it.
type EpochRaised struct {
	Place
	Epoch  wire.Epoch
	Writer wire.SiteID
	By     string // the site that said so
}

func (*EpochRaised) Kind() Kind { return KindEpochRaised }

func (e *EpochRaised) Text(n Names) string {
	return fmt.Sprintf("site %s writes from now on, in epoch %s, by the word of %s", n(e.Writer), e.Epoch, e.By)
}

// Superseded: a newer session of the same pair took over.
type Superseded struct {
	Place
	By, Former Session
}

func (*Superseded) Kind() Kind { return KindSuperseded }

func (e *Superseded) Text(n Names) string {
	return fmt.Sprintf("session %s of site %s takes over from %s", e.By, n(e.Peer), e.Former)
}

// SessionSurpassed: a peer has seen a later session under our name than our journal knows.
type SessionSurpassed struct {
	Place
	Seen Session
	Own  wire.Term
}

func (*SessionSurpassed) Kind() Kind { return KindSessionSurpassed }

func (e *SessionSurpassed) Text(n Names) string {
	return fmt.Sprintf("site %s has seen session %s under our name, our journal's term is %d: "+
		"another node with our identity, or our journal is an older copy", n(e.Peer), e.Seen, e.Own)
}

// SessionTaken: a peer took a session under our name that we did not open.
type SessionTaken struct{ Place }

func (*SessionTaken) Kind() Kind { return KindSessionSurpassed }

func (e *SessionTaken) Text(n Names) string {
	return fmt.Sprintf("site %s took a session under our name that is not ours: another node has our identity",
		n(e.Peer))
}

// FrameCorrupt: a frame of batches does not hold.
type FrameCorrupt struct {
	Place
	Number uint64
	Err    error
}

func (*FrameCorrupt) Kind() Kind { return KindCorruption }

func (e *FrameCorrupt) Text(n Names) string {
	return fmt.Sprintf("frame %d of site %s does not hold: %v", e.Number, n(e.Peer), e.Err)
}

// LogsLeftOut: a peer leaves logs of its own out of its session.
type LogsLeftOut struct {
	Place
	Logs uint32
}

func (*LogsLeftOut) Kind() Kind { return KindLogStopped }

func (e *LogsLeftOut) Text(n Names) string {
	return fmt.Sprintf("site %s leaves %d of its logs out of the session: its status tells why", n(e.Peer), e.Logs)
}

// Forgotten: an operator gave a peer up.
type Forgotten struct {
	Place
	Gone    bool   // it answered once; else it never did
	Removed bool   // it lives, and is refused from now on
	By      string // who removed it
	Entries int64
	Shards  int
	Last    int64 // entries that only the peer has
}

func (e *Forgotten) Kind() Kind {
	if e.Removed {
		return KindSiteRemoved
	}
	return KindForgotten
}

func (e *Forgotten) Text(n Names) string {
	why, last := "which never answered", ""
	if e.Gone {
		why = "which is gone for good"
	}
	if e.Last > 0 {
		last = fmt.Sprintf(", and %d that only it has are given up", e.Last)
	}
	what := "forgotten, " + why
	if e.Removed {
		what = fmt.Sprintf("removed by %s, and refused from now on", e.By)
	}
	return fmt.Sprintf("site %s is %s: %d entries of %d shards are not kept for it any more%s",
		n(e.Peer), what, e.Entries, e.Shards, last)
}

// SiteAdded: an operator took a site in, or changed its addresses.
type SiteAdded struct {
	Place
	Known   bool // it was a peer before
	Learner bool
	Addrs   []string
}

func (*SiteAdded) Kind() Kind { return KindSiteAdded }

func (e *SiteAdded) Text(n Names) string {
	text := fmt.Sprintf("site %s is taken in", n(e.Peer))
	if e.Known {
		text = fmt.Sprintf("site %s was known", n(e.Peer))
	}
	text += ", and is dialed at " + strings.Join(e.Addrs, ", ")
	if e.Learner {
		text += ": a learner, which counts for nothing until it holds everything"
	}
	return text
}

// SiteFull: a learner holds everything.
type SiteFull struct{ Place }

func (*SiteFull) Kind() Kind { return KindSiteFull }

func (e *SiteFull) Text(n Names) string {
	return fmt.Sprintf("site %s holds everything: it is a learner no more, and counts from now on", n(e.Peer))
}

// SiteNamed: the configuration says something else of a site than what is on record.
type SiteNamed struct {
	Place
	Addrs, Record []string
	Removed       string // by whom and when it was; "" = it was not
}

func (*SiteNamed) Kind() Kind { return KindSiteNamed }

func (e *SiteNamed) Text(n Names) string {
	if e.Removed != "" {
		return fmt.Sprintf("site %s is named as a peer and was removed %s: the name counts for nothing; leave it out, "+
			"or take the site in again: cfs admin replication sites add %[1]s --addr ADDR", n(e.Peer), e.Removed)
	}
	return fmt.Sprintf("site %s is named as a peer at %s, on record at %s: the configuration wins, and is on record "+
		"now", n(e.Peer), strings.Join(e.Addrs, ", "), strings.Join(e.Record, ", "))
}
