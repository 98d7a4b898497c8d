package sim

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/claudefs/repl/engine/node"
	"github.com/claudefs/repl/engine/sim/plan"
	"github.com/claudefs/repl/engine/store"
	"github.com/claudefs/repl/engine/store/journal"
	"github.com/claudefs/repl/wire"
)

// boundsEvery is how often the bounds are looked at.
const boundsEvery = 500 * time.Millisecond

// Bounds that no configuration sets (I10): they are the heart's and the journal's
// own limits.
const (
	unitBytesMax = 2 << 20                  // of a flush unit, by default
	linksMax     = 32 + 2*(plan.SitesMax-1) // without a hello, and one session each way and peer
	spareBusyMax = 256                      // 1 GiB of segments

	restSegmentsMax = 2
)

// bounded looks from time to time at what each process holds (I10).
func (c *checker) bounded() {
	if c.w.load.host != nil {
		c.w.load.host.feedAll() // what it could not give to a process that stood still
	}
	for _, s := range c.w.copies {
		if s.p != nil && !s.p.dead {
			c.processBounded(s.p)
		}
	}
	c.w.after(boundsEvery, c.bounded)
}

func (c *checker) processBounded(p *process) {
	name, plan := siteNames[p.site.index], p.site.plan()
	if n := p.writer.PendingBytes(); n > c.w.plan.PendingBytes {
		c.w.fail("I10", "%s: %d bytes wait in the writer, %d may", name, n, c.w.plan.PendingBytes)
	}
	if n := c.unflushed(p.site); n > c.w.plan.PendingBytes {
		c.w.fail("I10", "%s: %d bytes of payload were taken and are not flushed, %d may wait",
			name, n, c.w.plan.PendingBytes)
	}
	if n := len(p.links); n > linksMax {
		c.w.fail("I10", "%s knows %d links, %d are possible", name, n, linksMax)
	}
	if n := len(p.readers); n > len(p.links) {
		c.w.fail("I10", "%s has %d readers for %d links", name, n, len(p.links))
	}
	for _, peer := range p.node.Status(p.now()).Peers {
		// What was read is shipped: a read of a frame's bytes, or of one whole flush unit.
		most := plan.WindowBytes + int64(max(plan.FrameBytes, unitBytesMax))
		if peer.WindowUsed > most {
			c.w.fail("I10", "%s has %d bytes under way to %s, %d may be", name, peer.WindowUsed, peer.Name, most)
		}
	}
	for _, f := range [2]*flusher{p.own, p.mirror} {
		stats := f.j.Stats()
		if most := plan.RecentBytes + unitBytesMax; stats.RecentBytes > most {
			c.w.fail("I10", "%s: %s keeps %d bytes in memory, %d may", name, f.dir(), stats.RecentBytes, most)
		}
		if stats.Spare > spareBusyMax {
			c.w.fail("I10", "%s: %s has %d spare segments", name, f.dir(), stats.Spare)
		}
	}
}

// unflushed is how many bytes of payload a writer has taken that its medium has not.
func (c *checker) unflushed(s *site) (bytes int64) {
	if c.w.load.host != nil {
		return 0
	}
	for log, ops := range c.w.load.of(s).flushing {
		for _, n := range ops {
			if o := &c.w.load.ops[n]; !c.has(s.index, node.Own, log, o.ref.Incarnation, o.ref.Seq) {
				bytes += int64(o.payloadBytes)
			}
		}
	}
	return bytes
}

// hoards says what a site at rest keeps that nobody needs, and what it has not written down
// that it knows; "" if nothing. All have all, so the newest segment is enough, and
// another whose head says the same (I10).
func (c *checker) hoards(s *site) string {
	if !c.w.plan.Retain || len(c.w.core()) < len(c.w.sites) || s.alone {
		return ""
	}
	for _, dir := range []string{ownDir, mirrorDir} {
		names := s.disk.mem.Names(dir + "/segment-")
		names = slices.DeleteFunc(names, func(name string) bool { return s.disk.heads[name] }) // they need another
		if n := len(names); n > restSegmentsMax {
			return fmt.Sprintf("%s keeps %d segments in %s at rest", siteNames[s.index], n, dir)
		}
	}
	for _, peer := range s.p.own.j.Control().Peers {
		other := c.w.siteOf(peer.Site)
		for log, l := range c.ledgers[other.index][node.Mirror] {
			i := slices.IndexFunc(peer.Cursors, func(k wire.Cursor) bool { return k.Log == log })
			if log.Site == s.id && (i < 0 || c.w.lineage.at(peer.Cursors[i].Position).Seq < l.tail().seq) {
				return fmt.Sprintf("%s has not written down that %s has log %s up to seq %d",
					siteNames[s.index], siteNames[other.index], log, l.tail().seq)
			}
		}
	}
	return ""
}

