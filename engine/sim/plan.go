package sim

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/claudefs/repl/wire"
)

// faultKind is a kind of fault.
type faultKind uint8

const (
	cutOneWay faultKind = iota
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
	pause // the process stands still
	faultKindCount
)

var faultKindNames = [faultKindCount]string{
	"cut-one-way", "cut-both", "reset", "flip-frame", "stale-frame", "dial-failure", "slow-link",
	"kill", "power", "both-down", "fail-write", "fail-sync", "disk-full", "slow-disk", "latent-flip",
	"restore-primary", "restore-standby", "clock-jump", "pause",
}

func (k faultKind) String() string { return faultKindNames[k] }

// weights say how often a kind strikes when it is enabled, against the others.
var weights = [faultKindCount]int{
	cutOneWay: 5, cutBoth: 5, reset: 10, flipFrame: 10, staleFrame: 6, dialFailure: 5, slowLink: 3,
	kill: 5, power: 6, bothDown: 2, failWrite: 2, failSync: 2, diskFull: 1, slowDisk: 2, latentFlip: 3,
	clockJump: 2, pause: 3,
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
	phaseCount
)

// fault is one line of the plan.
type fault struct {
	at    time.Duration
	kind  faultKind
	site  int           // or the direction, by its sender
	span  time.Duration // how long it lasts; of a kill: until the restart
	phase phase
	draw  uint64 // seeds what the fault must still choose
}

// plan is everything that the seed decides before the world begins.
type plan struct {
	duration time.Duration // of the fault phase
	enabled  []faultKind
	faults   []fault

	shards       int
	payloadMax   int
	burstMax     int
	gap          time.Duration // mean between bursts
	appendedMax  int64         // payload bytes in all
	storeSync    time.Duration // mean between flushes of a Store
	retain       bool          // give served segments back
	prepare      bool          // zero the next segments in advance
	verifyWait   time.Duration
	windowBytes  int64
	frameBytes   int
	pendingBytes int64
	heartbeat    [2]time.Duration // how often, and silence that ends a link; 0 = the heart's defaults

	delayMin  time.Duration
	delayMean time.Duration // on top
	bandwidth int64         // bytes a second, per direction
	stalls    bool          // a cut holds frames back instead of losing them
	flushMean time.Duration
	driftPPM  [2]int64
	offset    [2]time.Duration
}

func newPlan(seed uint64) plan {
	s := newStream(seed, "plan")
	p := plan{
		duration:     s.between(30*time.Second, 58*time.Second),
		shards:       1 << s.IntN(4),
		payloadMax:   []int{64, 1 << 10, 8 << 10, 64 << 10}[s.IntN(4)],
		burstMax:     1 << s.IntN(6),
		gap:          s.between(4*time.Millisecond, 30*time.Millisecond),
		appendedMax:  24 << 20,
		storeSync:    s.between(50*time.Millisecond, 2*time.Second),
		retain:       true,
		verifyWait:   s.between(500*time.Millisecond, 4*time.Second),
		windowBytes:  64 << 10 << s.IntN(8),
		frameBytes:   8 << 10 << s.IntN(8),
		pendingBytes: 2 * wire.BatchBytesMax << s.IntN(3),
		delayMin:     s.between(50*time.Microsecond, 20*time.Millisecond),
		delayMean:    s.between(10*time.Microsecond, 10*time.Millisecond),
		bandwidth:    1 << 20 << s.IntN(8),
		stalls:       s.oneIn(2),
		flushMean:    s.between(100*time.Microsecond, 5*time.Millisecond),
	}
	if s.oneIn(16) {
		p.payloadMax = 1 << 20
	}
	p.prepare = s.oneIn(8)
	for i := range p.driftPPM {
		p.driftPPM[i] = int64(s.IntN(1001)) - 500
		p.offset[i] = s.between(-2*time.Second, 2*time.Second)
	}
	p.drawFaults(seed)
	return p
}

// drawFaults enables a random half of the kinds (a swarm: what one kind hides,
// its absence shows) and spreads strikes of them over the fault phase.
func (p *plan) drawFaults(seed uint64) {
	s := newStream(seed, "faults")
	total := 0
	for k := range faultKindCount {
		if s.oneIn(2) || k == reset || k == flipFrame {
			p.enabled = append(p.enabled, k)
			total += weights[k]
		}
	}
	strikes := 130 + s.IntN(130)
	for range strikes {
		n := s.IntN(total)
		for _, k := range p.enabled {
			if n -= weights[k]; n < 0 {
				p.faults = append(p.faults, p.drawFault(k, s))
				break
			}
		}
	}
	p.drawRestore(s)
	slices.SortStableFunc(p.faults, func(a, b fault) int { return int(a.at - b.at) })
}

func (p *plan) drawFault(k faultKind, s stream) fault {
	f := fault{
		at: s.between(p.duration/50, p.duration), kind: k, site: s.IntN(2),
		span: s.between(20*time.Millisecond, time.Second), draw: s.Uint64(),
	}
	switch k {
	case cutOneWay, cutBoth:
		if s.oneIn(8) {
			f.span = s.between(3*time.Second, 6*time.Second)
		}
	case kill, power:
		f.phase = phase(s.IntN(int(phaseCount)))
	case latentFlip:
		f.site = 1
	}
	return f
}

// drawRestore allows at most one return of an old image per world, and none of
// the primary's where the mirror is being damaged: two could take the last copy
// of an entry, which no system can give back. A world with
// an image restored, or with damage, keeps every segment, because what a
// bootstrap would bring is out of this release's scope; and its primary waits
// for the standby's word as long as it takes, because appends that were
// admitted unverified may fork a log.
func (p *plan) drawRestore(s stream) {
	primary, standby := slices.Contains(p.enabled, restorePrimary), slices.Contains(p.enabled, restoreStandby)
	if primary && standby {
		primary = s.oneIn(2)
		standby = !primary
	}
	primary = primary && !slices.Contains(p.enabled, latentFlip)
	if primary {
		p.faults = append(p.faults, p.drawFault(restorePrimary, s))
		p.verifyWait = time.Hour
	}
	if standby {
		p.faults = append(p.faults, p.drawFault(restoreStandby, s))
	}
	for i := range p.faults {
		switch p.faults[i].kind {
		case restorePrimary:
			p.faults[i].site = 0
			p.retain = false
		case restoreStandby:
			p.faults[i].site = 1
			p.retain = false
		case latentFlip:
			p.retain = false
		}
	}
}

// String is the plan as a failure shows it.
func (p *plan) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "plan: %s, shards %d, payload ≤ %d, bursts ≤ %d every %s, ",
		p.duration, p.shards, p.payloadMax, p.burstMax, p.gap)
	fmt.Fprintf(&b, "window %d, frame %d, verify %s, retain %t\n", p.windowBytes, p.frameBytes, p.verifyWait, p.retain)
	fmt.Fprintf(&b, "network: delay %s + %s, %d B/s, cuts hold back %t; flush %s, store flush %s; faults %d of:",
		p.delayMin, p.delayMean, p.bandwidth, p.stalls, p.flushMean, p.storeSync, len(p.faults))
	for _, k := range p.enabled {
		fmt.Fprintf(&b, " %s", k)
	}
	return b.String() + "\n"
}
