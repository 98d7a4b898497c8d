package sim

// A site and its lives:
//
//  1. start opens both journals; a disk that refuses is tried again later.
//  2. boot builds the heart from the journals, and writer, appliers and feeds beside it.
//  3. die ends the process: a kill keeps the disk's cache, a power cut does not.
//  4. takeImage and restore are a backup and its return; heal ends all faults of the site.

import (
	"cmp"
	"context"
	"encoding/binary"
	"maps"
	"slices"
	"time"

	"github.com/claudefs/repl/engine/apply"
	"github.com/claudefs/repl/engine/node"
	"github.com/claudefs/repl/engine/sim/plan"
	"github.com/claudefs/repl/engine/store"
	"github.com/claudefs/repl/engine/store/journal"
	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/claudefs/repl/engine/store/writer"
	"github.com/claudefs/repl/wire"
)

// clusterName is the cluster of every world.
const clusterName = "sim"

var siteNames = plan.SiteNames

// stagedBytesMax is how much of what came may wait for a medium before links are not read
// any more. It is small, so that a world sees it.
const stagedBytesMax = 64 << 10

// segmentBytes is small, so that a world sees many segments.
const segmentBytes = 4 << 20

// background is the context of every call: nothing is cancelled in a world.
var background = context.Background()

// site is one place: what outlives its processes.
type site struct {
	w           *world
	index       int // of this copy
	place       int // where it is reached: its index, unless it is a clone
	id          wire.SiteID
	clock       clock
	disk        *disk
	store       *siteStore
	draw        plan.Stream
	rare        plan.Stream // chooses at the points of sometimes.go
	p           *process    // the running one, or nil
	linkID      node.LinkID
	starts      int
	swaps       []*plan.Item  // each hits one frame
	armed       *plan.Item    // a kill or power cut that waits for its phase
	opening     *plan.Item    // one that comes again while the journals are opened
	jumpNext    *plan.Item    // a jump of the clock before the next start
	pauses      []standstill  // by time, apart from each other
	pauseStruck bool          // the last one has held something up
	held        []func()      // that
	image       *image        // an old copy, taken before a restore
	restoredAt  time.Duration // 0 = never
	diedAt      time.Duration // the process before, of this medium; 0 = none
	alone       bool          // its configuration names no peer
	usurps      bool          // its configuration names itself as the primary
	epochWanted bool          // the next start begins a new epoch, see epochs.go
	epochHeard  wire.Epoch    // the highest one that a heart has heard of
	lost        bool          // healing does not bring it back, see lost.go
	apart       bool          // nor its links, while it lives
	cloneOf     *site         // the original, if this is a clone, see clone.go
	cloneBy     *plan.Item    // which made it
	gone        bool          // it was a clone, and never starts again
	late        bool          // the others' configurations do not name it
	outside     bool          // no operator has taken it in, or one removed it, see members.go
	granted     int           // the operator's last wish that is durable here
}

// image is a copy of a site as a backup has it.
type image struct {
	mem     *vfs.Mem
	crashed map[string][]extent
	store   *store.Mem
	books   [3]map[wire.LogID]*ledger // what the medium held, by journal
	harm    harm
	flipped bool // the disk was harmed, and nobody had met that
	loose   bool // of files that were copied, and not flushed yet

	stampMax wire.Stamp // of what its process had acknowledged, if it was the primary
}

// newSite makes the copy with this index of the site at a place.
func newSite(w *world, place, index int) *site {
	s := &site{
		w: w, index: index, place: place, id: wire.SiteIDOf(clusterName, siteNames[place]),
		clock: clock{driftPPM: w.plan.Sites[place].DriftPPM, offset: w.plan.Sites[place].Offset},
		draw:  w.stream("process " + siteNames[index]),
		rare:  w.stream("sometimes " + siteNames[index]),
	}
	s.disk = newDisk(w, place, index)
	s.store = &siteStore{site: s, mem: store.NewMem()}
	return s
}

// plan is what the plan says about this site.
func (s *site) plan() *plan.SiteParams { return &s.w.plan.Sites[s.place] }

