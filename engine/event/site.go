package event

import (
	"fmt"

	"github.com/claudefs/repl/wire"
)

// JournalDown: a journal stopped.
type JournalDown struct {
	Place
	Err error
}

func (*JournalDown) Kind() Kind { return KindJournalDown }

func (e *JournalDown) Text(Names) string { return e.Err.Error() }

// NotMirrored: batches of a peer could not be written into the mirror.
type NotMirrored struct {
	Place
	Err error
}

func (*NotMirrored) Kind() Kind { return KindJournalDown }

func (e *NotMirrored) Text(n Names) string {
	return fmt.Sprintf("batches of site %s could not be mirrored: %v", n(e.Peer), e.Err)
}

// NotGivenBack: what a peer gave back of an own log could not be written.
type NotGivenBack struct {
	Place
	Err error
}

func (*NotGivenBack) Kind() Kind { return KindJournalDown }

func (e *NotGivenBack) Text(n Names) string {
	return fmt.Sprintf("%s: what a peer gave back could not be written: %v", n.log(e.Log), e.Err)
}

// OwnUnreadable: the own journal cannot be read for a peer.
type OwnUnreadable struct {
	Place
	Site wire.SiteID // whose journal
	Err  error
}

func (*OwnUnreadable) Kind() Kind { return KindCorruption }

func (e *OwnUnreadable) Text(n Names) string {
	return fmt.Sprintf("own journal of site %s: %v", n(e.Site), e.Err)
}

// JournalDamaged: bytes of a journal do not hold.
type JournalDamaged struct {
	Place
	Journal string // "own" or "mirror"
	File    string
	Offset  int64
	Unit    uint64
	Reason  string
}

func (*JournalDamaged) Kind() Kind { return KindCorruption }

func (e *JournalDamaged) Text(Names) string {
	return fmt.Sprintf("%s journal: %s: offset %d: unit %d: %s", e.Journal, e.File, e.Offset, e.Unit, e.Reason)
}

// ControlSuspect: damage of a journal may hide control records.
type ControlSuspect struct {
	Place
	Journal string
}

func (*ControlSuspect) Kind() Kind { return KindCorruption }

func (e *ControlSuspect) Text(Names) string {
	return fmt.Sprintf("%s journal: damage may hide control records: compare the peers' cursors", e.Journal)
}

// PersistFailed: control records were not written.
type PersistFailed struct {
	Place
	Writer bool // which site writes; else what peers confirmed
	Err    error
}

func (*PersistFailed) Kind() Kind { return KindPersistFailed }

func (e *PersistFailed) Text(Names) string {
	if e.Writer {
		return fmt.Sprintf("which site writes was not put on record: %v", e.Err)
	}
	return fmt.Sprintf("control records were not written: %v", e.Err)
}

// Failed: something of this site does not work. Its kind says what.
type Failed struct {
	Place
	What Kind   // one of the shell's
	Of   string // a journal and what was done, if that is not in Err
	Err  error
}

func (e *Failed) Kind() Kind { return e.What }

func (e *Failed) Text(Names) string {
	if e.Of == "" {
		return e.Err.Error()
	}
	return fmt.Sprintf("%s: %v", e.Of, e.Err)
}

// Works: what failed works again.
type Works struct {
	Place
	What Kind   // one of the shell's
	Of   string // a journal; empty: see Was
	Was  error  // why it had failed; nil = not told
}

func (e *Works) Kind() Kind { return e.What }

func (e *Works) Text(Names) string {
	switch {
	case e.Was != nil:
		return fmt.Sprintf("works again, after: %v", e.Was)
	case e.Of != "":
		return e.Of + ": it works again"
	}
	return "it works again"
}

// EventsDropped: the host's hook was too slow for so many events.
type EventsDropped struct {
	Place
	Events int
}

func (*EventsDropped) Kind() Kind { return KindEventsDropped }

func (e *EventsDropped) Text(Names) string {
	return fmt.Sprintf("%d events were dropped: the hook is too slow", e.Events)
}

// DataPath: what carries links and writes journals.
type DataPath struct {
	Place
	Links, Files, Reason string
}

func (*DataPath) Kind() Kind { return KindDataPath }

func (e *DataPath) Text(Names) string {
	return fmt.Sprintf("links: %s, journal files: %s: %s", e.Links, e.Files, e.Reason)
}

// Transport: links to a peer are carried by something else.
type Transport struct {
	Place
	By, Reason string // Reason may be empty
}

func (*Transport) Kind() Kind { return KindTransport }

func (e *Transport) Text(n Names) string {
	text := fmt.Sprintf("links to site %s: %s", n(e.Peer), e.By)
	if e.Reason != "" {
		text += " (" + e.Reason + ")"
	}
	return text
}

// TransportFellBack: an accepted link is carried by TCP, because a ring did not take it.
type TransportFellBack struct {
	Place
	From string // its address
	Err  error
}

func (*TransportFellBack) Kind() Kind { return KindTransport }

// Alarm: it is slower than it should be.
func (*TransportFellBack) Alarm() bool { return true }

func (e *TransportFellBack) Text(Names) string {
	return fmt.Sprintf("the link from %s is carried by tcp: %v", e.From, e.Err)
}

// OrphansSaved: entries of an epoch did not survive a failover. They are in a file of their own, or
// nowhere any more.
type OrphansSaved struct {
	Place   // the first of their logs
	Epoch   wire.Epoch
	Entries int64
	Logs    int
	Gone    bool
}

func (*OrphansSaved) Kind() Kind { return KindOrphansSaved }

func (e *OrphansSaved) Text(n Names) string {
	what := fmt.Sprintf("%d entries of epoch %s, in %d logs, the first of %s, did not survive",
		e.Entries, e.Epoch, e.Logs, n.log(e.Log))
	if e.Gone {
		return what + ", and the journal does not have them any more"
	}
	return what + ": they are saved, see cfs admin replication orphans list"
}
