package sim

import (
	"slices"

	"github.com/claudefs/repl/engine/node"
	"github.com/claudefs/repl/wire"
)

// What the model knows of closed logs: which STARTs are on which media, and so where logs end.
// An entry beyond the end of its log is an orphan: it may stay in journals, and nowhere else.

// opening is a START that was flushed somewhere.
type opening struct {
	log         wire.LogID
	epoch       wire.Epoch
	incarnation wire.Incarnation
	rows        map[wire.LogID]wire.Seq // counted, see lineage
	known       map[int]bool            // the copies of sites whose media have, or had, it
}

// started enters a START that has become durable at a site. One epoch has one site, and one
// incarnation of each log (I5).
func (c *checker) started(site int, x *extent) {
	h := &x.header
	if !h.OpensEpoch() {
		return
	}
	all := c.starts[h.Shard]
	i, found := slices.BinarySearchFunc(all, h.Epoch, func(o *opening, e wire.Epoch) int {
		return int(int64(o.epoch) - int64(e))
	})
	if !found {
		o := &opening{
			log: h.Log(), epoch: h.Epoch, incarnation: h.Incarnation,
			rows: map[wire.LogID]wire.Seq{}, known: map[int]bool{},
		}
		for _, row := range x.rows {
			o.rows[row.Log] = c.w.lineage.at(row.End).Seq
		}
		all = slices.Insert(all, i, o)
		c.starts[h.Shard] = all
	}
	o := all[i]
	if o.log != h.Log() || o.incarnation != h.Incarnation {
		c.w.fail("I5", "%s has a START of epoch %s, log %s, incarnation %s, and log %s has %s in that epoch",
			siteNames[site], h.Epoch, h.Log(), h.Incarnation, o.log, o.incarnation)
	}
	if h.Site != c.w.sites[c.w.writerIn(h.Epoch)].id {
		c.w.fail("I5", "%s has a START of log %s in epoch %s, in which %s writes",
			siteNames[site], h.Log(), h.Epoch, siteNames[c.w.writerIn(h.Epoch)])
	}
	o.known[site] = true
}

// names says whether a START has a row of the log of an epoch, and where that ends.
func (o *opening) names(log wire.LogID, epoch wire.Epoch) (end wire.Seq, ok bool) {
	end = o.rows[log]
	return end, end != 0 && base(end) == base(wire.Seq(epoch))
}

// end is where the log of an epoch ends by the STARTs that a site has: the highest survives, a
// lower one if the lowest surviving one above it names it. bound: there is one above.
func (c *checker) end(site int, log wire.LogID, epoch wire.Epoch) (end wire.Seq, bound bool) {
	var low *opening
	for _, o := range slices.Backward(c.starts[log.Shard]) {
		if !o.known[site] {
			continue
		}
		if o.epoch <= epoch {
			break
		}
		if low != nil {
			if _, ok := low.names(o.log, o.epoch); !ok {
				continue
			}
		}
		low = o
	}
	if low == nil {
		return 0, false
	}
	end, _ = low.names(log, epoch)
	return end, true
}

// orphan says whether an entry lies beyond the end of its log, by what the writer has.
func (c *checker) orphan(o *op) bool {
	end, bound := c.end(c.w.writer().index, o.ref.Log, o.epoch)
	return bound && o.ref.Seq > end
}

// beyond: a site applies nothing beyond an end that it has (I6).
func (c *checker) beyond(site int, h *wire.BatchHeader) {
	if end, bound := c.end(site, h.Log(), h.Epoch); bound && h.LastSeq() > end {
		c.w.fail("I6", "%s applies log %s of epoch %s up to seq %d, it ends at %d",
			siteNames[site], h.Log(), h.Epoch, h.LastSeq(), end)
	}
}

// past says whether a site's Store has more of a shard than survived: it stops there (I6).
func (c *checker) past(s *site, shard wire.Shard) bool {
	past := false
	for _, log := range sortedLogs(c.applied[s.index]) {
		hist := c.applied[s.index][log]
		if log.Shard != shard || hist.cursor.Seq == 0 {
			continue
		}
		end, bound := c.end(s.index, log, hist.epoch)
		past = past || bound && hist.cursor.Seq > end
	}
	return past
}

// anyPast is past of any shard.
func (c *checker) anyPast(s *site) bool {
	for shard := range wire.Shard(c.w.plan.Shards) {
		if c.past(s, shard) {
			return true
		}
	}
	return false
}

// left looks at what closed logs left behind at rest: an acknowledged entry that every other
// site had confirmed survives (I1); what did not is in no Store but one that stopped (I6).
func (c *checker) left() {
	for n := range c.w.load.ops {
		o := &c.w.load.ops[n]
		if o.ref.Seq == 0 || !c.orphan(o) {
			continue
		}
		if o.local {
			c.w.mark("orphans")
		}
		confirmed := true
		for _, s := range c.w.sites {
			confirmed = confirmed && (s.id == o.ref.Log.Site || o.durable[s.place])
			if o.applied[s.index] && !c.past(s, o.shard) {
				c.w.fail("I6", "entry %d (log %s seq %d, epoch %s) did not survive, and %s has applied it",
					n, o.ref.Log, o.ref.Seq, o.epoch, siteNames[s.index])
			}
			if s.id != o.ref.Log.Site && c.has(s.index, node.Mirror, o.ref.Log, o.ref.Incarnation, o.ref.Seq) {
				c.w.mark("orphans at a third site")
			}
		}
		if o.local && confirmed {
			c.w.fail("I1", "entry %d (log %s seq %d, epoch %s) was confirmed by every site and did not survive",
				n, o.ref.Log, o.ref.Seq, o.epoch)
		}
	}
}