// process is one life of a site's node: the shell of a heart, and all that a kill ends.
type process struct {
	site      *site
	dead      bool
	born      time.Duration
	own       *flusher
	mirror    *flusher
	primary   wire.SiteID // the writer, by its configuration or directory
	epoch     wire.Epoch  // in which that writes
	founded   bool        // the directory records it
	paused    bool        // appends wait for a switchover
	node      *node.Node
	writer    *writer.Writer
	appliers  []*apply.Applier
	feeds     [2]*feed // from own, from mirror
	applied   map[wire.LogID]wire.Position
	waits     apply.Waits
	learned   [2]int // STARTs of own and mirror that the appliers were told
	links     map[node.LinkID]*end
	readers   map[node.LinkID]*shipper
	answering map[answering]*answers
	admitted  []bool
	heard     [plan.SitesMax]bool // places that reported their positions
	asked     int                 // the operator's last wish that it was told
	membership
	refused []bool // shards whose own log is refused
	effects node.Effects
	wake    time.Duration // world time of the tick that is asked for; 0 = none
	refs    []wire.BatchRef
	headers []wire.BatchHeader
	pieces  journal.Pieces // of repairs that are being fetched
	missing journal.Missing

	toldLogs map[wire.LogID]*toldLog // own logs as reported to the heart, see lag.go
	lagSeen  map[wire.SiteID]*lagSeen
}

// start opens the journals and starts a process. It tries again later if the disk refuses.
func (s *site) start() {
	if s.p != nil || s.gone || s.lost && !s.apart || s.outside && s.late && s.w.wish.number == 0 {
		return
	}
	s.starts++
	if s.jumpNext != nil {
		s.jump(s.jumpNext)
		s.jumpNext = nil
	}
	if s.opening != nil && !s.disk.loose {
		s.disk.fuse = 1 + int(s.opening.Draw>>40%fuseMax)
	}
	p := &process{
		site: s, born: s.w.now, links: map[node.LinkID]*end{}, readers: map[node.LinkID]*shipper{},
		toldLogs: map[wire.LogID]*toldLog{}, lagSeen: map[wire.SiteID]*lagSeen{},
		admitted: make([]bool, s.w.plan.Shards), refused: make([]bool, s.w.plan.Shards),
		answering: map[answering]*answers{},
	}
	var err error
	if p.own, err = p.openJournal(node.Own, ownDir); err == nil {
		p.mirror, err = p.openJournal(node.Mirror, mirrorDir)
	}
	if blown := s.disk.defuse(); blown {
		s.cutWhileOpening()
		return
	}
	if err != nil {
		s.w.step(s.index, "open failed", 0, 0)
		if s.disk.loose {
			s.disk.processKilled() // it is nowhere else yet
		} else {
			s.disk.crash(s.draw) // what failed may not be believed from a cache
		}
		if s.w.healed || !struck(err) && !vfs.Exhausted(err) {
			s.w.fail("I14", "%s does not open, and its disk refuses nothing: %v", siteNames[s.index], err)
		}
		s.w.after(s.draw.Between(50*time.Millisecond, 500*time.Millisecond), s.start)
		return
	}
	s.p, s.opening, s.disk.loose = p, nil, false
	s.disk.flipped, s.disk.harm.doubt, s.disk.harm.strayed = false, 0, 0 // what was to be cut is cut
	s.w.step(s.index, "start", uint64(s.starts), uint64(p.own.j.Term()))
	p.openAppliers()
	p.knows()
	if !p.holdEpoch() {
		return
	}
	p.members()
	p.node = node.New(p.config(), p.boot())
	p.writer = writer.New(writer.Options{
		Cluster: wire.ClusterIDOf(clusterName), Site: s.id, Shards: s.w.plan.Shards, Epoch: p.epoch,
		BytesMax: s.w.plan.PendingBytes, ClockFloor: p.own.j.Control().ClockBound, Incarnation: s.incarnation,
		Now: p.wall, Sometimes: s.sometimes(),
	})
	for _, f := range p.feeds {
		f.kick()
	}
	if p.hosted() {
		p.hostHas(ownTails(p.own.j))
	}
	p.tick()
	p.later(plan.PhaseAny, cpuTime, p.mend)
	p.flushStoreLater()
}

// incarnation draws an identity for a new log.
func (s *site) incarnation() (i wire.Incarnation) {
	binary.LittleEndian.PutUint64(i[0:], s.draw.Uint64())
	binary.LittleEndian.PutUint64(i[8:], s.draw.Uint64()|1)
	return i
}

