package sim

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/claudefs/repl/engine/node"
	"github.com/claudefs/repl/engine/sim/plan"
	"github.com/claudefs/repl/engine/store"
	"github.com/claudefs/repl/wire"
	"github.com/zeebo/xxh3"
)

// checker is the reference model of all sites, fed by the disk (durable: ledgers), the Store
// (applying, storeSynced: applied) and the load (ackedLocal, ackedDurable: what the ledgers must
// hold). It never asks the code under test. restless and converged (rest.go) judge after healing.
type checker struct {
	w         *world
	ledgers   [plan.CopiesMax][3]map[wire.LogID]*ledger // by copy and journal
	applied   [plan.CopiesMax]map[wire.LogID]*history   // by copy
	starts    map[wire.Shard][]*opening                 // rising by epoch
	written   map[wire.Chain]uint64                     // the sums of batches that their source has flushed
	decisions int
	once      [plan.SitesMax]map[once]wire.Seq // the highest seq of a log that a mirror ever held, by place
}

// once names a log of one incarnation.
type once struct {
	log         wire.LogID
	incarnation wire.Incarnation
}

// ledger lists the batches of one log on the medium of one journal.
type ledger struct {
	incarnation wire.Incarnation
	ends        []batchEnd // of its batches, in order
}

type batchEnd struct {
	seq   wire.Seq
	chain wire.Chain
	at    time.Duration // when it became durable
	stamp wire.Stamp    // the last one in it
	state bool          // not a batch: the Store's cursor, see adopt.go
}

// history is what a site has applied of one log.
type history struct {
	cursor       wire.Position
	epoch        wire.Epoch // of the cursor's incarnation
	durable      wire.Seq   // of the Store
	durableChain wire.Chain // there
	entries      []decided
}

// decided is one entry that took effect.
type decided struct {
	seq wire.Seq
	op  int // its number in the load
	at  int // how many were decided before it, by all sites
}

func newChecker(w *world) *checker {
	c := &checker{w: w, written: map[wire.Chain]uint64{}, starts: map[wire.Shard][]*opening{}}
	for place := range c.once {
		c.once[place] = map[once]wire.Seq{}
	}
	for site := range c.ledgers {
		c.applied[site] = map[wire.LogID]*history{}
		for journal := range c.ledgers[site] {
			c.ledgers[site][journal] = map[wire.LogID]*ledger{}
		}
	}
	return c
}

func (l *ledger) tail() batchEnd {
	if l == nil || len(l.ends) == 0 {
		return batchEnd{}
	}
	return l.ends[len(l.ends)-1]
}

// find looks up the batch that ends at seq.
func (l *ledger) find(incarnation wire.Incarnation, seq wire.Seq) (wire.Chain, bool) {
	if l == nil || l.incarnation != incarnation {
		return wire.Chain{}, false
	}
	i, found := slices.BinarySearchFunc(l.ends, seq, batchEnd.reaches)
	if !found {
		return wire.Chain{}, false
	}
	return l.ends[i].chain, true
}

// markedAfter is how long a process must have run until what its journal flushed lies below
// a durable-through mark for certain: an idle one closes within a second, a slow disk takes
// some. In a pause nothing is written.
const markedAfter = 10 * time.Second

// cut forgets everything beyond seq.
func (l *ledger) cut(seq wire.Seq) {
	for len(l.ends) > 0 && l.ends[len(l.ends)-1].seq > seq {
		l.ends = l.ends[:len(l.ends)-1]
	}
}

