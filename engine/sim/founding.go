package sim

import (
	"path"

	"github.com/claudefs/repl/engine/node"
	"github.com/claudefs/repl/engine/role"
	"github.com/claudefs/repl/engine/sim/plan"
	"github.com/claudefs/repl/engine/store"
)

// Who writes: a site that comes up with a new disk, and with a configuration that names
// itself; and a writer whose own journal is gone, while its mirror and Store are there.

// loseOwn takes the own journal away. What the Store has applied is not lost with it.
func (s *site) loseOwn(f *plan.Item) {
	if s.p == nil {
		return
	}
	i := s.takeImage()
	names, _ := i.mem.List(ownDir) // a directory that is not there holds nothing
	for _, name := range names {
		if err := i.mem.Remove(path.Join(ownDir, name)); err != nil {
			s.w.fail("world", "own journal of an image: %v", err)
		}
	}
	if len(names) > 0 {
		if err := i.mem.SyncDir(ownDir); err != nil {
			s.w.fail("world", "own journal of an image: %v", err)
		}
	}
	for name := range i.crashed {
		if path.Dir(name) == ownDir {
			delete(i.crashed, name)
		}
	}
	for chain, h := range i.harm.batches {
		if h.Site == s.id {
			delete(i.harm.batches, chain)
		}
	}
	i.books[node.Own], i.stampMax = emptyImage().books[node.Own], 0
	s.image = i
	if s.restore(f); s.image != nil {
		return
	}
	for n := range s.w.load.ops { // what was applied is not forgiven
		if o := &s.w.load.ops[n]; o.applied[s.index] {
			o.forgiven = false
		}
	}
}

// usurpSpans is for how long a site is started wrongly, in spans of its item.
const usurpSpans = 8

// usurp starts a standby with an empty disk, and itself as the primary; later rightly.
func (s *site) usurp(f *plan.Item) {
	if s.p == nil || s.writes() || s.usurps {
		return
	}
	s.image, s.usurps = emptyImage(), true
	if s.restore(f); s.image != nil { // others need what it has
		s.image, s.usurps = nil, false
		return
	}
	s.w.after(usurpSpans*f.Span, func() {
		s.usurps = false
		if s.p != nil {
			s.die(false, f.Span/8, f.Stream())
		}
	})
}

// knows is the site that writes as the site's directory has it, else as its configuration
// names it. What counts for nothing is taken off the record, as the engine does it.
func (p *process) knows() {
	control := p.own.j.Control()
	d := role.Directory{
		Site: p.site.id, Record: control.Writer(0), Epoch: control.Epoch(0), Peers: len(control.Peers) > 0,
	}
	for _, f := range [2]*flusher{p.own, p.mirror} {
		for _, end := range f.j.Tails() {
			d.Logs = append(d.Logs, end.Log)
		}
	}
	for _, c := range p.site.store.cursors((*store.Mem).Cursors) {
		d.Logs = append(d.Logs, c.Log)
	}
	p.primary = d.Writer()
	if d.Stale() {
		p.record(0)
	}
	if p.founded = p.primary != 0; !p.founded {
		p.primary = p.site.configured()
	}
}

// newCluster: nothing in the directory of a site, or in its configuration, shows that there is
// another site. Nobody can tell it from the first of a new cluster.
func (p *process) newCluster() bool { return p.site.alone && p.site.usurps && !p.founded }

// admitting: an epoch's site alone writes in it (I5), and a log is verified when every other site has told
// where it ends (I1).
func (c *checker) admitting(p *process, a *node.Admit) {
	s := p.site
	if a.Admission != node.AdmitVerified && a.Admission != node.AdmitUnverified {
		return
	}
	if !p.writes() && p.newCluster() {
		c.w.mark("a cluster of its own")
		return
	}
	if !p.writes() {
		c.w.fail("I5", "%s takes appends in shard %d in epoch %d, in which %s writes", siteNames[s.index], a.Shard,
			p.epoch, siteNames[c.w.writerIn(p.epoch)])
	}
	c.w.epoch = max(c.w.epoch, p.epoch)
	if c.onlyOne(p) {
		c.w.mark("the first of its cluster")
		return
	}
	for _, other := range c.w.sites {
		awaited := other.place != s.place && p.awaited[other.place]
		if awaited && !p.heard[other.place] && a.Admission == node.AdmitVerified {
			c.w.fail("I1", "shard %d is said to be verified, and %s was never heard",
				a.Shard, siteNames[other.place])
		}
	}
}

// onlyOne: nothing in the directory of a writer, or in its configuration, shows that there is
// another site, as of the first one of a new cluster; and no other one has anything of its
// logs, so that there is nothing to hear.
func (c *checker) onlyOne(p *process) bool {
	if !p.site.alone || len(p.own.j.Control().Peers) > 0 {
		return false
	}
	for i, books := range c.ledgers {
		for log, l := range books[node.Mirror] {
			if i != p.site.index && log.Site == p.site.id && l.tail().seq != 0 {
				return false
			}
		}
	}
	return true
}