// staging: more is staged; what waits for the medium already must leave room (I10).
func (c *checker) staging(p *process) {
	for _, f := range [2]*flusher{p.own, p.mirror} {
		if n := f.j.StagedBytes(); f.which == node.Mirror && n > stagedBytesMax {
			c.w.fail("I10", "%s: %d bytes wait in %s, and more is taken; %d may wait",
				siteNames[p.site.index], n, f.dir(), stagedBytesMax)
		}
	}
}

// retained: segments were given back. What the peer's medium, whether configured
// or not, and the own Store still need must be there (I12): the journal is asked
// to find it, from the positions that the model knows.
func (c *checker) retained(p *process, which node.Journal) {
	f, site := p.own, p.site.index
	if which == node.Mirror {
		f = p.mirror
	}
	j := f.j
	registered := map[wire.SiteID]bool{}
	for _, peer := range p.own.j.Control().Peers {
		registered[peer.Site] = true
	}
	if !p.site.alone {
		for _, peer := range c.w.sites {
			registered[peer.id] = true // configured, which holds as well
		}
	}
	_, err := j.SegmentStart(func(log wire.LogID) wire.Position {
		t, _ := j.Tail(log)
		need := c.storeDurable(site, log)
		if which == node.Own && p.hosted() {
			need = batchEnd{seq: c.w.lineage.at(t.Position).Seq, chain: t.Position.Chain}
		}
		for _, peer := range c.w.sites {
			l := c.ledgers[peer.index][node.Mirror][log]
			counts := registered[peer.id]
			if which == node.Mirror {
				counts = peer.id != log.Site && !p.site.alone && !peer.justRestored() && c.mirrors(peer, log.Site)
			}
			if peer.index != site && counts && l.tail().seq < need.seq {
				need = l.tail()
			}
		}
		if need.seq == 0 {
			return wire.Position{}
		}
		at := wire.Position{Incarnation: c.w.lineage.at(t.Position).Incarnation, Seq: need.seq, Chain: need.chain}
		return c.w.lineage.of(at)
	}, func(wire.LogID, journal.Tail) {})
	if err != nil {
		c.w.fail("I12", "%s gave back segments of %s that are needed: %v", siteNames[site], f.dir(), err)
	}
}

// mirrors says whether a site has mirrored another one's logs for so long that everybody
// was told.
func (c *checker) mirrors(s *site, of wire.SiteID) bool {
	for log, l := range c.ledgers[s.index][node.Mirror] {
		if log.Site == of && len(l.ends) > 0 && l.ends[0].at+markedAfter < c.w.now {
			return true
		}
	}
	return false
}

// storeDurable is the end of the last batch of a log that the Store cannot lose.
func (c *checker) storeDurable(site int, log wire.LogID) batchEnd {
	hist := c.applied[site][log]
	if hist == nil || hist.durable == 0 {
		return batchEnd{}
	}
	return batchEnd{seq: hist.durable, chain: hist.durableChain}
}

// reference replays what the model says a site decided into the plainest Store
// there is, a map, and compares: every key has the last entry that named it.
func (c *checker) reference(site int, s *store.Mem) {
	type name struct {
		shard wire.Shard
		key   string
	}
	type last struct {
		log wire.LogID
		decided
	}
	want := map[name]last{}
	for _, log := range sortedLogs(c.applied[site]) {
		for _, d := range c.applied[site][log].entries {
			for _, key := range append([][]byte{opKey(d.op)}, c.w.load.ops[d.op].hot...) {
				n := name{log.Shard, string(key)}
				if was, there := want[n]; !there || was.at < d.at {
					want[n] = last{log, d}
				}
			}
		}
	}
	names := slices.SortedFunc(maps.Keys(want), func(a, b name) int {
		return cmp.Or(cmp.Compare(a.shard, b.shard), cmp.Compare(a.key, b.key))
	})
	for _, n := range names {
		w := want[n]
		v, there := s.Get(n.shard, []byte(n.key))
		switch {
		case !there:
			c.w.fail("I7", "%s: key %q of shard %d is missing", siteNames[site], n.key, n.shard)
		case v.Dot.Site != w.log.Site || c.w.lineage.dot(v.Dot) != w.seq || v.UID != uint32(w.op):
			c.w.fail("I7", "%s: key %q of shard %d is of seq %d, site %08x, the last entry that named it is %d of %s",
				siteNames[site], n.key, n.shard, v.Dot.Seq, uint32(v.Dot.Site), w.seq, w.log)
		}
	}
}
