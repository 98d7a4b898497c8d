package sim

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/claudefs/repl/engine/node"
	"github.com/claudefs/repl/engine/role"
	"github.com/claudefs/repl/engine/sim/plan"
	"github.com/claudefs/repl/engine/store/writer"
	"github.com/claudefs/repl/wire"
)

// hotKeys is how many keys the entries of a shard fight over.
const hotKeys = 16

// op is one append as the load remembers it.
type op struct {
	shard        wire.Shard
	hash         uint64
	payloadBytes int
	hot          [][]byte // keys that it shares with others
	ref          wire.Ref
	copy         int                  // of the site, that took it
	epoch        wire.Epoch           // in which it did
	local        bool                 // acknowledged: flushed here
	durable      [plan.SitesMax]bool  // acknowledged: flushed at that peer as well
	applied      [plan.CopiesMax]bool // took effect at the copy of a site, as the checker knows
	forgiven     bool                 // lost by an operator who restored an old image
	entry        *wire.Entry          // in worlds whose host has a log of its own
}

// load appends tagged entries at the site that writes, and hears the acknowledgements.
type load struct {
	w       *world
	ops     []op
	bytes   int64
	acked   int
	pattern []byte
	asks    [plan.SitesMax]int // the place that clients of a site last knew to write
	host    *hostLog           // nil = the engine's journal is the host's only log
	told    [plan.CopiesMax]told
}

// told is what the process of one copy of a site was given and told.
type told struct {
	flushing  map[wire.LogID][]int                   // appended, not acknowledged as local; by seq
	mirrored  [plan.SitesMax]map[wire.LogID][]int    // local, not acknowledged as durable at that peer; by seq
	confirmed [plan.SitesMax]map[wire.LogID]wire.Seq // durable at that peer, as the process there is was told
	owed      [plan.SitesMax]map[wire.LogID]wire.Seq // of them, what the peer has lost and the process must notice

	stampMax   wire.Stamp // of what was acknowledged
	stampFloor wire.Stamp // of what a former process acknowledged
}

func newLoad(w *world) *load {
	l := &load{w: w, pattern: make([]byte, w.plan.PayloadMax+64)}
	draw := plan.NewStream(w.o.Seed, "load")
	for i := range l.pattern {
		l.pattern[i] = byte(draw.Uint32())
	}
	l.host = newHostLog(l)
	for i := range l.told {
		l.told[i].processGone()
	}
	return l
}

// processGone forgets who was waiting: the outcome of what was not acknowledged
// is unknown, and may still come to light.
func (t *told) processGone() {
	t.flushing = map[wire.LogID][]int{}
	for site := range t.mirrored {
		t.mirrored[site] = map[wire.LogID][]int{}
		t.confirmed[site], t.owed[site] = map[wire.LogID]wire.Seq{}, map[wire.LogID]wire.Seq{}
	}
	t.stampFloor = t.stampMax
}

// of is what the process of a copy of a site was told.
func (l *load) of(s *site) *told { return &l.told[s.index] }

// waiting counts the appends that were not acknowledged as local.
func (l *load) waiting() int {
	n := 0
	for _, s := range l.w.sites {
		for _, ops := range l.of(s).flushing {
			n += len(ops)
		}
	}
	if l.host != nil {
		n += l.host.waiting()
	}
	return n
}

// burst carries out one line of the plan: appends in a row, or spread over its
// span.
func (l *load) burst(f *plan.Item) {
	draw := f.Stream()
	if f.Span == 0 {
		for range f.Count {
			l.append(draw)
		}
		return
	}
	for n := range f.Count {
		l.w.after(f.Span*time.Duration(n)/time.Duration(f.Count), func() {
			if !l.w.healed {
				l.append(draw)
			}
		})
	}
}

// opKey is the key that names an op.
func opKey(n int) []byte {
	return binary.BigEndian.AppendUint64([]byte{'n'}, uint64(n))
}

// find tells which op an entry is.
func (l *load) find(e *wire.Entry) (int, bool) {
	if len(e.Keys) == 0 || len(e.Keys[0]) != 9 || e.Keys[0][0] != 'n' {
		return 0, false
	}
	n := binary.BigEndian.Uint64(e.Keys[0][1:])
	return int(n), n < uint64(len(l.ops))
}

func (l *load) append(draw plan.Stream) {
	s := l.asked(draw)
	p := s.p
	shard := wire.Shard(draw.IntN(l.w.plan.Shards))
	size := draw.Size(l.w.plan.PayloadMax)
	if l.bytes+int64(size) > l.w.plan.AppendedMax {
		return
	}
	if l.host != nil && l.host.full(shard) {
		return
	}
	if l.host == nil && (p == nil || p.dead || p.site.paused() || p.paused || !p.admitted[shard]) {
		return
	}
	n := len(l.ops)
	at := draw.IntN(64)
	e := wire.Entry{
		Op: wire.Op(1 + draw.IntN(11)), UID: uint32(n), GID: uint32(draw.IntN(4)),
		Keys: [][]byte{opKey(n)}, Payload: l.pattern[at : at+size],
	}
	for range draw.IntN(3) {
		e.Keys = append(e.Keys, []byte{'h', byte(draw.IntN(hotKeys))})
	}
	hot := e.Keys[1:]
	if draw.OneIn(4) {
		binary.LittleEndian.PutUint64(e.Request[:], uint64(n)+1)
	}
	l.ops = append(l.ops, op{shard: shard, hash: entryHash(&e), payloadBytes: size, hot: hot})
	if l.host != nil {
		l.bytes += int64(size)
		l.ops[n].entry = &e
		l.host.add(shard, n)
		return
	}
	ref, err := p.writer.Append(shard, &e, 0)
	if err != nil {
		l.ops = l.ops[:n]
	}
	if errors.Is(err, writer.ErrFull) {
		l.w.mark("writer full")
		return
	}
	if err != nil {
		if p.own.j.Err() == nil {
			l.w.fail("world", "append to shard %d: %v", shard, err)
		}
		return
	}
	l.bytes += int64(size)
	l.ops[n].ref = l.w.lineage.ref(ref)
	l.placed(s, n)
}

