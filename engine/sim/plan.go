package sim

import (
	"slices"
	"time"

	"github.com/claudefs/repl/wire"
)

// Plan is everything that a seed decides: parameters, and items in the order of
// their times. It can be printed, read back and shortened; the same plan always
// gives the same world. Its seed also feeds what a world must still draw while it
// runs (delays, how long a flush takes), a named stream for each consumer.
type Plan struct {
	seed  uint64
	plant Plant // a mistake to make on purpose; "" = none
	params
	items []item
}

// params are what a plan sets for the whole world. The values of a parameter
// that a text leaves out are those of simple.
type params struct {
	duration     time.Duration // of the fault phase
	shards       int
	payloadMax   int
	appendedMax  int64 // payload bytes in all
	hostLog      bool  // the host has its own log and appends by its indices
	retain       bool  // give served segments back
	verifyWait   time.Duration
	pendingBytes int64 // what the writer takes before it is full

	heartbeatEvery   time.Duration // 0 = the heart's default
	heartbeatTimeout time.Duration // silence that ends a link; 0 = the heart's default

	delayMin  time.Duration
	delayMean time.Duration // on top
	bandwidth int64         // bytes a second, per direction
	stalls    bool          // a cut holds frames back instead of losing them

	siteCount int
	sites     [sitesMax]siteParams
}

// siteParams are those that sites need not share.
type siteParams struct {
	windowBytes int64
	frameBytes  int
	feedBytes   int           // how much one turn of a feed, or of an answer to a fetch, reads
	recentBytes int64         // of durable units kept in memory
	storeSync   time.Duration // mean between flushes of the Store
	flushMean   time.Duration
	prepare     bool // zero the next segments in advance
	queueDepth  int  // units under way at most
	sometimes   pointSet
	driftPPM    int64
	offset      time.Duration // of the wall clock
}

// simple is a world without anything special.
func simple() params {
	p := params{
		duration: 10 * time.Second, shards: 1, payloadMax: 64, appendedMax: 24 << 20, retain: true,
		verifyWait: time.Second, pendingBytes: 2 * wire.BatchBytesMax,
		delayMin: time.Millisecond, delayMean: time.Millisecond, bandwidth: 64 << 20, siteCount: 2,
	}
	for i := range p.sites {
		p.sites[i] = siteParams{
			windowBytes: 1 << 20, frameBytes: 256 << 10, feedBytes: 64 << 10, recentBytes: 64 << 10,
			storeSync: 500 * time.Millisecond, flushMean: time.Millisecond, queueDepth: 1,
		}
	}
	return p
}

// PlanOf returns what a seed decides.
func PlanOf(seed uint64) *Plan {
	s := newStream(seed, "plan")
	p := &Plan{seed: seed, params: params{
		duration:     s.between(30*time.Second, 58*time.Second),
		shards:       1 << s.IntN(4),
		payloadMax:   []int{64, 1 << 10, 8 << 10, 64 << 10}[s.IntN(4)],
		appendedMax:  24 << 20,
		hostLog:      s.oneIn(5),
		retain:       true,
		verifyWait:   s.between(500*time.Millisecond, 4*time.Second),
		pendingBytes: 2 * wire.BatchBytesMax << s.IntN(3),
		delayMin:     s.between(50*time.Microsecond, 20*time.Millisecond),
		delayMean:    s.between(10*time.Microsecond, 10*time.Millisecond),
		bandwidth:    1 << 20 << s.IntN(8),
		stalls:       s.oneIn(2),
		siteCount:    2,
		sites:        simple().sites,
	}}
	if s.oneIn(16) {
		p.payloadMax = 1 << 20
	}
	if s.oneIn(5) {
		p.siteCount = 3
	}
	p.sites[0] = drawSite(s)
	mixed := s.oneIn(2)
	for i := 1; i < p.siteCount; i++ {
		p.sites[i] = p.sites[0]
		if mixed {
			p.sites[i] = drawSite(s)
		}
	}
	for i := range p.siteCount {
		p.sites[i].driftPPM = int64(s.IntN(1001)) - 500
		p.sites[i].offset = s.between(-2*time.Second, 2*time.Second)
	}
	p.drawFaults(newStream(seed, "faults"))
	p.drawBursts(newStream(seed, "bursts"))
	p.drawOperator(newStream(seed, "operator"))
	p.drawPatterns(newStream(seed, "patterns"))
	p.drawLoss(newStream(seed, "loss"))
	p.drawClone(newStream(seed, "clone"))
	p.drawFounding(newStream(seed, "founding"))
	p.drawMedia(newStream(seed, "media"))
	slices.SortStableFunc(p.items, func(a, b item) int { return int(a.at - b.at) })
	return p
}

func drawSite(s stream) siteParams {
	return siteParams{
		windowBytes: 64 << 10 << s.IntN(8),
		frameBytes:  8 << 10 << s.IntN(8),
		feedBytes:   []int{1, 4 << 10, 64 << 10, 64 << 10, 1 << 20}[s.IntN(5)],
		recentBytes: []int64{0, 64 << 10, 64 << 10, 4 << 20}[s.IntN(4)],
		storeSync:   s.between(50*time.Millisecond, 2*time.Second),
		flushMean:   s.between(100*time.Microsecond, 5*time.Millisecond),
		prepare:     s.oneIn(8),
		queueDepth:  []int{1, 1, 2, 8}[s.IntN(4)],
		sometimes:   drawPoints(s),
	}
}

