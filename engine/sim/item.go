package sim

import "time"

// itemKind is what an item of a plan does.
type itemKind uint8

// Faults come first.
const (
	cutOneWay itemKind = iota
	cutBoth
	reset     // every open link breaks, one frame half delivered
	flipFrame // one bit of the next frame
	staleFrame
	dialFailure
	slowLink
	kill     // the process dies; what it wrote stays in the system's cache
	power    // the machine dies: what is not synced is kept, dropped, torn or rubbish
	bothDown // power at both sites at once
	failWrite
	failSync
	diskFull
	slowDisk
	latentFlip // one bit of an old unit of the standby's mirror
	restorePrimary
	restoreStandby
	clockJump
	pause            // the process stands still
	ownFlip          // one bit of an old batch of the primary's own journal
	lostWrite        // the next write to the standby's mirror never reaches the medium, and says it did
	misdirectedWrite // it lands elsewhere in its file
	readErrors       // reads of files fail for a while
	wipePrimary      // an empty disk, as after its replacement
	wipeStandby
	swapBatches // two batches of one log change places in a frame
	faultKindCount
)

// Operations follow, and then faults that a plan draws apart, see drawPatterns,
// drawLoss and drawClone.
const (
	burst       = faultKindCount + iota // count appends in a row
	restart                             // an orderly stop and a new start
	unconfigure                         // the peer is left out of the configuration for a while
	trim                                // spare segments are given back to the system
	isolate                             // all links of a site are cut, both ways
	isolateIn                           // nothing reaches it
	isolateOut                          // nothing leaves it
	swizzle                             // the ways stop one after the other, and come back in another order
	flap                                // a pair's links stop count times, for span, as long whole between
	lose                                // the machine dies, and healing does not bring it back
	cutOff                              // it lives, and healing does not bring its links back
	clone                               // an old image comes up in a site's place while the original lives on
	loseOwn                             // the primary's own journal is gone, its mirror and its Store are there
	usurp                               // a standby's empty disk is started as that of the primary, and then rightly
	headFlip                            // one bit of a segment's head, see media.go
	noFiles                             // no descriptor is left for another file
	copyBack                            // the process dies, and the next one finds a copy that was never flushed
	kindCount   = faultKindCount + iota
)

var kindNames = [kindCount]string{
	"cut-one-way", "cut-both", "reset", "flip-frame", "stale-frame", "dial-failure", "slow-link",
	"kill", "power", "both-down", "fail-write", "fail-sync", "disk-full", "slow-disk", "latent-flip",
	"restore-primary", "restore-standby", "clock-jump", "pause", "own-flip", "lost-write", "misdirected-write",
	"read-errors", "wipe-primary", "wipe-standby", "swap-batches",
	"burst", "restart", "unconfigure", "trim",
	"isolate", "isolate-in", "isolate-out", "swizzle", "flap", "lose", "cut-off", "clone", "lose-own", "usurp",
	"head-flip", "no-files", "copy-back",
}

func (k itemKind) String() string { return kindNames[k] }

// weights say how often a kind strikes when it is enabled, against the others.
// Those of weight 0 are drawn at most once per world, see drawRestore.
var weights = [faultKindCount]int{
	cutOneWay: 5, cutBoth: 5, reset: 10, flipFrame: 10, staleFrame: 6, dialFailure: 5, slowLink: 3,
	kill: 5, power: 6, bothDown: 2, failWrite: 2, failSync: 2, diskFull: 1, slowDisk: 2, latentFlip: 3,
	clockJump: 2, pause: 3, ownFlip: 2, lostWrite: 2, misdirectedWrite: 1, readErrors: 2,
	swapBatches: 2,
}

// phase is where in a site's work a kill or power cut strikes.
type phase uint8

const (
	phaseAny      phase = iota // whatever comes next
	phaseWrite                 // before a flush unit is written
	phaseMidWrite              // half a flush unit is written
	phaseSync                  // written, not synced
	phaseEnd                   // synced, not accounted for
	phaseAck                   // accounted for, nobody told
	phaseFrame                 // before a frame is handled
	phaseApply                 // before batches are applied
	phaseApplied               // applied, the Store not flushed
	phaseFetched               // before fetched batches are handled, if any come within fetchedMax
	phaseOpen                  // now, and again while the journals are opened after that
	phaseCount
)

var phaseNames = [phaseCount]string{
	"any", "write", "mid-write", "sync", "end", "ack", "frame", "apply", "applied", "fetched", "open",
}

// item is one line of the plan.
type item struct {
	at    time.Duration
	kind  itemKind
	site  int           // or the direction, by its sender
	span  time.Duration // how long it lasts; of a kill: until the restart
	phase phase
	count int    // of a burst
	draw  uint64 // seeds what it must still choose
}

// stream is what the item chooses by: items left out of a plan change nothing
// for those that stay.
func (f *item) stream() stream { return newStream(f.draw, "item") }