// asked is the site that is asked to take the next append: of a cloned one either copy. A site
// that knows another one to write says so, and its clients ask that one from then on. Clients
// whose site cannot be reached ask their own.
func (l *load) asked(draw plan.Stream) *site {
	at := 0
	if l.w.plan.Moves {
		at = draw.IntN(len(l.w.sites))
	}
	asks := &l.asks[at]
	if l.w.plan.Moves && !l.reaches(at, *asks) {
		*asks = at
	}
	if p := l.w.sites[*asks].p; p != nil && !p.writes() {
		l.w.mark("client redirected")
		if p.epoch > role.First && len(ownTails(p.own.j)) > 0 {
			l.w.mark("fenced writer followed")
		}
		*asks = l.w.writerIn(p.epoch)
	}
	if c := l.w.sites[*asks]; c.cloneOf == nil || draw.OneIn(2) {
		return c
	}
	return l.w.sites[*asks].cloneOf
}

// reaches says whether clients at a place get an answer from another one.
func (l *load) reaches(from, to int) bool {
	n := l.w.net
	return l.w.sites[to].p != nil && (from == to || n.paths[from][to].cuts+n.paths[to][from].cuts == 0)
}

// placed: an op has its place in its log, and waits for its flush.
func (l *load) placed(s *site, n int) {
	o := &l.ops[n]
	o.copy, o.epoch = s.index, s.p.epoch
	t := l.of(s)
	t.flushing[o.ref.Log] = append(t.flushing[o.ref.Log], n)
	l.w.step(s.index, "append", uint64(o.shard), uint64(o.ref.Seq))
	s.p.own.kick()
}

// flushed acknowledges as local what the own journal flushed.
func (l *load) flushed(s *site, headers []wire.BatchHeader) {
	t := l.of(s)
	for i := range headers {
		h := l.w.lineage.header(&headers[i])
		ops := t.flushing[h.Log()]
		if len(ops) > 0 && l.ops[ops[0]].ref.Seq <= h.LastSeq() {
			l.w.check.stamped(h, t.stampFloor)
			t.stampMax = max(t.stampMax, h.LastStamp)
		}
		for len(ops) > 0 && l.ops[ops[0]].ref.Seq <= h.LastSeq() {
			n := ops[0]
			ops = ops[1:]
			o := &l.ops[n]
			l.w.check.ackedLocal(o)
			if o.epoch != h.Epoch {
				l.w.fail("I5", "log %s seq %d was appended in epoch %d and is in a batch of epoch %d",
					h.Log(), o.ref.Seq, o.epoch, h.Epoch)
			}
			if !o.local {
				l.acked++
			}
			o.local, o.forgiven = true, false // a host with its own log may have given it again
			for peer := range l.w.sites {
				if s.p.peer[peer] {
					t.mirrored[peer][h.Log()] = append(t.mirrored[peer][h.Log()], n)
				}
			}
		}
		t.flushing[h.Log()] = ops
	}
	if l.host != nil {
		l.host.feedAll()
	}
}

// progressed acknowledges as durable what the peer has flushed.
func (l *load) progressed(s *site, p *node.Progress) {
	if p.Level != wire.LevelDurable || p.Lost {
		return
	}
	site := l.w.siteOf(p.Peer).place
	if s.p != nil && s.p.learner[site] {
		l.w.fail("I1", "%s is a learner, and what it confirmed of log %s counts", siteNames[site], p.Log)
	}
	t := l.of(s)
	l.hearing(t, site, p.Log)
	at := l.w.lineage.at(p.Position)
	ops := t.mirrored[site][p.Log]
	for len(ops) > 0 && l.ops[ops[0]].ref.Seq <= at.Seq {
		o := &l.ops[ops[0]]
		ops = ops[1:]
		l.w.check.ackedDurable(o, site)
		o.durable[site] = true
	}
	t.mirrored[site][p.Log] = ops
	t.confirmed[site][p.Log] = max(t.confirmed[site][p.Log], at.Seq)
}

// unsay takes back what a place had acknowledged of a log behind a position: damage,
// which is not a breach there, took it from the medium.
func (l *load) unsay(place int, log wire.LogID, behind wire.Position) {
	for i := range l.ops {
		o := &l.ops[i]
		if o.ref.Log == log && (o.ref.Incarnation != behind.Incarnation || o.ref.Seq > behind.Seq) {
			o.durable[place] = false
		}
	}
}
