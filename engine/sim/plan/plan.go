package plan

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
	Seed  uint64
	Plant Plant // a mistake to make on purpose; "" = none
	Params
	Items []Item
}

// Params are what a plan sets for the whole world. The values of a parameter
// that a text leaves out are those of simple.
type Params struct {
	Duration     time.Duration // of the fault phase
	Shards       int
	PayloadMax   int
	AppendedMax  int64 // payload bytes in all
	HostLog      bool  // the host has its own log and appends by its indices
	Retain       bool  // give served segments back
	VerifyWait   time.Duration
	PendingBytes int64 // what the writer takes before it is full

	HeartbeatEvery   time.Duration // 0 = the heart's default
	HeartbeatTimeout time.Duration // silence that ends a link; 0 = the heart's default

	DelayMin  time.Duration
	DelayMean time.Duration // on top
	Bandwidth int64         // bytes a second, per direction
	Stalls    bool          // a cut holds frames back instead of losing them
	Moves     bool          // the writer moves: clients are at all sites, and retry elsewhere

	SiteCount int
	Sites     [SitesMax]SiteParams
}

// SiteParams are those that sites need not share.
type SiteParams struct {
	WindowBytes int64
	FrameBytes  int
	FeedBytes   int           // how much one turn of a feed, or of an answer to a fetch, reads
	RecentBytes int64         // of durable units kept in memory
	StoreSync   time.Duration // mean between flushes of the Store
	FlushMean   time.Duration
	Prepare     bool // zero the next segments in advance
	QueueDepth  int  // units under way at most
	Sometimes   PointSet
	DriftPPM    int64
	Offset      time.Duration // of the wall clock
}

// Simple is a world without anything special.
func Simple() Params {
	p := Params{
		Duration: 10 * time.Second, Shards: 1, PayloadMax: 64, AppendedMax: 24 << 20, Retain: true,
		VerifyWait: time.Second, PendingBytes: 2 * wire.BatchBytesMax,
		DelayMin: time.Millisecond, DelayMean: time.Millisecond, Bandwidth: 64 << 20, SiteCount: 2,
	}
	for i := range p.Sites {
		p.Sites[i] = SiteParams{
			WindowBytes: 1 << 20, FrameBytes: 256 << 10, FeedBytes: 64 << 10, RecentBytes: 64 << 10,
			StoreSync: 500 * time.Millisecond, FlushMean: time.Millisecond, QueueDepth: 1,
		}
	}
	return p
}

// Of returns what a seed decides.
func Of(seed uint64) *Plan {
	s := NewStream(seed, "plan")
	p := &Plan{Seed: seed, Params: Params{
		Duration:     s.Between(30*time.Second, 58*time.Second),
		Shards:       1 << s.IntN(4),
		PayloadMax:   []int{64, 1 << 10, 8 << 10, 64 << 10}[s.IntN(4)],
		AppendedMax:  24 << 20,
		HostLog:      s.OneIn(5),
		Retain:       true,
		VerifyWait:   s.Between(500*time.Millisecond, 4*time.Second),
		PendingBytes: 2 * wire.BatchBytesMax << s.IntN(3),
		DelayMin:     s.Between(50*time.Microsecond, 20*time.Millisecond),
		DelayMean:    s.Between(10*time.Microsecond, 10*time.Millisecond),
		Bandwidth:    1 << 20 << s.IntN(8),
		Stalls:       s.OneIn(2),
		SiteCount:    2,
		Sites:        Simple().Sites,
	}}
	if s.OneIn(16) {
		p.PayloadMax = 1 << 20
	}
	if s.OneIn(5) {
		p.SiteCount = 3
	}
	p.Sites[0] = drawSite(s)
	mixed := s.OneIn(2)
	for i := 1; i < p.SiteCount; i++ {
		p.Sites[i] = p.Sites[0]
		if mixed {
			p.Sites[i] = drawSite(s)
		}
	}
	for i := range p.SiteCount {
		p.Sites[i].DriftPPM = int64(s.IntN(1001)) - 500
		p.Sites[i].Offset = s.Between(-2*time.Second, 2*time.Second)
	}
	p.drawFaults(NewStream(seed, "faults"))
	p.drawBursts(NewStream(seed, "bursts"))
	p.drawOperator(NewStream(seed, "operator"))
	p.drawPatterns(NewStream(seed, "patterns"))
	p.drawLoss(NewStream(seed, "loss"))
	p.drawClone(NewStream(seed, "clone"))
	p.drawFounding(NewStream(seed, "founding"))
	p.drawMedia(NewStream(seed, "media"))
	p.drawEpochs(NewStream(seed, "epochs"))
	p.drawMembers(NewStream(seed, "members"))
	slices.SortStableFunc(p.Items, func(a, b Item) int { return int(a.At - b.At) })
	return p
}

func drawSite(s Stream) SiteParams {
	return SiteParams{
		WindowBytes: 64 << 10 << s.IntN(8),
		FrameBytes:  8 << 10 << s.IntN(8),
		FeedBytes:   []int{1, 4 << 10, 64 << 10, 64 << 10, 1 << 20}[s.IntN(5)],
		RecentBytes: []int64{0, 64 << 10, 64 << 10, 4 << 20}[s.IntN(4)],
		StoreSync:   s.Between(50*time.Millisecond, 2*time.Second),
		FlushMean:   s.Between(100*time.Microsecond, 5*time.Millisecond),
		Prepare:     s.OneIn(8),
		QueueDepth:  []int{1, 1, 2, 8}[s.IntN(4)],
		Sometimes:   drawPoints(s),
	}
}

