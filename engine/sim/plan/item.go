package plan

import "time"

// Kind is what an item of a plan does.
type Kind uint8

// Faults come first.
const (
	CutOneWay Kind = iota
	CutBoth
	Reset     // every open link breaks, one frame half delivered
	FlipFrame // one bit of the next frame
	StaleFrame
	DialFailure
	SlowLink
	Kill     // the process dies; what it wrote stays in the system's cache
	Power    // the machine dies: what is not synced is kept, dropped, torn or rubbish
	BothDown // power at both sites at once
	FailWrite
	FailSync
	DiskFull
	SlowDisk
	LatentFlip // one bit of an old unit of the standby's mirror
	RestorePrimary
	RestoreStandby
	ClockJump
	Pause            // the process stands still
	OwnFlip          // one bit of an old batch of the primary's own journal
	LostWrite        // the next write to the standby's mirror never reaches the medium, and says it did
	MisdirectedWrite // it lands elsewhere in its file
	ReadErrors       // reads of files fail for a while
	WipePrimary      // an empty disk, as after its replacement
	WipeStandby
	SwapBatches // two batches of one log change places in a frame
	faultKindCount
)

// Operations follow, and then faults that a plan draws apart, see drawPatterns,
// drawLoss and drawClone.
const (
	Burst       = faultKindCount + iota // count appends in a row
	Restart                             // an orderly stop and a new start
	Unconfigure                         // the peer is left out of the configuration for a while
	Trim                                // spare segments are given back to the system
	Isolate                             // all links of a site are cut, both ways
	IsolateIn                           // nothing reaches it
	IsolateOut                          // nothing leaves it
	Swizzle                             // the ways stop one after the other, and come back in another order
	Flap                                // a pair's links stop count times, for span, as long whole between
	Lose                                // the machine dies, and healing does not bring it back
	CutOff                              // it lives, and healing does not bring its links back
	Clone                               // an old image comes up in a site's place while the original lives on
	LoseOwn                             // the primary's own journal is gone, its mirror and its Store are there
	Usurp                               // a standby's empty disk is started as that of the primary, and then rightly
	HeadFlip                            // one bit of a segment's head, see media.go
	NoFiles                             // no descriptor is left for another file
	CopyBack                            // the process dies, and the next one finds a copy that was never flushed
	KindCount   = faultKindCount + iota
)

var kindNames = [KindCount]string{
	"cut-one-way", "cut-both", "reset", "flip-frame", "stale-frame", "dial-failure", "slow-link",
	"kill", "power", "both-down", "fail-write", "fail-sync", "disk-full", "slow-disk", "latent-flip",
	"restore-primary", "restore-standby", "clock-jump", "pause", "own-flip", "lost-write", "misdirected-write",
	"read-errors", "wipe-primary", "wipe-standby", "swap-batches",
	"burst", "restart", "unconfigure", "trim",
	"isolate", "isolate-in", "isolate-out", "swizzle", "flap", "lose", "cut-off", "clone", "lose-own", "usurp",
	"head-flip", "no-files", "copy-back",
}

func (k Kind) String() string { return kindNames[k] }

// weights say how often a kind strikes when it is enabled, against the others.
// Those of weight 0 are drawn at most once per world, see drawRestore.
var weights = [faultKindCount]int{
	CutOneWay: 5, CutBoth: 5, Reset: 10, FlipFrame: 10, StaleFrame: 6, DialFailure: 5, SlowLink: 3,
	Kill: 5, Power: 6, BothDown: 2, FailWrite: 2, FailSync: 2, DiskFull: 1, SlowDisk: 2, LatentFlip: 3,
	ClockJump: 2, Pause: 3, OwnFlip: 2, LostWrite: 2, MisdirectedWrite: 1, ReadErrors: 2,
	SwapBatches: 2,
}

// Phase is where in a site's work a kill or power cut strikes.
type Phase uint8

const (
	PhaseAny      Phase = iota // whatever comes next
	PhaseWrite                 // before a flush unit is written
	PhaseMidWrite              // half a flush unit is written
	PhaseSync                  // written, not synced
	PhaseEnd                   // synced, not accounted for
	PhaseAck                   // accounted for, nobody told
	PhaseFrame                 // before a frame is handled
	PhaseApply                 // before batches are applied
	PhaseApplied               // applied, the Store not flushed
	PhaseFetched               // before fetched batches are handled, if any come within fetchedMax
	PhaseOpen                  // now, and again while the journals are opened after that
	phaseCount
)

var phaseNames = [phaseCount]string{
	"any", "write", "mid-write", "sync", "end", "ack", "frame", "apply", "applied", "fetched", "open",
}

// Item is one line of the plan.
type Item struct {
	At    time.Duration
	Kind  Kind
	Site  int           // or the direction, by its sender
	Span  time.Duration // how long it lasts; of a kill: until the restart
	Phase Phase
	Count int    // of a burst
	Draw  uint64 // seeds what it must still choose
}

// Stream is what the item chooses by: items left out of a plan change nothing
// for those that stay.
func (f *Item) Stream() Stream { return NewStream(f.Draw, "item") }
