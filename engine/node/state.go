package node

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/claudefs/repl/engine/admission"
	"github.com/claudefs/repl/engine/fetch"
	"github.com/claudefs/repl/engine/internal/plant"
	"github.com/claudefs/repl/engine/role"
	"github.com/claudefs/repl/engine/step"
	"github.com/claudefs/repl/engine/stream"
	"github.com/claudefs/repl/wire"
)

// Bounds that are not knobs.
const (
	strangerMax     = 32                    // accepted links that have not said hello
	foreignLogMax   = 64                    // shards beyond the count that are refused in one session
	readErrorMax    = 16                    // errors of a reader in a row before its link is closed
	pageGapMin      = 50 * time.Millisecond // between pages that do not wait for PageEvery
	persistEvery    = time.Second           // cursors of peers to the control state
	retainEvery     = time.Second
	heartbeatsKept  = 64 // whose sending times are remembered; older echoes prove nothing
	frameBatchesMax = 1<<16 - 1
)

// Node is the pure heart of one storage node. It has no clock, no goroutine
// and no randomness: the same steps give the same effects. Not for concurrent
// use.
type Node struct {
	t       *step.Turn
	role    *role.Role
	gate    *admission.Gate
	desk    *fetch.Desk
	rng     *rand.Rand
	started bool
	startAt time.Duration

	own        []ownLog // by shard
	grown      grownLogs
	peers      []*peer   // sorted by site
	mirrors    []*mirror // sorted by site
	unclean    int       // mirrored logs whose Store is behind their durable tail
	links      map[LinkID]*link
	linkNumber uint64  // of the youngest link
	order      []*link // in the order they came up
	renew      bool    // an own log goes on behind the Store: every peer is asked again
	strangers  int     // of them: accepted, without a hello; 0 <= strangers <= strangerMax+1

	control   control
	retention retention
	msg       messages
}

// grownLogs is what own logs grew by since open.
type grownLogs struct {
	bytes, entries int64
	lastStamp      wire.Stamp
	ahead          wire.Stamp // the highest own stamp that was ahead of the wall clock
}

// control is what goes to the control state: one Persist at a time.
type control struct {
	persisting *Persist // under way, or nil
	ticket     uint64
	forget     []wire.SiteID // to be written
	at         time.Duration // next time cursors may be saved
}

// retention is which journals' floors rose, and when the next segments may go.
type retention struct {
	rose [Mirror + 1]bool
	at   time.Duration
}

// messages are decoded into and encoded from, so that frames allocate nothing.
type messages struct {
	in           FrameIn // that came
	hello        wire.Hello
	welcome      wire.Welcome
	refusal      wire.Refusal
	ack          wire.Ack
	batchRefusal wire.BatchRefusal
	page         wire.CursorPage
	heartbeat    wire.Heartbeat
	beat         wire.Heartbeat
	ext          wire.Extensions
	echo         wire.HeartbeatEcho
	fetch        wire.Fetch
	fetchEnd     wire.FetchEnd
	verify       wire.Verify
	verified     wire.Verified
}

// ownLog is a log that this site writes.
type ownLog struct {
	*admission.Log
	boot   wire.Seq      // of Tail when we opened, in Tail's incarnation
	store  wire.Position // durable in the Store
	growth growth
	floor  wire.Position // last Floor
}

// peerLog is an own log at a peer.
type peerLog struct {
	durable wire.Position // confirmed
	answer  wire.Position // told by the resume pages of this session
	applied wire.Position // in its Store; without a chain where that is not known
	// appliedBefore is applied of the sessions before, until this one's answer is in.
	appliedBefore wire.Position
	dirty         bool // durable is not in the control state; the log is listed in changed
	stop          *stream.Stop
}

// peer is another site: the source's side of the session that we dial, and the
// receiver's side of the one that it dials.
type peer struct {
	*role.Peer
	bit       uint64        // in mirrorLog.owed
	heardOnce bool          // it welcomed us, in this life or before
	heard     time.Duration // 0 = never
	logs      []peerLog     // by shard
	changed   []wire.Shard  // with dirty cursors
	mirror    *mirror
	copies    []*copied
	source
	receiving
}

// source is our side of the session that we dial. Zero for a peer that is not configured.
type source struct {
	dialing
	reading
	sent
	sender   *stream.Sender
	durable  *stream.Meter
	applied  *stream.Meter
	seekHeld bool         // the session waits for its registration to be written
	stops    []wire.Shard // logs with a stop
}

// dialing is how the session comes up.
type dialing struct {
	phase   phase
	link    *link // dialed, from LinkUp on: phase >= phaseHello, exactly then
	dialAt  time.Duration
	dials   int // in a row without a session
	term    wire.Term
	counter uint32
	reason  string
	refused bool
}

// reader is what the session's reader of the own journal does.
type reader uint8