// drawBursts spreads the appends over the fault phase, with idle gaps.
func (p *Plan) drawBursts(s Stream) {
	burstMax, mean := 1<<s.IntN(6), s.Between(4*time.Millisecond, 30*time.Millisecond)
	for at := time.Duration(0); ; {
		gap := s.Exponential(mean)
		if s.OneIn(40) {
			gap *= 30
		}
		if at += gap; at >= p.Duration {
			return
		}
		p.Items = append(p.Items, Item{At: at, Kind: Burst, Count: 1 + s.Size(burstMax-1), Draw: s.Uint64()})
	}
}

// drawFaults enables a random half of the kinds (a swarm: what one kind hides,
// its absence shows) and spreads strikes of them over the fault phase.
func (p *Plan) drawFaults(s Stream) {
	var enabled []Kind
	total := 0
	// Worlds without any harm to media are those in which segments go round.
	harm := [...]bool{
		noLoss: true, ownBatches: s.OneIn(4), mirrored: s.OneIn(3), primaryDisk: s.OneIn(4), standbyDisk: s.OneIn(4),
	}
	for k := range faultKindCount {
		if harm[kinds[k].takes] && (s.OneIn(2) || k == Reset || k == FlipFrame) {
			enabled = append(enabled, k)
			total += kinds[k].weight
		}
	}
	strikes := 130 + s.IntN(130)
	for range strikes {
		n := s.IntN(total)
		for _, k := range enabled {
			if n -= kinds[k].weight; n < 0 {
				p.Items = append(p.Items, p.drawFault(k, s))
				break
			}
		}
	}
	p.drawRestore(enabled, s)
}

func (p *Plan) drawFault(k Kind, s Stream) Item {
	f := Item{
		At: s.Between(p.Duration/50, p.Duration), Kind: k, Site: s.IntN(p.SiteCount),
		Span: s.Between(20*time.Millisecond, time.Second), Draw: s.Uint64(),
	}
	switch k {
	case CutOneWay, CutBoth:
		if s.OneIn(8) {
			f.Span = s.Between(3*time.Second, 6*time.Second)
		}
	case Kill, Power:
		f.Phase = Phase(s.IntN(int(phaseCount)))
	case ClockJump:
		f.Phase = []Phase{PhaseAny, PhaseAny, PhaseAny, PhaseOpen}[s.IntN(4)]
	}
	switch kinds[k].at {
	case thePrimary:
		f.Site = 0
	case aStandby:
		f.Site = max(f.Site, 1)
	case theStandby:
		f.Site = 1
	}
	return f
}

// drawSecond kills a primary that lost what it had once more, when it is up again
// and what it lacks is at hand.
func (p *Plan) drawSecond(lost Item, s Stream) Item {
	f := p.drawFault([]Kind{Kill, Power}[s.IntN(2)], s)
	f.Site, f.Phase = 0, PhaseFetched
	f.At = downAt(lost) + lost.Span + time.Millisecond
	return f
}

// giverStrikes is how many it takes until some hit: most meet a last copy, and spare it.
const giverStrikes = 8

// drawGivers damages copies of what a primary has just lost, while it is down: whom it
// asks first may not have all of it whole.
func (p *Plan) drawGivers(lost Item, s Stream) {
	if p.SiteCount < 3 || s.OneIn(2) {
		return
	}
	for range giverStrikes {
		f := p.drawFault(LatentFlip, s)
		f.At = downAt(lost) + s.Between(0, lost.Span)
		p.Items = append(p.Items, f)
	}
}

// downAt is when a site that loses what it had goes down.
func downAt(lost Item) time.Duration {
	if lost.Kind == RestorePrimary {
		return lost.At + ImageAge*lost.Span
	}
	return lost.At
}

// drawOperator has somebody look after the sites, in half of the worlds. A primary
// that lost what it had is left its peers: without a peer's word it would begin
// another history, and no system could know better.
func (p *Plan) drawOperator(s Stream) {
	if s.OneIn(2) {
		return
	}
	lost := slices.ContainsFunc(p.Items, func(f Item) bool { return f.Kind == RestorePrimary || f.Kind == WipePrimary })
	for range s.IntN(10) {
		f := Item{
			At: s.Between(0, p.Duration), Kind: []Kind{Restart, Restart, Unconfigure, Trim}[s.IntN(4)],
			Site: s.IntN(p.SiteCount), Span: s.Between(20*time.Millisecond, 3*time.Second), Draw: s.Uint64(),
		}
		if f.Kind != Unconfigure || f.Site != 0 || !lost {
			p.Items = append(p.Items, f)
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
func (p *Plan) drawRestore(enabled []Kind, s Stream) {
	var harmed [clonedDisk]bool
	var possible []Kind
	for _, k := range enabled {
		harmed[kinds[k].takes] = true
		if k.takesDisk() {
			possible = append(possible, k)
		}
	}
	p.Retain = !harmed[ownBatches] && !harmed[mirrored]
	if harmed[ownBatches] {
		p.VerifyWait = time.Hour
	}
	if len(possible) == 0 {
		return
	}
	f := p.drawFault(possible[s.IntN(len(possible))], s)
	p.Items = append(p.Items, f)
	p.Retain = false
	if f.Site == 0 {
		p.VerifyWait = time.Hour
		p.Items = append(p.Items, p.drawSecond(f, s))
		p.drawGivers(f, s)
	}
}
