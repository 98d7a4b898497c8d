package sim

// Marks are situations that a campaign of MarksSeedsMin seeds must reach: else
// it has not tried what it claims to.
var Marks = []string{
	// Disks and recovery.
	"torn tail cut", "power cut with unsynced bytes", "journal poisoned", "journal unreadable", "writer full",
	"damage found at open", "damage found in life", "suspect log", "suspect log cleared",
	"kill while opening", "power while opening", "killed with fetched batches at hand", "clock jumped while down",
	"units ended out of order", "segment given back", "segment given back under a reader",
	"fault fail-write", "fault fail-sync", "fault disk-full", "fault read-errors",
	"fault latent-flip", "fault own-flip", "fault lost-write", "fault misdirected-write",
	"fault head-flip", "fault no-files", "fault copy-back", "segment waited for descriptors",
	// Processes and their machines.
	"fault kill", "fault power", "fault both-down", "fault pause",
	"fault restore-primary", "fault restore-standby", "fault wipe-primary", "fault wipe-standby",
	"fault lose-own", "fault usurp",
	// The Store.
	"store went back", "feed met damage", "shipping met damage", "answer met damage",
	// Links and sessions.
	"half a frame", "batch with a wrong digest", "batch that was there already", "event superseded", "event refused",
	"event session-surpassed", "event peer-behind",
	"fault reset", "fault flip-frame", "fault stale-frame", "fault swap-batches", "fault dial-failure",
	"fault cut-one-way", "fault cut-both", "fault isolate", "fault isolate-in", "fault isolate-out",
	"fault swizzle", "fault flap", "partial partition",
	"slow frame keeps its link",
	// What one site gives back to the other.
	"fetch answered", "mirror repaired", "own log repaired", "own batches fetched back",
	"event data-lost", "event data-restored", "given back by another site",
	// Admission.
	"admitted unverified", "admission refused", "entry held by its index",
	// Rare choices, see sometimes.go.
	"sometimes batch-closed", "sometimes segment-begun", "sometimes stage-failed", "sometimes unit-read",
	"sometimes window-of-one",
	"sometimes batch-a-frame", "sometimes grant-of-one",
	"link not read", "answer in more than one grant",
	// Operators, and sites that stay away.
	"fault lose", "fault cut-off", "at rest without a lost site", "entries kept for a lost site",
	"fault clone", "clone noticed", "second history refused", "original back without a restart",
	"orderly restart", "peer left out of the configuration", "three sites at rest",
}
