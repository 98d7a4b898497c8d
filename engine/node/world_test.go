package node

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/claudefs/repl/engine/event"
	"github.com/claudefs/repl/engine/stream"
	"github.com/claudefs/repl/wire"
)

// world drives nodes back to back: journals are slices of headers, links are
// queues that keep order and can be cut, and nothing happens by itself. Every
// pending piece of work is one move; who chooses the order of moves chooses the
// interleaving.
type world struct {
	mono  time.Duration
	sites []*site
	pipes []*pipe
	links LinkID
	said  []string       // events and admissions since last asked
	trace bool           // also frames
	carry func(*FrameIn) // control frames on their way
	// damages lets random crashes leave a mirrored log suspect.
	damages bool
	fault   error        // first broken promise
	opened  []wire.Start // every START above the first epoch, in the order they were written
}

type site struct {
	w       *world
	name    string
	c       Config
	node    *Node
	own     disk
	mirror  disk
	peers   []wire.RegisteredPeer
	records []wire.SiteRecord
	removed []wire.RemovedSite
	counted map[wire.SiteID]int // confirmations that were passed on, by peer
	applied []wire.Cursor
	suspect [Mirror + 1][]wire.LogID
	term    wire.Term
	stamp   wire.Stamp
	work    []func() // finished I/O that the node has not been told yet, in order
	effects Effects
	wake    time.Duration
	wall    time.Duration // the wall clock is off by it
	noFlush bool
	noApply bool
	noDial  bool
	mute    bool   // what it sends is lost, and it hears nothing
	moving  bool   // bytes of a frame come and go meanwhile
	flip    bool   // the next frame of batches to arrive does not hold
	answers string // to fetches: "off" = none, "open" = all but their end, "short" = and the last batch
	quiet   bool   // its admissions are not told
	image   disks
	// backwards stamps the next batch of shard 0 too low.
	backwards bool
	takes     map[wire.Shard]bool
	founded   bool // who writes is on record
	retains   [Mirror + 1]int
	acked     map[wire.LogID]wire.Seq // per own log, what some peer confirmed as durable
	asked     []Asked                 // Lo and Hi are gone
	told      []Told                  // Answers are gone
}

// disk is one journal.
type disk struct {
	batches []wire.BatchHeader // durable
	staged  []wire.BatchHeader
	ticket  uint64 // newest staged
	base    int    // batches[:base] are no longer kept
}

// pipe is one link: the end that dialed and the end that accepted.
type pipe struct {
	ends [2]*end
}

type end struct {
	id     LinkID
	site   *site
	far    *end
	queue  []FrameIn // to be received here
	down   bool
	reader int
	read   []wire.BatchHeader // of the last ReadDone
	asked  []wire.Fetch       // to be granted
}

const worldEpoch = 1_700_000_000

func newWorld() *world { return &world{mono: time.Second} }

func (w *world) now() Now {
	return Now{Mono: w.mono, Wall: time.Unix(worldEpoch, 0).UTC().Add(w.mono)}
}

func (s *site) now() Now {
	now := s.w.now()
	now.Wall = now.Wall.Add(s.wall)
	return now
}

func (w *world) addSite(name string, shards uint32, primary string, peers ...string) *site {
	s := &site{w: w, name: name, acked: make(map[wire.LogID]wire.Seq), counted: make(map[wire.SiteID]int)}
	s.c = Config{
		Cluster: wire.ClusterIDOf("prod"), ClusterName: "prod", Site: wire.SiteIDOf("prod", name), SiteName: name,
		Shards: shards, Primary: wire.SiteIDOf("prod", primary), PrimaryNamed: true, Seed: uint64(len(w.sites) + 1),
		WindowBytesMin: 4096, WindowBytesMax: 1 << 20, FrameBytesMax: 2048,
	}
	for _, p := range peers {
		s.c.Peers = append(s.c.Peers, Peer{Site: wire.SiteIDOf("prod", p), Name: p})
	}
	w.sites = append(w.sites, s)
	return s
}

func (w *world) site(name string) *site {
	for _, s := range w.sites {
		if s.name == name {
			return s
		}
	}
	panic("no site " + name)
}

func (w *world) bySite(id wire.SiteID) *site {
	for _, s := range w.sites {
		if s.c.Site == id {
			return s
		}
	}
	return nil
}

func (w *world) say(format string, args ...any) {
	w.said = append(w.said, fmt.Sprintf(format, args...))
}

func (w *world) broken(format string, args ...any) {
	if w.fault == nil {
		w.fault = fmt.Errorf(format, args...)
	}
}

