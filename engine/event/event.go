package event

import (
	"fmt"

	"github.com/claudefs/repl/wire"
)

// Kind names what happened. A closed list: whoever shows events may switch on it.
type Kind string

// Of the heart.
const (
	KindLinkUp           Kind = "link-up"
	KindLinkDown         Kind = "link-down"
	KindRefused          Kind = "refused"
	KindSuperseded       Kind = "superseded"
	KindPeerBehind       Kind = "peer-behind"
	KindLogStopped       Kind = "log-stopped"
	KindDataLost         Kind = "data-lost"
	KindDataRestored     Kind = "data-restored"
	KindUnverified       Kind = "unverified"
	KindLogRepair        Kind = "log-repair"
	KindLogRepaired      Kind = "log-repaired"
	KindRepairFailed     Kind = "repair-failed"
	KindCorruption       Kind = "corruption"
	KindJournalDown      Kind = "journal-down"
	KindApplyStopped     Kind = "apply-stopped"
	KindPersistFailed    Kind = "persist-failed"
	KindForgotten        Kind = "forgotten"
	KindSiteAdded        Kind = "site-added"
	KindSiteRemoved      Kind = "site-removed"
	KindSiteFull         Kind = "site-full"
	KindSessionSurpassed Kind = "session-surpassed"
	KindEpochRaised      Kind = "epoch-raised"
)

// Of the shell.
const (
	KindStoreFailed    Kind = "store-failed"
	KindStoreRecovered Kind = "store-recovered"
	KindAcceptFailed   Kind = "accept-failed"
	KindReclaimFailed  Kind = "reclaim-failed"
	KindReclaimWorks   Kind = "reclaim-works"
	KindSegmentFailed  Kind = "segment-failed"
	KindSegmentBegun   Kind = "segment-begun"
	KindPrepareFailed  Kind = "prepare-failed"
	KindLockRemoved    Kind = "lock-removed"
	KindEventsDropped  Kind = "events-dropped"
	KindDataPath       Kind = "data-path"
	KindTransport      Kind = "transport"
	KindSiteNamed      Kind = "site-named"
	KindAuditFailed    Kind = "audit-failed"
	KindAuditWorks     Kind = "audit-works"
	KindMended         Kind = "mended"
	KindMendFailed     Kind = "mend-failed"
	KindOrphansSaved   Kind = "orphans-saved"
	KindOrphansUnsaved Kind = "orphans-unsaved"
)

// Row is what log, audit trail, status, metrics and documents need to know of a kind.
type Row struct {
	Kind    Kind
	Alarm   bool // somebody should look; an event may say otherwise, see Alarm
	Audited bool // the audit trail keeps it: what this site decided about its peers and data
	Means   string
}

// Kinds is the one table of all kinds, in the order of the constants.
var Kinds = []Row{
	{KindLinkUp, false, false, "a session reached its peer"},
	{KindLinkDown, false, false, "a session ended, and why"},
	{KindRefused, true, true, "a peer refused our session, or we refused one"},
	{KindSuperseded, false, false, "a newer session of the same pair took over"},
	{KindPeerBehind, true, true, "a peer came back behind what it once confirmed"},
	{KindLogStopped, true, true, "a log left a session or stopped: histories differ, refused, not kept"},
	{KindDataLost, true, true, "this site lost acknowledged data, and what it does about that"},
	{KindDataRestored, false, true, "a peer gave it back"},
	{KindUnverified, true, true, "appends were admitted although no peer confirmed the tails"},
	{KindLogRepair, false, false, "what damage took from a journal is being fetched"},
	{KindLogRepaired, false, false, "a journal has it again, or goes on without it"},
	{KindRepairFailed, true, true, "a site could not give it, or it could not be written"},
	{KindCorruption, true, true, "bytes on a link or in a journal are damaged"},
	{KindJournalDown, true, true, "a journal stopped, or did not take something"},
	{KindApplyStopped, true, true, "the applier of a log stopped"},
	{KindPersistFailed, true, false, "control records could not be written"},
	{KindForgotten, true, false, "an operator gave a peer up"},
	{KindSiteAdded, false, false, "an operator took a site in, or changed its addresses"},
	{KindSiteRemoved, true, false, "an operator removed a site, which is refused from now on"},
	{KindSiteFull, false, true, "a learner holds everything, and counts from now on"},
	{KindSessionSurpassed, true, true, "a peer has seen a later session under our name"},
	{KindEpochRaised, true, true, "another epoch began: who writes from now on"},

	{KindStoreFailed, true, false, "the host's Store returned an error that is not one log's"},
	{KindStoreRecovered, false, false, "what was reported as store-failed works again"},
	{KindAcceptFailed, true, false, "a link could not be accepted"},
	{KindReclaimFailed, true, false, "segments could not be given back; it is tried again"},
	{KindReclaimWorks, false, false, "after reclaim-failed"},
	{KindSegmentFailed, true, false, "no descriptor or memory for the next segment; it is tried again"},
	{KindSegmentBegun, false, false, "after segment-failed"},
	{KindPrepareFailed, false, false, "a segment could not be prepared"},
	{KindLockRemoved, true, true, "somebody removed the directory's lock file; the lock holds"},
	{KindEventsDropped, true, false, "the hook was too slow"},
	{KindDataPath, false, false, "what carries links and writes journals, at open"},
	{KindTransport, false, false, "links to a peer are carried by something else"},
	{KindSiteNamed, true, true, "the configuration says something else of a site than the record"},
	{KindAuditFailed, true, false, "the audit trail cannot be written; data goes on"},
	{KindAuditWorks, false, false, "after audit-failed"},
	{KindMended, false, false, "a shard was made equal to another site's"},
	{KindMendFailed, true, true, "a mending did not go on after a restart"},
	{KindOrphansSaved, true, true, "entries did not survive a failover, and are in files of their own"},
	{KindOrphansUnsaved, true, true, "they could not be written there; it is tried again, and mending waits"},
}

// RowOf is a kind's row; nil if there is no such kind.
func RowOf(k Kind) *Row {
	for i := range Kinds {
		if Kinds[i].Kind == k {
			return &Kinds[i]
		}
	}
	return nil
}

// Event is something worth telling people; not one per entry. Its types are those of this
// package, whose fields are the facts. Words are made where it is shown.
type Event interface {
	Kind() Kind
	About() Place
	Text(Names) string
}

// Names is how people call a site.
type Names func(wire.SiteID) string

func (n Names) log(log wire.LogID) string {
	return fmt.Sprintf("site %s shard %d", n(log.Site), log.Shard)
}

// Place is what an event is about: a peer, a log, both, or neither. Zero is none.
type Place struct {
	Peer wire.SiteID
	Log  wire.LogID
}

// About is the place itself: events embed it.
func (p Place) About() Place { return p }

// Alarm says whether somebody should look: as the table says, unless the event knows more.
func Alarm(e Event) bool {
	if own, ok := e.(interface{ Alarm() bool }); ok {
		return own.Alarm()
	}
	row := RowOf(e.Kind())
	return row != nil && row.Alarm
}