const (
	readerStopped reader = iota // nothing is asked for: no session, or the window is full
	readerReads                 // a read is under way
	readerAgain                 // so it is, and the end moved meanwhile
	readerAtEnd                 // it stands at the end
)

// busy says that a read is under way.
func (r reader) busy() bool { return r == readerReads || r == readerAgain }

// reading is the session's reader.
type reading struct {
	reader    reader
	readErrs  int        // in a row
	readStamp wire.Stamp // first stamp of the batch that the reader passed last in this session
	backlog   int64      // bytes of the own journal that the reader has before it, if measured
	measured  bool
}

// sent is what the peer was sent and said, since open.
type sent struct {
	sessions uint64 // answered
	frames   uint64
	bytes    int64
	entries  int64 // in those bytes
	acks     Acks
	pace     pace
	rtt      time.Duration
	proven   time.Duration // when the newest answered heartbeat left, if answered
	fresh    bool          // proven is of this session
}

// receiving is our side of the session that the peer dials.
type receiving struct {
	receiver stream.Receiver
	in       *link // current session
	next     *link // its hello was good; it waits until the former's batches are flushed
	seenTerm wire.Term
	seen     uint32
	refusals []wire.Shard // logs refused in this session
	failed   []wire.Shard // logs whose staged batches were lost
	foreign  []wire.LogID // refused logs that are not the peer's
	owed     []wire.LogID // mirrored logs that changed since the last page
	behind   behindness
	received received
	leftOut  uint32        // logs that the peer says it leaves out of this session
	paged    time.Duration // last page
}

// mirror is the logs of another site.
type mirror struct {
	site wire.SiteID
	peer *peer // nil if the site is not a peer
	logs []mirrorLog
	// stamp is the newest durable one: the writer ships in the order of its journal, so
	// what is older is here as well, but for what one flush of it held.
	stamp wire.Stamp
}

// received are sums since open of what a peer's sessions brought.
type received struct {
	sessions, frames uint64
	bytes            int64
}

type mirrorLog struct {
	tail    stream.Tail   // staged
	durable wire.Position // flushed
	stamp   wire.Stamp    // of durable's last entry
	store   wire.Position // durable in the Store
	applied wire.Position
	floor   wire.Position
	owed    uint64 // peers that have not been told its change
	end     uint64 // see stream.Flight.Add
	refused *stream.Stop
	suspect bool
}

// copied is where the mirrors of a third site's logs end at a peer.
type copied struct {
	site wire.SiteID
	ends []wire.Position // by shard
}

type phase uint8

const (
	phaseDown phase = iota
	phaseDialing
	phaseHello  // link up, hello sent
	phaseResume // welcomed, pages are coming
	phaseSeek   // all pages are in, the reader is being placed
	phaseLive
)

// link is one link as long as the shell knows it.
type link struct {
	*fetch.Line
	peer   *peer       // nil until the hello of an accepted link
	open   bool        // accepted: welcomed
	proven wire.SiteID // see LinkUp.Proven
	term   wire.Term
	heard  time.Duration
	beatAt time.Duration // next heartbeat
	beat   uint64
	beats  [heartbeatsKept]time.Duration
	rules  stream.Rules
}

// New returns the heart of a node that has just opened its journals. Its first
// Tick dials the peers. b is copied.
func New(c Config, b Boot) *Node {
	c.SetDefaults()
	n := &Node{
		t: &step.Turn{C: c, Term: b.Term}, links: make(map[LinkID]*link),
		rng: rand.New(rand.NewPCG(c.Seed, uint64(c.Site))),
		own: make([]ownLog, c.Shards),
	}
	n.role = role.New(n.t, b.Founded)
	n.gate = admission.New(n.t, n.role)
	n.desk = fetch.New(n.t, n.gate, onFetch{n})
	for s := range n.own {
		n.own[s].Log = &n.gate.Logs[s]
	}
	for i := range b.Peers {
		p := n.addPeer(Peer{Site: b.Peers[i].Site, Name: b.Peers[i].Name})
		p.Registered, p.heardOnce = true, len(b.Peers[i].Cursors) > 0
	}
	for _, p := range c.Peers {
		q := n.addPeer(p)
		q.Configured, q.Peer.Peer = true, p
		q.sender = stream.NewSender(c.Shards, c.WindowBytesMin, c.WindowBytesMax)
		q.durable, q.applied = stream.NewMeter(c.Shards), stream.NewMeter(c.Shards)
		// Frames name their session by its counter alone. Each life begins it anywhere, so
		// that no old frame passes for one of a session of this life: terms would not tell
		// them apart, since that of a new journal is 1 again. Not from rng, whose draws are
		// the dials'.
		begin := rand.New(rand.NewPCG(c.Seed, uint64(p.Site)))
		q.term, q.counter = b.Term, begin.Uint32()>>1
		q.mirror = n.addMirror(p.Site)
		q.mirror.peer = q
	}
	for i, p := range n.peers {
		p.bit = 1 << i
	}
	n.bootLogs(&b)
	for _, p := range n.peers {
		n.bootMeters(p)
	}
	return n
}