// open boots a site from what its disks hold.
func (s *site) open() {
	s.term++
	s.c.Seed += 100 // each life begins its sessions elsewhere
	b := Boot{
		Term: s.term, Own: s.own.logs(), Mirror: s.mirror.logs(),
		OwnSuspect: s.suspect[Own], MirrorSuspect: s.suspect[Mirror], Peers: s.peers, Applied: slices.Clone(s.applied),
		Founded: s.founded, Starts: append(s.starts(s.own.batches), s.starts(s.mirror.batches)...),
		Sites: s.records, Removed: s.removed,
	}
	s.node = New(s.c, b)
	s.takes = make(map[wire.Shard]bool)
	s.step(&Tick{})
	for _, j := range []Journal{Own, Mirror} {
		for _, l := range s.disk(j).logs() { // what a crash undid is done again
			if !s.noApply && s.cursor(l.ID).Seq < l.Tail.Seq {
				s.apply(l.ID, l.Tail)
			}
		}
	}
}

// crash forgets everything that is not durable.
func (s *site) crash() {
	s.node, s.work, s.wake = nil, nil, 0
	s.own.staged, s.mirror.staged = nil, nil
	for _, p := range s.w.pipes {
		if p.ends[0].site == s || p.ends[1].site == s {
			p.cut(errors.New("connection reset"))
		}
	}
}

func (p *pipe) cut(err error) {
	for _, e := range p.ends {
		e.queue = nil
		e.goDown(err)
	}
}

func (e *end) goDown(err error) {
	if e.down {
		return
	}
	e.down = true
	e.site.later(func() { e.site.step(&LinkDown{Link: e.id, Err: err}) })
}

func (s *site) later(f func()) {
	if s.node == nil {
		return
	}
	n := s.node
	s.work = append(s.work, func() {
		if s.node == n {
			f()
		}
	})
}

// step gives the node one input and carries out its effects.
func (s *site) step(in Input) {
	e := &s.effects
	if frame, ok := in.(*FrameIn); ok {
		frame.Starts = s.starts(frame.Headers)
	}
	e.Reset()
	s.node.Step(s.now(), in, e)
	if err := s.node.Check(); err != nil {
		s.w.broken("%s: %v", s.name, err)
	}
	s.wake = e.Wake
	for _, ev := range e.Events {
		alarm := ""
		if event.Alarm(ev) {
			alarm = "!"
		}
		s.w.say("%s: %s%s %s", s.name, ev.Kind(), alarm, ev.Text(s.node.SiteName))
	}
	for _, c := range e.Clears {
		s.suspect[c.Journal] = slices.DeleteFunc(s.suspect[c.Journal], func(l wire.LogID) bool { return l == c.Log })
	}
	for _, l := range e.Adopts { // the tail of a batch that is not kept
		d := s.disk(s.node.t.JournalOf(l.ID))
		d.batches = append(d.batches, wire.BatchHeader{
			Cluster: s.c.Cluster, Site: l.ID.Site, Shard: l.ID.Shard, Incarnation: l.Tail.Incarnation,
			FirstSeq: l.Tail.Seq, Count: 1, Chain: l.Tail.Chain, LastStamp: l.LastStamp, LastIndex: l.LastIndex,
		})
		d.base = len(d.batches)
	}
	if e.Found {
		s.founded = true
	}
	if e.Found && !s.c.PrimaryNamed {
		s.w.say("%s: on record: %s writes", s.name, s.node.SiteName(s.c.Primary))
	}
	for _, a := range e.Admits {
		s.admit(&a)
	}
	for i := range e.Opens {
		s.openLog(&e.Opens[i])
	}
	frame, _ := in.(*FrameIn)
	for _, st := range e.Stages {
		s.stage(&st, frame)
	}
	for _, p := range e.Persists {
		p := p
		s.later(func() { s.persist(&p) })
	}
	for _, p := range e.Progress {
		s.checkProgress(&p)
		if !p.Lost {
			s.counted[p.Peer]++
		}
	}
	for _, j := range e.Reclaim {
		s.retains[j]++
	}
	for i := range e.Ops {
		s.operate(&e.Ops[i])
	}
	s.asked, s.told = append(s.asked, e.Asked...), append(s.told, e.Told...)
	s.checkMirror()
}

func (s *site) admit(a *Admit) {
	open := a.Admission == AdmitVerified || a.Admission == AdmitUnverified
	if open && !s.takes[a.Shard] && a.Tail.Tail != s.own.tail(a.Tail.ID).Position {
		s.w.broken("%s: admits shard %d at %s, the journal ends at %s",
			s.name, a.Shard, a.Tail.Tail, s.own.tail(a.Tail.ID))
	}
	s.takes[a.Shard] = open
	if a.Open != nil {
		s.openLog(a.Open)
	}
	names := [...]string{"waiting", "verified", "unverified", "refused", "standby"}
	text := fmt.Sprintf("%s: shard %d %s at seq %d", s.name, a.Shard, names[a.Admission], a.Tail.Tail.Seq)
	if s.quiet {
		return
	}
	if a.Err != nil {
		text += ": " + a.Err.Error()
	}
	s.w.say("%s", text)
}