func (p *process) openJournal(which node.Journal, dir string) (*flusher, error) {
	kind := journal.Own
	if which == node.Mirror {
		kind = journal.Mirror
	}
	struck := p.site.disk.struckHeads(dir)
	j, r, err := journal.Open(journal.Options{
		FS: p.site.disk, Dir: dir, Kind: kind, Cluster: wire.ClusterIDOf(clusterName), Site: p.site.id,
		SegmentBytes: segmentBytes, RecentBytesMax: p.site.plan().RecentBytes,
		Sometimes: p.site.sometimes(), Damaged: p.damaged,
		Left: func() { p.later(plan.PhaseAny, cpuTime, func() { p.retain(which) }) },
	})
	if err != nil {
		return nil, err
	}
	tail := func(log wire.LogID) wire.Position {
		t, _ := j.Tail(log)
		return t.Position
	}
	p.site.disk.recovered(dir, tail)
	p.site.disk.headsTold(struck, r.Damage)
	p.site.disk.repairsStay(j.Holes())
	p.site.w.check.opened(p.site.index, which, tail, func(log wire.LogID) bool {
		// A log that damage took whole has no name any more.
		return slices.Contains(r.Suspect, log) || len(r.Damage) > 0 && tail(log).Seq == 0
	})
	if r.TornBytes > 0 {
		p.site.w.mark("torn tail cut")
	}
	p.noteDamage("damage found at open", r.Damage)
	if len(r.Suspect) > 0 {
		p.site.w.mark("suspect log")
	}
	f := &flusher{p: p, which: which, j: j, suspect: r.Suspect}
	f.openPipeline()
	return f, nil
}

func (p *process) openAppliers() {
	for shard := range wire.Shard(p.site.w.plan.Shards) {
		a, err := apply.New(shard, p.site.store)
		if err != nil {
			p.site.w.fail("world", "applier of shard %d: %v", shard, err)
		}
		p.appliers = append(p.appliers, a)
	}
	p.applied = make(map[wire.LogID]wire.Position)
	for i, f := range [2]*flusher{p.own, p.mirror} {
		p.feeds[i] = &feed{p: p, which: f.which, j: f.j, Feed: apply.NewFeed(f.j, len(p.appliers), p.from)}
		for _, c := range p.site.store.cursors((*store.Mem).Cursors) {
			if p.feeds[i].reads(c.Log) {
				p.feeds[i].Set(c)
				p.applied[c.Log] = c.Position
			}
		}
	}
}

func (p *process) from(log wire.LogID) (at wire.Cursor, rest bool) {
	return p.appliers[log.Shard].From(log)
}

// named are the peers that the site's configuration names.
func (p *process) named() (peers []node.Peer) {
	s := p.site
	for _, other := range s.w.sites {
		if other.place != s.place && !s.alone && !other.late {
			peers = append(peers, node.Peer{Site: other.id, Name: siteNames[other.place]})
		}
	}
	slices.SortFunc(peers, func(a, b node.Peer) int { return cmp.Compare(a.Site, b.Site) })
	return peers
}

func (p *process) config() node.Config {
	s := p.site
	set, mine := s.w.plan, s.plan()
	return node.Config{
		Cluster: wire.ClusterIDOf(clusterName), ClusterName: clusterName, Site: s.id, SiteName: siteNames[s.place],
		Shards: uint32(set.Shards), Primary: p.primary, Epoch: p.epoch,
		Peers:          p.named(),
		WindowBytesMax: mine.WindowBytes, WindowBytesMin: min(mine.WindowBytes, 64<<10), FrameBytesMax: mine.FrameBytes,
		RestoreBytesMax: stagedBytesMax, VerifyWait: set.VerifyWait, Seed: s.draw.Uint64(), Sometimes: s.sometimes(),
		HeartbeatEvery: set.HeartbeatEvery, HeartbeatTimeout: set.HeartbeatTimeout,
	}
}

// configured is the site that this one's configuration names as the primary.
func (s *site) configured() wire.SiteID {
	if s.usurps {
		return s.id
	}
	return wire.SiteIDOf(clusterName, siteNames[0])
}

func (p *process) boot() node.Boot {
	control := p.own.j.Control()
	b := node.Boot{
		Term: p.own.j.Term(), Own: logsOf(p.own.j), Mirror: logsOf(p.mirror.j),
		OwnSuspect: p.own.suspect, MirrorSuspect: p.mirror.suspect, Founded: p.founded,
		Peers: control.Peers, Sites: control.Sites, Removed: control.Removed,
		Starts: append(p.own.j.Starts(), p.mirror.j.Starts()...),
	}
	b.Applied = p.site.store.cursors((*store.Mem).Cursors)
	return b
}

func logsOf(j *journal.Journal) []node.Log {
	var logs []node.Log
	for _, end := range j.Tails() {
		logs = append(logs, node.Log{
			ID: end.Log, Tail: end.Position, LastStamp: end.LastStamp, LastIndex: end.LastIndex, Epoch: end.Epoch,
		})
	}
	return logs
}

// later runs work of this process: not after its death, not during a pause, and
// not if a kill waited for just this phase.
func (p *process) later(at plan.Phase, d time.Duration, work func()) {
	p.site.w.after(d, func() { p.run(at, work) })
}