func (n *Node) addPeer(p Peer) *peer {
	n.t.Know(p)
	i, found := slices.BinarySearchFunc(n.peers, p.Site,
		func(q *peer, s wire.SiteID) int { return cmp.Compare(q.Site, s) })
	if !found {
		q := &role.Peer{Peer: p}
		n.role.Peers = slices.Insert(n.role.Peers, i, q)
		n.peers = slices.Insert(n.peers, i, &peer{Peer: q, logs: make([]peerLog, n.t.C.Shards)})
	}
	return n.peers[i]
}

func (n *Node) peer(site wire.SiteID) *peer {
	for _, p := range n.peers {
		if p.Site == site {
			return p
		}
	}
	return nil
}

func (n *Node) addMirror(site wire.SiteID) *mirror {
	i, found := slices.BinarySearchFunc(n.mirrors, site,
		func(m *mirror, s wire.SiteID) int { return cmp.Compare(m.site, s) })
	if !found {
		n.mirrors = slices.Insert(n.mirrors, i, &mirror{site: site, logs: make([]mirrorLog, n.t.C.Shards)})
	}
	return n.mirrors[i]
}

// mirrorLog returns a mirrored log, or nil if log is not one.
func (n *Node) mirrorLog(log wire.LogID) *mirrorLog {
	for _, m := range n.mirrors {
		if m.site == log.Site && uint32(log.Shard) < n.t.C.Shards {
			return &m.logs[log.Shard]
		}
	}
	return nil
}

// ownLog returns an own log, or nil if log is not one.
func (n *Node) ownLog(log wire.LogID) *ownLog {
	if log.Site == n.t.C.Site && uint32(log.Shard) < n.t.C.Shards {
		return &n.own[log.Shard]
	}
	return nil
}

// SiteName is how people call a site: its name where that is known.
func (n *Node) SiteName(site wire.SiteID) string { return n.t.SiteName(site) }

// bootLogs takes over what the journals and the Store hold.
func (n *Node) bootLogs(b *Boot) {
	for _, l := range b.Own {
		if o := n.ownLog(l.ID); o != nil {
			o.Tail, o.boot, o.LastStamp, o.LastIndex = l.Tail, l.Tail.Seq, l.LastStamp, l.LastIndex
			n.grown.lastStamp = max(n.grown.lastStamp, l.LastStamp)
		}
	}
	for _, l := range b.Mirror {
		if uint32(l.ID.Shard) >= n.t.C.Shards {
			continue
		}
		mirror := n.addMirror(l.ID.Site)
		mirror.stamp = max(mirror.stamp, l.LastStamp)
		m := &mirror.logs[l.ID.Shard]
		m.tail = stream.Tail{Position: l.Tail, Stamp: l.LastStamp}
		m.durable, m.stamp = l.Tail, l.LastStamp
	}
	for _, c := range b.Applied {
		if o := n.ownLog(c.Log); o != nil {
			o.store = c.Position
			if !plant.StoreIgnored {
				o.Needs(c.Position, "the Store")
			}
		} else if m := n.mirrorLog(c.Log); m != nil {
			// It may be ahead of a damaged mirror: what comes again is not applied again.
			m.store, m.applied = c.Position, c.Position
		}
	}
	for _, id := range b.OwnSuspect {
		if o := n.ownLog(id); o != nil {
			o.Suspect = true
		}
	}
	for _, id := range b.MirrorSuspect {
		if m := n.mirrorLog(id); m != nil {
			m.suspect = true
			n.desk.Suspect(id, m.durable)
		}
	}
	for _, m := range n.mirrors {
		for i := range m.logs {
			n.unclean += behind(&m.logs[i])
		}
	}
	for _, r := range b.Peers {
		p := n.peer(r.Site)
		p.backlog, p.measured = b.Backlogs[r.Site]
		for _, c := range r.Cursors {
			if c.Log.Site == n.t.C.Site && uint32(c.Log.Shard) < n.t.C.Shards {
				p.logs[c.Log.Shard].durable = c.Position
				n.own[c.Log.Shard].Needs(c.Position, "site "+r.Name)
			}
		}
	}
}

func (n *Node) bootMeters(p *peer) {
	for s := range p.logs {
		if p.Configured {
			o := &n.own[s]
			at := p.logs[s].durable.SeqIn(o.Tail.Incarnation)
			p.durable.Set(wire.Shard(s), o.Tail.Seq, at, at, o.LastStamp)
			p.applied.Set(wire.Shard(s), o.Tail.Seq, 0, at, o.LastStamp)
		}
	}
}

// behind is 1 if the Store has not applied all of a mirrored log.
func behind(l *mirrorLog) int {
	if !l.applied.Covers(l.durable) {
		return 1
	}
	return 0
}
