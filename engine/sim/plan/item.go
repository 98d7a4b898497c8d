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
	NewEpoch                            // the writer begins a new epoch, now or with its next start
	Switchover                          // the site that writes hands over to the site
	Promote                             // the site begins to write, whatever it has
	TakeIn                              // the third site is taken in at the others, while they work
	Dismiss                             // it is removed there, and goes on
	KindCount   = faultKindCount + iota
)

// struck is whom a kind strikes.
type struck uint8

const (
	anySite    struck = iota
	thePrimary        // site 0
	aStandby          // any other
	theStandby        // site 1
)

// loss is what a kind takes of what was durable.
type loss uint8

const (
	noLoss      loss = iota
	ownBatches       // of the primary's own journal
	mirrored         // of a standby's mirror
	primaryDisk      // all or most that the primary had
	standbyDisk      // all or most that a standby had
	clonedDisk       // nothing, but a second copy goes on from an older state
)

// kinds is the one table of what a plan may hold.
var kinds = [KindCount]struct {
	name string
	// weight is how often it strikes when it is enabled, against the others. 0: a plan draws
	// it apart.
	weight int
	at     struck // of faults that drawFault draws
	takes  loss
	free   bool // a campaign need not reach it
}{
	CutOneWay:        {name: "cut-one-way", weight: 5},
	CutBoth:          {name: "cut-both", weight: 5},
	Reset:            {name: "reset", weight: 10},
	FlipFrame:        {name: "flip-frame", weight: 10},
	StaleFrame:       {name: "stale-frame", weight: 6},
	DialFailure:      {name: "dial-failure", weight: 5},
	SlowLink:         {name: "slow-link", weight: 3, free: true},
	Kill:             {name: "kill", weight: 5},
	Power:            {name: "power", weight: 6},
	BothDown:         {name: "both-down", weight: 2},
	FailWrite:        {name: "fail-write", weight: 2},
	FailSync:         {name: "fail-sync", weight: 2},
	DiskFull:         {name: "disk-full", weight: 1},
	SlowDisk:         {name: "slow-disk", weight: 2, free: true},
	LatentFlip:       {name: "latent-flip", weight: 3, at: aStandby, takes: mirrored},
	RestorePrimary:   {name: "restore-primary", at: thePrimary, takes: primaryDisk},
	RestoreStandby:   {name: "restore-standby", at: theStandby, takes: standbyDisk},
	ClockJump:        {name: "clock-jump", weight: 2, free: true},
	Pause:            {name: "pause", weight: 3},
	OwnFlip:          {name: "own-flip", weight: 2, at: thePrimary, takes: ownBatches},
	LostWrite:        {name: "lost-write", weight: 2, at: aStandby, takes: mirrored},
	MisdirectedWrite: {name: "misdirected-write", weight: 1, at: aStandby, takes: mirrored},
	ReadErrors:       {name: "read-errors", weight: 2},
	WipePrimary:      {name: "wipe-primary", at: thePrimary, takes: primaryDisk},
	WipeStandby:      {name: "wipe-standby", at: theStandby, takes: standbyDisk},
	SwapBatches:      {name: "swap-batches", weight: 2, at: thePrimary},
	Burst:            {name: "burst", free: true},
	Restart:          {name: "restart", free: true},
	Unconfigure:      {name: "unconfigure", free: true},
	Trim:             {name: "trim", free: true},
	Isolate:          {name: "isolate"},
	IsolateIn:        {name: "isolate-in"},
	IsolateOut:       {name: "isolate-out"},
	Swizzle:          {name: "swizzle"},
	Flap:             {name: "flap"},
	Lose:             {name: "lose"},
	CutOff:           {name: "cut-off"},
	Clone:            {name: "clone", takes: clonedDisk},
	LoseOwn:          {name: "lose-own", takes: primaryDisk},
	Usurp:            {name: "usurp", takes: standbyDisk},
	HeadFlip:         {name: "head-flip"},
	NoFiles:          {name: "no-files"},
	CopyBack:         {name: "copy-back"},
	NewEpoch:         {name: "new-epoch"},
	Switchover:       {name: "switchover"},
	Promote:          {name: "promote"},
	TakeIn:           {name: "take-in"},
	Dismiss:          {name: "dismiss"},
}

func (k Kind) String() string { return kinds[k].name }

// named returns the kind of that name, or -1.
func named(name string) int {
	for k := range kinds {
		if kinds[k].name == name {
			return k
		}
	}
	return -1
}

// Marks are those of the faults that a campaign must reach.
func Marks() (marks []string) {
	for k := range kinds {
		if !kinds[k].free {
			marks = append(marks, "fault "+kinds[k].name)
		}
	}
	return marks
}

// takesOwnData says whether a fault takes what the primary had.
func (k Kind) takesOwnData() bool {
	return kinds[k].takes == ownBatches || kinds[k].takes == primaryDisk
}

// harmsMedia says whether a fault takes batches that were durable.
func (k Kind) harmsMedia() bool { return kinds[k].takes != noLoss }

// takesDisk says whether a fault takes all that a site had.
func (k Kind) takesDisk() bool { return kinds[k].takes == primaryDisk || kinds[k].takes == standbyDisk }

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