func (p *process) run(at plan.Phase, work func()) {
	switch s := p.site; {
	case p.dead:
	case s.paused():
		if !s.pauseStruck {
			s.pauseStruck = true
			s.w.fault(plan.Pause)
		}
		if s.held = append(s.held, func() { p.run(at, work) }); len(s.held) == 1 {
			s.w.at(s.pausedTo(), s.resume)
		}
	case s.armed != nil && (s.armed.Phase == at || s.armed.Phase == plan.PhaseAny || s.armed.Phase == plan.PhaseOpen):
		s.dieNow()
	case s.armed != nil && s.armed.Phase == plan.PhaseMidWrite && at == plan.PhaseWrite:
		s.disk.tear = true
		work()
		s.disk.tear = false
		s.dieNow()
	default:
		work()
	}
}

// dieNow carries out the armed kill or power cut.
func (s *site) dieNow() {
	f := s.armed
	s.armed = nil
	if f.Phase == plan.PhaseOpen {
		s.opening = f
	}
	s.die(f.Kind == plan.Power || f.Kind == plan.BothDown, f.Span, f.Stream())
	s.w.fault(f.Kind)
}

// die ends the process; a power cut also decides what the disk and the Store
// had not synced. It starts again after a while.
func (s *site) die(powerCut bool, span time.Duration, draw plan.Stream) {
	p := s.p
	if p == nil {
		return
	}
	s.disk.harm.unproven = s.unproven()
	p.dead, s.p = true, nil
	s.diedAt = s.w.now
	powerCut = powerCut || s.disk.lied()
	s.armed = nil
	s.endPause()
	s.w.step(s.index, "die", boolBit(powerCut), 0)
	s.w.net.processGone(p, powerCut)
	s.w.load.of(s).processGone()
	if powerCut {
		if s.disk.crash(draw) > 0 {
			s.w.mark("power cut with unsynced bytes")
		}
	} else {
		s.disk.processKilled()
	}
	s.store.crash(draw)
	s.w.after(span, s.start)
}

func boolBit(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

// takeImage copies the site as a backup would: what is durable, at one moment. Of a directory
// that was copied, and that no opening has flushed, it copies what is there.
func (s *site) takeImage() *image {
	i := &image{
		mem:     s.disk.mem.Crash(func(vfs.Unsynced) vfs.Fate { return vfs.Drop }),
		crashed: map[string][]extent{},
		store:   s.store.mem.Crash(nil),
		flipped: s.disk.flipped,
		harm:    s.disk.harm,

		stampMax: s.w.load.told[s.index].stampMax,
	}
	if s.disk.loose {
		i.mem, i.loose = s.disk.mem.Copy(), true
	}
	i.harm.batches, i.harm.mended = maps.Clone(i.harm.batches), maps.Clone(i.harm.mended)
	i.harm.unproven = s.unproven()
	for name, f := range s.disk.files {
		i.crashed[name] = slices.Clone(f.crashed)
	}
	for journal, book := range s.w.check.ledgers[s.index] {
		i.books[journal] = map[wire.LogID]*ledger{}
		for log, l := range book {
			i.books[journal][log] = &ledger{incarnation: l.incarnation, ends: slices.Clone(l.ends)}
		}
	}
	return i
}

// restore puts the old image in place of what is there.
func (s *site) restore(f *plan.Item) {
	if s.image == nil || s.p == nil || !s.w.check.spares(s, s.image) {
		return
	}
	s.die(true, f.Span, f.Stream())
	s.install(s.image)
	s.w.check.restored(s.index, s.image)
	s.w.check.storeCrashed(s.index, s.store.mem, true)
	s.image = nil
	s.w.fault(f.Kind)
}

// install puts an image on the site's media.
func (s *site) install(i *image) {
	s.disk.replace(i.mem, i.crashed)
	if s.disk.harm = i.harm; s.disk.harm.doubt != 0 {
		s.disk.harm.doubt = s.w.now
	}
	s.disk.flipped, s.disk.loose = i.flipped, i.loose
	s.store.mem = i.store
	s.restoredAt, s.diedAt = s.w.now, 0
}

// restoreGrace is how long frames may still arrive that a site sent before an
// old image of it was restored.
const restoreGrace = 10 * time.Second

func (s *site) justRestored() bool {
	return s.restoredAt != 0 && s.w.now < s.restoredAt+restoreGrace
}

// heal ends all faults of the site; whoever is down comes up by itself.
func (s *site) heal() {
	s.armed, s.opening, s.jumpNext, s.swaps = nil, nil, nil, nil
	s.endPause()
	s.resume()
	s.disk.failNext = [2]int{}
	s.disk.noSpace, s.disk.slow, s.disk.unreadable, s.disk.noFiles = 0, 0, 0, 0
	s.disk.astray = nil
	s.unhang()
}
