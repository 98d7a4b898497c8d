package sim

import (
	"fmt"

	"github.com/claudefs/repl/engine/node"
	"github.com/claudefs/repl/wire"
)

// A cloned primary is the one fault behind which no rest can be asked for: the
// original takes appends while the clone goes on from what the peer has, and when
// the original is back, a log may have two histories. What can be asked for is that
// no medium mixes or overwrites them, that what the peer confirmed stays there, and
// that every log in which the two sites differ is stopped or refused with the reason (I4).

// unnamed is a log in which the writer and its peer differ and nobody says so; ""
// if there is none.
func (c *checker) unnamed() string {
	a, b := c.w.writer().p, c.w.standby().p
	switch {
	case a == nil:
		return siteNames[c.w.writer().index] + " is down"
	case b == nil:
		return siteNames[c.w.standby().index] + " is down"
	case c.w.load.waiting() > 0:
		return "appends wait for their flush"
	}
	status := a.node.Status(a.now()).Peers[0]
	if status.Link != "live" {
		return fmt.Sprintf("link %s %s", status.Link, status.Reason)
	}
	name, stopped := siteNames[b.site.index], map[wire.LogID]bool{}
	for _, s := range status.Stopped {
		stopped[s.Log] = true
	}
	for shard := range wire.Shard(c.w.plan.Shards) {
		log := wire.LogID{Site: a.site.id, Shard: shard}
		ours, _ := a.own.j.Tail(log)
		theirs, _ := b.mirror.j.Tail(log)
		if at := b.appliers[shard].Cursor(log); at != theirs.Position {
			return fmt.Sprintf("%s has applied log %s up to %d of %d",
				name, log, at.Seq, theirs.Position.Seq)
		}
		if ours.Position == theirs.Position {
			if !stopped[log] && !a.admitted[shard] {
				return fmt.Sprintf("shard %d takes no appends", shard)
			}
			continue
		}
		if !stopped[log] && !a.refused[shard] {
			return fmt.Sprintf("log %s is %s here and %s at %s, and nobody says so",
				log, ours.Position, theirs.Position, name)
		}
		c.w.mark("second history refused")
	}
	return ""
}

// kept: what the peer confirmed to either copy is in its mirror, and was decided
// there (I1), once (I2).
func (c *checker) kept() {
	peer := c.w.standby()
	for n := range c.w.load.ops {
		o := &c.w.load.ops[n]
		if o.durable[peer.place] && !o.applied[peer.index] {
			c.w.fail("I1", "entry %d (log %s seq %d), confirmed by %s, is not there any more", n, o.ref.Log, o.ref.Seq,
				siteNames[peer.index])
		}
		if o.local && !c.has(o.copy, node.Own, o.ref.Log, o.ref.Incarnation, o.ref.Seq) {
			c.w.fail("I1", "entry %d (log %s seq %d), acknowledged, left its medium", n, o.ref.Log, o.ref.Seq)
		}
	}
	for _, s := range c.w.sites {
		c.rows(s.index, s.store.mem)
	}
	c.reference(peer.index, peer.store.mem)
}