// durable enters a batch that a Sync has just made durable, and compares it
// with what both sites' media have at the same seq (I4).
func (c *checker) durable(site int, journal node.Journal, x *extent) {
	h := c.w.lineage.header(&x.header)
	c.started(site, x)
	if _, again := c.written[h.Chain]; journal == node.Own && !again {
		c.written[h.Chain] = x.sum
	}
	book := c.ledgers[site][journal]
	l := book[h.Log()]
	if l == nil || l.incarnation != h.Incarnation && h.FirstSeq == 1 {
		l = &ledger{incarnation: h.Incarnation}
		book[h.Log()] = l
	}
	end := batchEnd{seq: h.LastSeq(), chain: h.Chain, at: c.w.now, stamp: h.LastStamp}
	if s, name := c.w.copyOf(site), (once{h.Log(), h.Incarnation}); journal == node.Mirror {
		ever := c.once[s.place]
		ever[name] = max(ever[name], end.seq)
		s.disk.remarked()
	}
	tail := l.tail()
	switch {
	case l.incarnation != h.Incarnation:
		c.w.fail("I4", "%s has log %s of incarnation %s, a batch of %s was flushed",
			siteNames[site], h.Log(), l.incarnation, h.Incarnation)
	case h.FirstSeq == tail.seq+1 || h.FirstSeq > tail.seq && opens(h):
		if h.Prev != tail.chain && !opens(h) {
			c.w.fail("I4", "%s flushed log %s seq %d behind chain %s, the medium has %s there",
				siteNames[site], h.Log(), h.FirstSeq, h.Prev, tail.chain)
		}
		if h.FirstStamp <= tail.stamp || h.LastStamp < h.FirstStamp {
			c.w.fail("I8", "%s flushed log %s seq %d stamped %s to %s, behind %s", siteNames[site], h.Log(), h.FirstSeq,
				h.FirstStamp.Time(), h.LastStamp.Time(), tail.stamp.Time())
		}
		l.ends = append(l.ends, end)
	case end.seq > tail.seq:
		c.w.fail("I3", "%s flushed log %s seq %d, medium ends at %d", siteNames[site], h.Log(), h.FirstSeq, tail.seq)
	default:
		if chain, found := l.find(h.Incarnation, end.seq); !found || chain != end.chain {
			c.w.fail("I4", "%s flushed log %s seq %d with another chain than before", siteNames[site], h.Log(), end.seq)
		}
	}
	c.compare(site, journal, h.Log(), end)
}

// compare holds all copies of a log against each other.
func (c *checker) compare(site int, journal node.Journal, log wire.LogID, end batchEnd) {
	l := c.ledgers[site][journal][log]
	for _, copy := range c.w.copies {
		other := copy.index
		if other != site && c.w.forked {
			continue // what a medium has is held against itself only
		}
		for _, which := range [2]node.Journal{node.Own, node.Mirror} {
			chain, found := c.ledgers[other][which][log].find(l.incarnation, end.seq)
			if found && chain != end.chain {
				c.w.fail("I4", "log %s seq %d has chain %s at %s and %s at %s", log, end.seq,
					end.chain, siteNames[site], chain, siteNames[other])
			}
		}
	}
}

// has says whether the medium holds a log up to seq.
func (c *checker) has(site int, journal node.Journal, log wire.LogID, incarnation wire.Incarnation, seq wire.Seq) bool {
	l := c.ledgers[site][journal][log]
	if l == nil || l.incarnation != incarnation {
		return false
	}
	i, _ := slices.BinarySearchFunc(l.ends, seq, batchEnd.reaches)
	return i < len(l.ends) && base(l.ends[i].seq) == base(seq) // not what only a later incarnation has
}

// shipped: a batch reached the peer. Its source must have had it on its medium.
func (c *checker) shipped(to int, h *wire.BatchHeader) {
	if _, found := c.written[h.Chain]; !found {
		c.w.fail("I1", "log %s seq %d reached %s before it was flushed at its source",
			h.Log(), h.LastSeq(), siteNames[to])
	}
}

// opened compares what a journal recovered with what its medium holds (I1, I4). Told
// says whether the journal reports damage that may have taken the end of a log.
func (c *checker) opened(
	site int, journal node.Journal, tail func(wire.LogID) wire.Position, told func(wire.LogID) bool,
) {
	book := c.ledgers[site][journal]
	for _, log := range sortedLogs(book) {
		l, t := book[log], c.w.lineage.at(tail(log))
		end := l.reopened(t)
		if t.Seq < end.seq || end.seq != 0 && t.Incarnation != l.incarnation {
			lost, s := c.firstLost(l, t), c.w.copyOf(site)
			if !s.disk.mayLack(lost) {
				c.w.fail("I1", "%s recovered log %s up to %s, its medium held it up to seq %d",
					siteNames[site], log, t, end.seq)
			}
			if !told(log) && s.disk.marked(lost.at, s.diedAt) {
				c.w.fail("I9", "%s cut log %s behind %s as a torn tail, it had been durable up to seq %d since %s",
					siteNames[site], log, t, end.seq, lost.at)
			}
			if journal == node.Own {
				c.boundLost(site)
			} else {
				c.w.load.unsay(c.w.copyOf(site).place, log, t)
			}
			l.cut(t.Seq)
			end = l.tail()
			c.w.copyOf(site).restoredAt = c.w.now // words that rested on it may be under way
		}
		if chain, found := l.find(t.Incarnation, t.Seq); t.Seq != 0 && (!found || chain != t.Chain) {
			c.w.fail("I1", "%s counts log %s up to %s, its medium holds it up to seq %d",
				siteNames[site], log, t, end.seq)
		}
	}
}

