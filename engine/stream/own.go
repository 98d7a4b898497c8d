package stream

import (
	"math/rand/v2"
	"time"

	"github.com/claudefs/repl/engine/admission"
	"github.com/claudefs/repl/engine/lag"
	"github.com/claudefs/repl/engine/role"
	"github.com/claudefs/repl/engine/step"
	"github.com/claudefs/repl/wire"
)

// Heart is what sessions do to the rest of the heart.
type Heart interface {
	// Refuse tells the other end of a link why, and closes the link: its session is over when
	// Refuse returns.
	Refuse(link step.LinkID, code wire.RefusalCode, text string)
	// Malformed refuses a link whose other end does not keep to the protocol.
	Malformed(link step.LinkID, err error)
	// Ahead: the peer has entries of an own log that are not here.
	Ahead(o *Outbound, s wire.Shard)
	// Learn notes a START that a journal takes; an error says why it is not taken.
	Learn(s *wire.Start) error
	// Held is where the journals end durably in a log.
	Held(log wire.LogID) wire.Position
	// OwnRow is what pages show of an own log: where it ends if another site writes, or where it
	// ended before the incarnation that this site writes. Zero: there is no row.
	OwnRow(s wire.Shard) wire.Position
	// Copy is where a peer's copy of another site's log ends, as far as its pages told.
	Copy(o *Outbound, log wire.LogID) wire.Position
	// CursorMoved: a peer's cursor of an own log moved, and maybe the log's floor.
	CursorMoved(s wire.Shard)
	// Mirrored lists the sites whose logs this site holds, sorted.
	Mirrored() []wire.SiteID
	// Full: a learner holds everything, and counts from now on.
	Full(o *Outbound)
}

// OwnLogs is the logs of this site, and the sessions that carry them to each peer.
type OwnLogs struct {
	Peers []*Outbound // sorted by site

	t     *step.Turn
	role  *role.Role
	gate  *admission.Gate
	heart Heart
	ages  *lag.Ages
	grown grown
	rng   *rand.Rand // of dials
	hello wire.Hello // encoded from here, so that messages allocate nothing
	beat  wire.Heartbeat
	ext   wire.Extensions // of beat
}

// grown is what own logs grew by since open.
type grown struct {
	bytes, entries int64
	last           wire.Stamp // of the newest durable entry
}

// NewOwnLogs returns the logs behind gate, without a peer.
func NewOwnLogs(t *step.Turn, r *role.Role, gate *admission.Gate, heart Heart) *OwnLogs {
	return &OwnLogs{
		t: t, role: r, gate: gate, heart: heart, ages: lag.NewAges(t.C.Shards),
		rng: rand.New(rand.NewPCG(t.C.Seed, uint64(t.C.Site))),
	}
}

// Boot says where a log ends in the journal that was just opened.
func (w *OwnLogs) Boot(l *step.Log) {
	if !w.holds(l.ID) {
		return
	}
	o := &w.gate.Logs[l.ID.Shard]
	o.Tail, o.LastStamp, o.LastIndex, o.Epoch = l.Tail, l.LastStamp, l.LastIndex, l.Epoch
	w.ages.Boot(l.ID.Shard, w.count(l.ID.Shard, l.Tail))
	w.grown.last = max(w.grown.last, l.LastStamp)
}

// Start is the first step of this life.
func (w *OwnLogs) Start() { w.ages.Start(w.t.Now.Mono) }

// Step begins a step.
func (w *OwnLogs) Step() { w.ages.Stamped(w.grown.last, w.t.Now.Wall) }

// holds says whether a log is an own one.
func (w *OwnLogs) holds(log wire.LogID) bool {
	return log.Site == w.t.C.Site && uint32(log.Shard) < w.t.C.Shards
}

// Flushed takes what the own journal flushed, restored batches included.
func (w *OwnLogs) Flushed(headers []wire.BatchHeader, starts []wire.Start) {
	for i := range headers {
		h := &headers[i]
		if !w.holds(h.Log()) || w.gate.Logs[h.Shard].Tail.Fit(h).Holds() {
			continue
		}
		if h.OpensEpoch() {
			w.opened(startOf(starts, h))
		}
		w.Grow(&Growth{h.Shard, h.FirstSeq, h.End(), h.FirstStamp, h.LastStamp, h.LastIndex})
		w.grown.bytes, w.grown.entries = w.grown.bytes+int64(h.Bytes()), w.grown.entries+int64(h.Count)
		for _, o := range w.Peers {
			o.backlog += int64(h.Bytes())
		}
	}
	for _, o := range w.Peers {
		o.Ready()
		o.readOn()
	}
}

// Growth is what an own log came to hold.
type Growth struct {
	Shard       wire.Shard
	First       wire.Seq
	End         wire.Position
	Stamp, Last wire.Stamp // of the first and the last entry
	Index       uint64     // the application's, of the last entry; 0 = not known
}

// Grow moves the durable tail of an own log.
func (w *OwnLogs) Grow(g *Growth) {
	o, now := &w.gate.Logs[g.Shard], w.t.Mono()
	if !o.Tail.Same(g.End) && !w.t.Covers(o.ID, g.End, o.Tail) {
		w.forget(g.Shard)
	}
	o.Tail, o.LastStamp = g.End, g.Last
	last := w.count(g.Shard, g.End)
	first := last - g.End.Seq + g.First
	w.ages.Grew(g.Shard, first, now)
	if g.Index != 0 {
		o.LastIndex = g.Index
	}
	w.grown.last = max(w.grown.last, g.Last)
	w.ages.Stamped(g.Last, w.t.Now.Wall)
	for _, p := range w.Peers {
		if p.Configured {
			p.durable.Grew(g.Shard, first, last, g.Stamp, now)
			p.applied.Grew(g.Shard, first, last, g.Stamp, now)
			// A reader sees the end of a flush before the flush is reported, so an ack may be
			// here already.
			p.observe(wire.LevelDurable, p.durable.Reached(g.Shard, w.count(g.Shard, p.Logs[g.Shard].Durable)))
			p.observe(wire.LevelApplied, p.applied.Reached(g.Shard, w.count(g.Shard, p.Logs[g.Shard].Applied)))
		}
	}
}

// forget drops what is known by seq of a log: it is known of the incarnation before.
func (w *OwnLogs) forget(s wire.Shard) {
	w.ages.Forget(s)
	for _, p := range w.Peers {
		if p.Configured {
			p.durable.Set(s, 0, 0, 0, 0)
			p.applied.Set(s, 0, 0, 0, 0)
		}
	}
}

// Check says which of the inequalities that stand beside the fields does not hold.
func (w *OwnLogs) Check() error {
	for _, o := range w.Peers {
		if err := o.check(); err != nil {
			return err
		}
	}
	return nil
}

// age is for how long an entry has been durable.
func (w *OwnLogs) age(now step.Now) lag.Judge {
	return func(q lag.Question) time.Duration { return w.ages.Age(now, q) }
}
