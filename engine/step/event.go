package step

// The kinds of events. A closed list: whoever shows events may switch on it.
const (
	EventLinkUp           = "link-up"           // a session reached its peer
	EventLinkDown         = "link-down"         // a session ended, and why
	EventRefused          = "refused"           // a peer refused our session, or we refused one
	EventSuperseded       = "superseded"        // a newer session of the same pair took over
	EventPeerBehind       = "peer-behind"       // a peer came back behind what it once confirmed
	EventLogStopped       = "log-stopped"       // a log left a session or stopped: histories differ, refused, not kept
	EventDataLost         = "data-lost"         // this site lost acknowledged data and asks for it
	EventDataRestored     = "data-restored"     // a peer gave it back
	EventUnverified       = "unverified"        // appends were admitted although no peer confirmed the tails
	EventMirrorRepair     = "mirror-repair"     // damage in the mirror is being fetched
	EventMirrorRepaired   = "mirror-repaired"   // it was
	EventRepairFailed     = "repair-failed"     // nobody could give it
	EventCorruption       = "corruption"        // bytes on a link or in a journal do not hold
	EventJournalDown      = "journal-down"      // a journal stopped
	EventApplyStopped     = "apply-stopped"     // the applier of a log stopped
	EventPersistFailed    = "persist-failed"    // control records could not be written
	EventForgotten        = "forgotten"         // an operator gave a peer up
	EventSessionSurpassed = "session-surpassed" // the peer has seen a later session under our name
)