// firstLost is the first batch of a log behind the tail that was recovered.
func (c *checker) firstLost(l *ledger, t wire.Position) batchEnd {
	if t.Incarnation != l.incarnation {
		return l.ends[0]
	}
	i, _ := slices.BinarySearchFunc(l.ends, t.Seq+1, batchEnd.reaches)
	return l.ends[i]
}

func sortedLogs[V any](m map[wire.LogID]V) []wire.LogID {
	logs := make([]wire.LogID, 0, len(m))
	for log := range m {
		logs = append(logs, log)
	}
	slices.SortFunc(logs, wire.LogID.Compare)
	return logs
}

// entryHash covers everything of an entry that a site must preserve.
func entryHash(e *wire.Entry) uint64 {
	var b [10]byte
	le := binary.LittleEndian
	le.PutUint16(b[0:], uint16(e.Op))
	le.PutUint32(b[2:], e.UID)
	le.PutUint32(b[6:], e.GID)
	h := xxh3.HashSeed(b[:], uint64(len(e.Keys)))
	for _, key := range e.Keys {
		h = xxh3.HashSeed(key, h)
	}
	h = xxh3.HashSeed(e.Request[:], h)
	return xxh3.HashSeed(e.Payload, h)
}

// applying checks a change before the Store sees it: flushed here first,
// contiguous (I3), known and intact (I9), never before (I2).
func (c *checker) applying(site int, change *store.Change) {
	h, raw := c.w.lineage.header(change.Batch), change.Batch.FirstSeq
	journal := node.Own
	if h.Site != c.w.copyOf(site).id {
		journal = node.Mirror
	}
	if !c.has(site, journal, h.Log(), h.Incarnation, h.LastSeq()) {
		c.w.fail("I3", "%s applies log %s seq %d before its journal is flushed", siteNames[site], h.Log(), h.LastSeq())
	}
	hist := c.applied[site][h.Log()]
	if hist == nil {
		hist = &history{}
		c.applied[site][h.Log()] = hist
	}
	begins := h.FirstSeq == 1 && h.Incarnation != hist.cursor.Incarnation
	goesOn := h.FirstSeq == hist.cursor.Seq+1 && h.Prev == hist.cursor.Chain || h.FirstSeq > hist.cursor.Seq && opens(h)
	if !begins && !goesOn {
		c.w.fail("I3", "%s applies log %s from seq %d behind %s", siteNames[site], h.Log(), h.FirstSeq, hist.cursor)
	}
	c.beyond(site, h)
	for i := range change.Effects {
		e := &change.Effects[i]
		n, known := c.w.load.find(e)
		switch {
		case !known:
			c.w.fail("I9", "%s applies log %s seq %d, an entry that nobody appended", siteNames[site], h.Log(), e.Seq)
		case c.w.load.ops[n].hash != entryHash(e) || c.w.load.ops[n].shard != change.Shard:
			c.w.fail("I9", "%s applies log %s seq %d with changed bytes", siteNames[site], h.Log(), e.Seq)
		case c.w.load.ops[n].applied[site]:
			c.w.fail("I2", "%s applies entry %d a second time, as log %s seq %d", siteNames[site], n, h.Log(), e.Seq)
		}
		c.w.load.ops[n].applied[site] = true
		hist.entries = append(hist.entries, decided{e.Seq - raw + h.FirstSeq, n, c.decisions})
		c.decisions++
	}
	hist.cursor, hist.epoch = h.End(), h.Epoch
}

// storeSynced notes what a Store may not lose any more.
func (c *checker) storeSynced(site int) {
	for _, hist := range c.applied[site] {
		hist.durable, hist.durableChain = hist.cursor.Seq, hist.cursor.Chain
	}
}

// storeCrashed takes back what a crash undid and holds the Store's rows against
// the model: every entry up to the cursor exactly once (I2), and nothing lost
// that was durable (I3).
func (c *checker) storeCrashed(site int, s *store.Mem, restored bool) {
	for _, log := range sortedLogs(c.applied[site]) {
		hist := c.applied[site][log]
		cursors, err := s.Cursors(log.Shard)
		if err != nil {
			c.w.fail("world", "cursors of the memory Store: %v", err)
		}
		var cursor wire.Position
		for _, k := range cursors {
			if k.Log == log {
				cursor, hist.epoch = c.w.lineage.at(k.Position), k.Epoch
			}
		}
		if cursor.Seq < hist.durable && !restored {
			c.w.fail("I3", "%s: the Store's cursor of log %s went back to %d, durable was %d",
				siteNames[site], log, cursor.Seq, hist.durable)
		}
		for n := len(hist.entries); n > 0 && hist.entries[n-1].seq > cursor.Seq; n-- {
			c.w.load.ops[hist.entries[n-1].op].applied[site] = false
			hist.entries = hist.entries[:n-1]
		}
		hist.cursor, hist.durable, hist.durableChain = cursor, cursor.Seq, cursor.Chain
	}
	c.rows(site, s)
}

