package sim

import (
	"slices"
	"time"

	"github.com/claudefs/repl/engine/node"
	"github.com/claudefs/repl/engine/role"
	"github.com/claudefs/repl/engine/sim/plan"
	"github.com/claudefs/repl/wire"
)

// An operator moves the writer: engine/failover.go has what is done here.
//
//   - A switchover, asked for at the site that writes: appends wait until the other site has
//     durably and applied all that was appended; then the writer begins that site's epoch.
//   - A promotion, at the site that is to write: it begins its own epoch, whatever it has. A
//     writer that it did not hear stops when it hears of that.

// handoverMax is how long appends wait for a switchover; handoverPoll is between two looks.
const (
	handoverMax  = 3 * time.Second
	handoverPoll = 10 * time.Millisecond
)

// switchover has the site that writes hand over to this one.
func (s *site) switchover(f *plan.Item) {
	p := s.w.writer().p
	if s.p == nil || p == nil || p.paused || !p.writes() || p.site == s || !p.node.Founded() {
		return
	}
	p.paused = true
	p.handOver(f, s, s.w.now+handoverMax)
}

// handOver looks whether the other site has everything.
func (p *process) handOver(f *plan.Item, to *site, until time.Duration) {
	p.later(plan.PhaseAny, handoverPoll, func() {
		next, err := role.Next(p.epoch, to.id)
		switch {
		case err != nil:
			p.site.w.fail("world", "switchover: %v", err)
		case p.handedOver(to):
			p.site.w.check.handsOver(p.site, to)
			p.site.w.fault(f.Kind)
			p.site.w.mark("switchover done")
			p.raise(next)
		case p.site.w.now > until:
			p.paused = false
			p.site.w.mark("switchover given up")
		default:
			p.handOver(f, to, until)
		}
	})
}

// handedOver says whether, by its own words, a peer has applied and keeps all that was appended.
func (p *process) handedOver(to *site) bool {
	t, seen := p.site.w.load.of(p.site), p.lagSeen[to.id]
	for shard := range wire.Shard(p.site.w.plan.Shards) {
		log := wire.LogID{Site: p.site.id, Shard: shard}
		in, seq := p.writer.Tail(shard)
		tail := p.site.w.lineage.at(wire.Position{Incarnation: in, Seq: seq})
		if !p.admitted[shard] { // the writer does not know its tail yet
			return false
		}
		if tail.Seq != 0 && (seen == nil || seen.applied[log] < tail.Seq || t.confirmed[to.place][log] < tail.Seq) {
			return false
		}
	}
	return true
}

// handsOver: what the writer acknowledged is on the medium of the site that takes over (I1).
func (c *checker) handsOver(from, to *site) {
	for n := range c.w.load.ops {
		o := &c.w.load.ops[n]
		if o.copy == from.index && o.epoch == from.p.epoch && o.local &&
			!c.has(to.index, node.Mirror, o.ref.Log, o.ref.Incarnation, o.ref.Seq) {
			c.w.fail("I1", "%s hands over to %s, whose medium does not have entry %d, log %s seq %d",
				siteNames[from.index], siteNames[to.index], n, o.ref.Log, o.ref.Seq)
		}
	}
}

// promote has the site write in an epoch that it begins by itself.
func (s *site) promote(f *plan.Item) {
	p := s.p
	if p == nil || p.primary == s.id || !p.node.Founded() || p.past() {
		return
	}
	next, err := role.Next(p.epoch, s.id)
	if len(p.node.Unheard()) > 0 {
		next, err = role.NextAlone(p.epoch, s.id, p.wall())
	}
	if err != nil {
		s.w.fail("world", "promotion: %v", err)
	}
	s.w.fault(f.Kind)
	s.w.mark("promoted")
	p.raise(next)
}

// moveAgain has another site write, once faults are over, if the Store of the one that is to write
// is past the end of a log: its shard does not open before it is mended. Where that holds for every
// site, nothing is left to wait for.
func (w *world) moveAgain() {
	held := wire.Epoch(0)
	for _, s := range w.sites {
		if s.p == nil {
			return
		}
		held = max(held, s.p.epoch)
	}
	if !w.check.anyPast(w.sites[w.writerIn(held)]) {
		return
	}
	for _, s := range w.sites {
		if s.p.epoch == held && !w.check.anyPast(s) {
			w.mark("another site promoted")
			s.promote(&plan.Item{Kind: plan.Promote})
			return
		}
	}
	if !slices.ContainsFunc(w.sites, func(s *site) bool { return !w.check.anyPast(s) }) {
		w.mark("every Store past an end")
		w.check.left()
		w.done = true
	}
}

// past says whether the Store is past the end of a log.
func (p *process) past() bool {
	for _, a := range p.appliers {
		if a.Past() != nil {
			return true
		}
	}
	return false
}