// flush makes everything staged in a journal durable.
func (s *site) flush(j Journal) {
	d := s.disk(j)
	headers, ticket := d.staged, d.ticket
	d.staged = nil
	d.batches = append(d.batches, headers...)
	if j == Own && len(headers) > 0 {
		starts := s.starts(d.batches)
		s.later(func() { s.step(&OwnDurable{Headers: headers, Starts: starts}) })
	}
	if ticket > 0 {
		s.later(func() { s.step(&Durable{Journal: j, Ticket: ticket}) })
	}
	for i := range headers {
		if h := &headers[i]; !s.noApply {
			s.apply(h.Log(), h.End())
		}
	}
}

// apply moves the Store behind a durable position.
func (s *site) apply(log wire.LogID, at wire.Position) {
	s.later(func() {
		c := wire.Cursor{Log: log, Position: at}
		if old := s.cursor(log); old.Seq >= at.Seq && old.Incarnation == at.Incarnation {
			return
		}
		s.applied = slices.DeleteFunc(slices.Clone(s.applied), func(o wire.Cursor) bool { return o.Log == log })
		s.applied = append(s.applied, c)
		slices.SortFunc(s.applied, func(a, b wire.Cursor) int { return a.Log.Compare(b.Log) })
		s.step(&Applied{Cursors: []wire.Cursor{c}})
		s.later(func() { s.step(&StoreDurable{Cursors: []wire.Cursor{c}}) })
	})
}

func (s *site) cursor(log wire.LogID) wire.Position {
	for _, c := range s.applied {
		if c.Log == log {
			return c.Position
		}
	}
	return wire.Position{}
}

func (s *site) disk(j Journal) *disk {
	if j == Own {
		return &s.own
	}
	return &s.mirror
}

// append adds one batch of count entries to the own journal's open unit.
func (s *site) append(shard wire.Shard, count uint32) wire.BatchHeader {
	return s.appendAs(shard, count, incarnation(s.name, shard))
}

func incarnation(name string, shard wire.Shard) (i wire.Incarnation) {
	copy(i[:], fmt.Sprintf("%s/%d", name, shard))
	return i
}

func (s *site) appendAs(shard wire.Shard, count uint32, inc wire.Incarnation) wire.BatchHeader {
	t := s.own.tail(wire.LogID{Site: s.c.Site, Shard: shard})
	stamp := max(s.stamp+1, wire.StampOf(s.now().Wall))
	s.stamp = stamp + wire.Stamp(count) - 1
	h := wire.BatchHeader{
		Kind: wire.BatchData, DigestKind: wire.DigestXXH3, Prev: t.Chain, Incarnation: inc, Cluster: s.c.Cluster,
		Site: s.c.Site, Shard: shard, Epoch: s.epochOf(inc), Count: count, FirstSeq: t.Seq + 1,
		FirstStamp: stamp, LastStamp: s.stamp,
		LastIndex: uint64(t.Seq) + uint64(count),
	}
	if s.backwards && shard == 0 {
		s.backwards = false
		h.FirstStamp, h.LastStamp = 1, wire.Stamp(count)
	}
	b := make([]byte, wire.BatchHeaderBytes+int(count)*40)
	wire.CloseBatch(b, &h)
	s.own.staged = append(s.own.staged, h)
	return h
}

func (s *site) stage(st *Stage, in *FrameIn) {
	var headers []wire.BatchHeader
	for _, i := range st.Batches {
		headers = append(headers, in.Headers[i])
	}
	ticket := st.Ticket
	if st.Kind == StageRepair {
		s.w.say("%s: repairs %d batches behind seq %d, last %v", s.name, len(headers), st.From.Seq, st.Last)
		if st.Last {
			s.later(func() { s.step(&Repaired{Ticket: ticket}) })
		}
		return
	}
	d := s.disk(Mirror)
	if st.Kind == StageRestore {
		d = s.disk(Own)
	}
	for i := range headers {
		h := &headers[i]
		if slices.Contains(s.suspect[Own], h.Log()) || slices.Contains(s.suspect[Mirror], h.Log()) {
			s.w.broken("%s: staged %s, which is suspect", s.name, h.Log())
		}
		if t := d.tail(h.Log()); !opensLater(&t, h) && (h.FirstSeq != t.Seq+1 || h.Prev != t.Chain) {
			s.w.broken("%s: staged %s seq %d behind seq %d", s.name, h.Log(), h.FirstSeq, t.Seq)
		}
		d.staged = append(d.staged, *h)
	}
	d.ticket = ticket
}