// rows compares the Store's rows with the model, entry by entry (I2).
func (c *checker) rows(site int, s *store.Mem) {
	next := map[wire.LogID]int{}
	for _, row := range s.Rows() {
		log := wire.LogID{Site: row.Dot.Site, Shard: row.Shard}
		var entries []decided
		if hist := c.applied[site][log]; hist != nil {
			entries = hist.entries
		}
		i := next[log]
		if i >= len(entries) || entries[i].seq != c.w.lineage.dot(row.Dot) {
			c.w.fail("I2", "%s: row of log %s seq %d is not the next decided entry", siteNames[site], log, row.Dot.Seq)
		}
		next[log] = i + 1
	}
	for _, log := range sortedLogs(c.applied[site]) {
		if n := len(c.applied[site][log].entries); next[log] != n {
			c.w.fail("I2", "%s: %d rows of log %s, its cursor covers %d entries", siteNames[site], next[log], log, n)
		}
	}
}

// stamped: what is appended after a restart comes behind everything that was
// acknowledged before it, whatever the wall clock says (I8).
func (c *checker) stamped(h *wire.BatchHeader, floor wire.Stamp) {
	if h.FirstStamp <= floor {
		c.w.fail("I8", "log %s seq %d is stamped %s, before it started the site had acknowledged up to %s",
			h.Log(), h.FirstSeq, h.FirstStamp.Time(), floor.Time())
	}
}

// ackedLocal checks the promise of level local at the moment it is given (I1).
func (c *checker) ackedLocal(o *op) {
	if !c.has(o.copy, node.Own, o.ref.Log, o.ref.Incarnation, o.ref.Seq) {
		c.w.fail("I1", "log %s seq %d acknowledged as local, the medium ends at seq %d",
			o.ref.Log, o.ref.Seq, c.ledgers[o.copy][node.Own][o.ref.Log].tail().seq)
	}
}

// ackedDurable checks the promise of level durable at the peer in a place (I1).
func (c *checker) ackedDurable(o *op, place int) {
	c.ackedLocal(o)
	site := c.w.sites[place].index
	if c.w.copyOf(site).justRestored() && c.once[place][once{o.ref.Log, o.ref.Incarnation}] >= o.ref.Seq {
		return // the word was true, and may be older than the image that took its ground away
	}
	if !c.has(site, node.Mirror, o.ref.Log, o.ref.Incarnation, o.ref.Seq) {
		c.w.fail("I1", "log %s seq %d acknowledged as durable at %s, its medium ends at seq %d",
			o.ref.Log, o.ref.Seq, siteNames[site], c.ledgers[site][node.Mirror][o.ref.Log].tail().seq)
	}
}

// restored takes the model of a site back to an old image: the tails that its
// media had, per journal. What the writer had acknowledged and no medium has
// any more is lost by the operator's doing.
func (c *checker) restored(site int, i *image) {
	c.ledgers[site] = i.books // Damage since then may have cut them: the image is older than it.
	s, t := c.w.copyOf(site), &c.w.load.told[site]
	t.stampMax, t.stampFloor = i.stampMax, i.stampMax // the image has the clock bound above them
	for i := range c.w.load.ops {
		o := &c.w.load.ops[i]
		if o.ref.Log.Site != s.id {
			continue
		}
		here := c.has(site, node.Own, o.ref.Log, o.ref.Incarnation, o.ref.Seq)
		there := false
		for _, peer := range c.w.sites {
			if peer.place == s.place {
				continue
			}
			has := c.has(peer.index, node.Mirror, o.ref.Log, o.ref.Incarnation, o.ref.Seq)
			there = there || has
			if o.durable[peer.place] && !has && !here {
				c.w.fail("I1", "log %s seq %d was acknowledged as durable at %s and is not there",
					o.ref.Log, o.ref.Seq, siteNames[peer.index])
			}
		}
		o.forgiven = o.forgiven || !here && !there
	}
}

// boundLost: the medium lost the end of the own journal, and the clock bound may have
// been there. No other site has it.
func (c *checker) boundLost(site int) {
	c.w.load.told[site].stampMax, c.w.load.told[site].stampFloor = 0, 0
}
