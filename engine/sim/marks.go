package sim

import "github.com/claudefs/repl/engine/sim/plan"

// Marks are situations that a campaign of MarksSeedsMin seeds must reach: else
// it has not tried what it claims to. Those of faults are the plan's.
var Marks = append(plan.Marks(),
	// Disks and recovery.
	"torn tail cut", "power cut with unsynced bytes", "journal poisoned", "journal unreadable", "writer full",
	"damage found at open", "damage found in life", "suspect log", "suspect log cleared",
	"kill while opening", "power while opening", "killed with fetched batches at hand", "clock jumped while down",
	"units ended out of order", "segment given back", "segment given back under a reader",
	"segment waited for descriptors",
	// The Store.
	"store went back", "feed met damage", "shipping met damage", "answer met damage",
	// Links and sessions.
	"half a frame", "batch with a wrong digest", "batch that was there already", "event superseded", "event refused",
	"event session-surpassed", "event peer-behind",
	"partial partition", "slow frame keeps its link",
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
	"at rest without a lost site", "entries kept for a lost site",
	"clone noticed", "second history refused", "original back without a restart",
	"epoch begun", "own log opened again", "epoch taken over",
	"switchover done", "switchover given up", "promoted", "client redirected", "fenced writer followed",
	"orphans", "orphans at a third site", "Store past an end",
	"orderly restart", "peer left out of the configuration", "three sites at rest",
	"event site-added", "event site-full", "event site-removed", "removed site refused",
	"at rest without a removed site",
)
