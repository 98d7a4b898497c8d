package sim

import (
	"fmt"

	"github.com/claudefs/repl/wire"
)

// What the checker asks of a world at rest, when every fault is over.

// restless says why the world is not at rest; "" if it is (I14).
func (c *checker) restless() string {
	for _, s := range c.w.core() {
		if s.p == nil || s.p.dead {
			return siteNames[s.index] + " is down"
		}
		if why := s.p.lacks(); why != "" {
			return why
		}
		if why := c.hoards(s); why != "" {
			return why
		}
		if why := s.p.learning(); why != "" {
			return why
		}
	}
	a := c.w.writer().p
	if !a.writes() {
		return fmt.Sprintf("nobody was admitted in epoch %s, that %s holds", a.epoch, siteNames[a.site.index])
	}
	if n := c.w.load.waiting(); n > 0 {
		return fmt.Sprintf("%d appends wait for their flush", n)
	}
	status := a.node.Status(a.now())
	for _, p := range status.Peers {
		if c.w.siteOf(p.Site).lost {
			if why := c.lostLag(&p); why != "" {
				return why
			}
			continue
		}
		switch {
		case len(p.Stopped) > 0:
			return fmt.Sprintf("log %s stopped: %s %s", p.Stopped[0].Log, p.Stopped[0].Code, p.Stopped[0].Reason)
		case !p.Durable.Known || !p.Applied.Known:
			return fmt.Sprintf("lag unknown, link %s %s", p.Link, p.Reason)
		case p.Durable.Entries != 0 || p.Applied.Entries != 0 && !c.anyPast(c.w.siteOf(p.Site)):
			return fmt.Sprintf("lag of %d entries durable, %d applied", p.Durable.Entries, p.Applied.Entries)
		}
	}
	for shard := range wire.Shard(c.w.plan.Shards) {
		log := wire.LogID{Site: a.site.id, Shard: shard}
		tail, _ := a.own.j.Tail(log)
		if !a.admitted[shard] {
			return fmt.Sprintf("shard %d takes no appends", shard)
		}
		for _, s := range c.w.core() {
			p := s.p
			if p.hosted() || c.past(s, shard) {
				continue
			}
			if at := p.appliers[shard].Cursor(log); at != tail.Position {
				return fmt.Sprintf("%s has applied log %s up to %d of %d",
					siteNames[p.site.index], log, at.Seq, tail.Position.Seq)
			}
		}
	}
	return ""
}

// converged is what must hold at rest: equal states (I7), every acknowledged
// entry there exactly once and intact (I1, I2, I9).
func (c *checker) converged() {
	for shard := range wire.Shard(c.w.plan.Shards) {
		var first [32]byte
		for _, s := range c.w.core() {
			if c.past(s, shard) {
				c.w.mark("Store past an end")
				continue
			}
			if s.p.hosted() {
				continue // the primary's host applies from its own log
			}
			digest, _, err := s.store.mem.Digest(background, shard, nil, nil)
			if first == [32]byte{} {
				first = digest
			}
			if err != nil || digest != first {
				c.w.fail("I7", "shard %d: digests %x and %x (%s) differ at rest",
					shard, first[:8], digest[:8], siteNames[s.index])
			}
		}
	}
	c.left()
	for _, at := range c.w.core() {
		site, s := at.index, at.store.mem
		c.rows(site, s)
		c.reference(site, s)
		for n := range c.w.load.ops {
			if at.p.hosted() {
				break
			}
			o := &c.w.load.ops[n]
			if !o.local || o.forgiven || c.orphan(o) || c.past(at, o.shard) {
				continue
			}
			v, there := s.Get(o.shard, opKey(n))
			if !o.applied[site] || !there || len(v.Payload) != o.payloadBytes {
				c.w.fail("I1", "entry %d (log %s seq %d), acknowledged, is missing at %s",
					n, o.ref.Log, o.ref.Seq, siteNames[site])
			}
		}
	}
}