func (s *site) persist(p *Persist) {
	for _, site := range p.Forget {
		s.drop(site)
	}
	for _, r := range p.Removed {
		s.drop(r.Site)
		s.removed = append(s.removed, r)
	}
	for _, r := range p.Sites {
		s.removed = slices.DeleteFunc(s.removed, func(o wire.RemovedSite) bool { return o.Site == r.Site })
		s.records = append(slices.DeleteFunc(s.records, func(o wire.SiteRecord) bool { return o.Site == r.Site }), r)
	}
	for _, r := range p.Peers {
		i := slices.IndexFunc(s.peers, func(o wire.RegisteredPeer) bool { return o.Site == r.Site })
		if i < 0 {
			s.peers = append(s.peers, wire.RegisteredPeer{Site: r.Site, Name: r.Name})
			slices.SortFunc(s.peers, func(a, b wire.RegisteredPeer) int { return int(int64(a.Site) - int64(b.Site)) })
			i = slices.IndexFunc(s.peers, func(o wire.RegisteredPeer) bool { return o.Site == r.Site })
		}
		for _, c := range r.Cursors {
			list := slices.DeleteFunc(slices.Clone(s.peers[i].Cursors),
				func(o wire.Cursor) bool { return o.Log == c.Log })
			list = append(list, c)
			slices.SortFunc(list, func(a, b wire.Cursor) int { return a.Log.Compare(b.Log) })
			s.peers[i].Cursors = list
		}
	}
	s.step(&Persisted{Ticket: p.Ticket})
}

// drop takes a site off the control state.
func (s *site) drop(site wire.SiteID) {
	s.peers = slices.DeleteFunc(s.peers, func(r wire.RegisteredPeer) bool { return r.Site == site })
	s.records = slices.DeleteFunc(s.records, func(r wire.SiteRecord) bool { return r.Site == site })
}

// tail is where a log ends, what is staged included.
func (d *disk) tail(log wire.LogID) stream.Tail {
	for _, list := range [][]wire.BatchHeader{d.staged, d.batches} {
		for i := len(list) - 1; i >= 0; i-- {
			if h := &list[i]; h.Log() == log {
				return stream.Tail{Position: h.End(), Stamp: h.LastStamp}
			}
		}
	}
	return stream.Tail{}
}

func (d *disk) logs() []Log { return tailsOf(d.batches) }

func tailsOf(batches []wire.BatchHeader) []Log {
	var logs []Log
	for i := range batches {
		h := &batches[i]
		l := Log{ID: h.Log(), Tail: h.End(), LastStamp: h.LastStamp, LastIndex: h.LastIndex, Epoch: h.Epoch}
		logs = slices.DeleteFunc(logs, func(o Log) bool { return o.ID == l.ID })
		logs = append(logs, l)
	}
	slices.SortFunc(logs, func(a, b Log) int { return a.ID.Compare(b.ID) })
	return logs
}

// checkProgress: a position that is called durable at a peer is (I1).
func (s *site) checkProgress(p *Progress) {
	far := s.w.bySite(p.Peer)
	if p.Lost {
		s.w.say("%s: site %s has lost what it confirmed of shard %d", s.name, far.name, p.Log.Shard)
		delete(s.acked, p.Log)
		return
	}
	if p.Level == wire.LevelDurable {
		if p.Position.Seq < s.acked[p.Log] {
			s.w.say("%s: peer's cursor of shard %d goes back to seq %d", s.name, p.Log.Shard, p.Position.Seq)
		}
		s.acked[p.Log] = p.Position.Seq
	}
	if p.Level == wire.LevelReceived || far == nil {
		return
	}
	for i := range far.mirror.batches {
		h := &far.mirror.batches[i]
		if h.Log() == p.Log && h.Incarnation == p.Position.Incarnation && h.LastSeq() >= p.Position.Seq {
			if p.Level == wire.LevelDurable && h.End() != p.Position {
				break
			}
			return
		}
	}
	s.w.broken("%s: %s is said to be at %s (level %d) at %s, it is not", s.name, p.Log, p.Position, p.Level, far.name)
}

// checkMirror: a mirror is contiguous (I3) and its Store not ahead of it.
func (s *site) checkMirror() {
	for _, c := range s.applied {
		if c.Log.Site != s.c.Site && c.Position.Beyond(s.mirror.tail(c.Log).Position) {
			s.w.broken("%s: applied %s up to seq %d, mirrored up to %d",
				s.name, c.Log, c.Position.Seq, s.mirror.tail(c.Log).Seq)
		}
	}
}

func (w *world) take() string {
	out := strings.Join(w.said, "\n")
	w.said = nil
	if out != "" {
		out += "\n"
	}
	return out
}