// drawBursts spreads the appends over the fault phase, with idle gaps.
func (p *Plan) drawBursts(s stream) {
	burstMax, mean := 1<<s.IntN(6), s.between(4*time.Millisecond, 30*time.Millisecond)
	for at := time.Duration(0); ; {
		gap := s.exponential(mean)
		if s.oneIn(40) {
			gap *= 30
		}
		if at += gap; at >= p.duration {
			return
		}
		p.items = append(p.items, item{at: at, kind: burst, count: 1 + s.size(burstMax-1), draw: s.Uint64()})
	}
}

// drawFaults enables a random half of the kinds (a swarm: what one kind hides,
// its absence shows) and spreads strikes of them over the fault phase.
func (p *Plan) drawFaults(s stream) {
	var enabled []itemKind
	total := 0
	// Worlds without any harm to media are those in which segments go round.
	harm := [4]bool{s.oneIn(4), s.oneIn(3), s.oneIn(4), s.oneIn(4)}
	for k := range faultKindCount {
		possible := true
		switch k {
		case ownFlip:
			possible = harm[0]
		case latentFlip, lostWrite, misdirectedWrite:
			possible = harm[1]
		case restorePrimary, wipePrimary:
			possible = harm[2]
		case restoreStandby, wipeStandby:
			possible = harm[3]
		}
		if possible && (s.oneIn(2) || k == reset || k == flipFrame) {
			enabled = append(enabled, k)
			total += weights[k]
		}
	}
	strikes := 130 + s.IntN(130)
	for range strikes {
		n := s.IntN(total)
		for _, k := range enabled {
			if n -= weights[k]; n < 0 {
				p.items = append(p.items, p.drawFault(k, s))
				break
			}
		}
	}
	p.drawRestore(enabled, s)
}

func (p *Plan) drawFault(k itemKind, s stream) item {
	f := item{
		at: s.between(p.duration/50, p.duration), kind: k, site: s.IntN(p.siteCount),
		span: s.between(20*time.Millisecond, time.Second), draw: s.Uint64(),
	}
	switch k {
	case cutOneWay, cutBoth:
		if s.oneIn(8) {
			f.span = s.between(3*time.Second, 6*time.Second)
		}
	case kill, power:
		f.phase = phase(s.IntN(int(phaseCount)))
	case clockJump:
		f.phase = []phase{phaseAny, phaseAny, phaseAny, phaseOpen}[s.IntN(4)]
	case latentFlip, lostWrite, misdirectedWrite:
		f.site = max(f.site, 1)
	case restoreStandby, wipeStandby:
		f.site = 1
	case ownFlip, restorePrimary, wipePrimary, swapBatches:
		f.site = 0
	}
	return f
}

// drawSecond kills a primary that lost what it had once more, when it is up again
// and what it lacks is at hand.
func (p *Plan) drawSecond(lost item, s stream) item {
	f := p.drawFault([]itemKind{kill, power}[s.IntN(2)], s)
	f.site, f.phase = 0, phaseFetched
	f.at = downAt(lost) + lost.span + time.Millisecond
	return f
}

// giverStrikes is how many it takes until some hit: most meet a last copy, and spare it.
const giverStrikes = 8

// drawGivers damages copies of what a primary has just lost, while it is down: whom it
// asks first may not have all of it whole.
func (p *Plan) drawGivers(lost item, s stream) {
	if p.siteCount < 3 || s.oneIn(2) {
		return
	}
	for range giverStrikes {
		f := p.drawFault(latentFlip, s)
		f.at = downAt(lost) + s.between(0, lost.span)
		p.items = append(p.items, f)
	}
}

// downAt is when a site that loses what it had goes down.
func downAt(lost item) time.Duration {
	if lost.kind == restorePrimary {
		return lost.at + imageAge*lost.span
	}
	return lost.at
}

// drawOperator has somebody look after the sites, in half of the worlds. A primary
// that lost what it had is left its peers: without a peer's word it would begin
// another history, and no system could know better.
func (p *Plan) drawOperator(s stream) {
	if s.oneIn(2) {
		return
	}
	lost := slices.ContainsFunc(p.items, func(f item) bool { return f.kind == restorePrimary || f.kind == wipePrimary })
	for range s.IntN(10) {
		f := item{
			at: s.between(0, p.duration), kind: []itemKind{restart, restart, unconfigure, trim}[s.IntN(4)],
			site: s.IntN(p.siteCount), span: s.between(20*time.Millisecond, 3*time.Second), draw: s.Uint64(),
		}
		if f.kind != unconfigure || f.site != 0 || !lost {
			p.items = append(p.items, f)
		}
	}
}

// drawRestore allows at most one site to lose what it had, by an old image or an
// empty disk: two could take the last copy of an entry, which no system can give
// back, and of what is damaged elsewhere it may not be the last copy either, see
// checker.spares. A world with a lost image, or with
// damage, keeps every segment, because what a bootstrap would bring is out of this
// release's scope; and its primary waits for the standby's word as long as it
// takes, because appends that were admitted unverified may fork a log.
func (p *Plan) drawRestore(enabled []itemKind, s stream) {
	harmed := [2]bool{}
	for _, k := range enabled {
		switch k {
		case ownFlip:
			harmed[0] = true
		case latentFlip, lostWrite, misdirectedWrite:
			harmed[1] = true
		}
	}
	p.retain = !harmed[0] && !harmed[1]
	if harmed[0] {
		p.verifyWait = time.Hour
	}
	var possible []itemKind
	for _, k := range enabled {
		if k == restorePrimary || k == wipePrimary || k == restoreStandby || k == wipeStandby {
			possible = append(possible, k)
		}
	}
	if len(possible) == 0 {
		return
	}
	f := p.drawFault(possible[s.IntN(len(possible))], s)
	p.items = append(p.items, f)
	p.retain = false
	if f.site == 0 {
		p.verifyWait = time.Hour
		p.items = append(p.items, p.drawSecond(f, s))
		p.drawGivers(f, s)
	}
}
