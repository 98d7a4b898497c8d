package sim

import (
	"slices"
	"time"

	"github.com/claudefs/repl/engine/node"
	"github.com/claudefs/repl/engine/sim/plan"
	"github.com/claudefs/repl/engine/store/journal"
	"github.com/claudefs/repl/wire"
)

// The Store as the last copy: a log goes on behind it where its journal is lost and no
// site has what was in it. A site that lacks what only a Store has needs the state: the
// operator of these worlds copies the writer's Store to it.

// adopt has logs go on behind the Store.
func (p *process) adopt() {
	for i := range p.effects.Adopts {
		l := &p.effects.Adopts[i]
		f := p.mirror
		if l.ID.Site == p.site.id {
			f = p.own
		}
		p.site.w.mark("log goes on behind its Store")
		p.site.w.check.adopted(p.site, f.which, l)
		f.j.Adopt(l.ID, journal.Tail{Position: l.Tail, LastStamp: l.LastStamp, LastIndex: l.LastIndex})
	}
}

// adopted: a journal counts a log up to where its Store is, durably, and nowhere else.
func (c *checker) adopted(s *site, which node.Journal, l *node.Log) {
	hist := c.applied[s.index][l.ID]
	if at := l.Tail; hist == nil || !hist.cursor.Covers(at) || at.Covers(hist.cursor) && hist.cursor != at {
		c.w.fail("I3", "%s has log %s go on behind %s, where its Store is not", plan.SiteNames[s.index], l.ID, l.Tail)
	}
	book := c.ledgers[s.index][which]
	ledger := book[l.ID].clone(l.Tail.Incarnation)
	ledger.ends = append(ledger.ends, batchEnd{seq: l.Tail.Seq, chain: l.Tail.Chain, at: c.w.now, state: true})
	book[l.ID] = ledger
	c.compare(s.index, which, l.ID, ledger.tail())
}

// clone is the ledger of an incarnation, as far as this one is of it.
func (l *ledger) clone(incarnation wire.Incarnation) *ledger {
	if l == nil || l.incarnation != incarnation {
		return &ledger{incarnation: incarnation}
	}
	return &ledger{incarnation: incarnation, ends: slices.Clone(l.ends)}
}

// reaches orders an end by seq.
func (e batchEnd) reaches(seq wire.Seq) int { return int(int64(e.seq) - int64(seq)) }

// reopened: what a journal counts as state only is on the medium with the next unit. An
// opening before that ends where it ended before.
func (l *ledger) reopened(t wire.Position) (end batchEnd) {
	for n := len(l.ends); n > 0 && l.ends[n-1].state && l.ends[n-1].seq != t.Seq; n-- {
		l.ends = l.ends[:n-1]
	}
	return l.tail()
}

// begins says whether a log goes on behind a position as state.
func (l *ledger) begins(seq wire.Seq) bool {
	if l == nil {
		return false
	}
	i, found := slices.BinarySearchFunc(l.ends, seq, batchEnd.reaches)
	return found && l.ends[i].state
}

// hasBytes says whether what ends at seq is there as a batch, not as state.
func (l *ledger) hasBytes(incarnation wire.Incarnation, seq wire.Seq) (wire.Chain, bool) {
	chain, found := l.find(incarnation, seq)
	return chain, found && !l.begins(seq)
}

// nowhere says whether what a hole took is kept by no site, since a log went on behind its
// Store, and is needed by none: it goes with its segment.
func (p *process) nowhere(f *flusher, h *journal.Hole) bool {
	if h.To.Seq == 0 || !p.node.Floor(f.which, h.Log).Covers(h.To) {
		return false
	}
	for _, s := range p.site.w.core() {
		l := p.site.w.check.ledgers[s.index][p.site.w.check.journalOf(s.index, h.Log)][h.Log]
		if l != nil && slices.ContainsFunc(l.ends, func(e batchEnd) bool { return e.state && e.seq >= h.To.Seq }) {
			return true
		}
	}
	return false
}

// operatorEvery is how often the operator looks at the status, once faults are over.
const operatorEvery = 5 * time.Second

// operate copies the writer's Store to sites that the writer says need it: it keeps
// nothing of what they lack.
func (w *world) operate() {
	w.after(operatorEvery, w.operate)
	if w.plan.Moves {
		w.moveAgain()
	}
	a := w.writer()
	if a.p == nil || w.forked {
		return
	}
	for _, p := range a.p.node.Status(a.p.now()).Peers {
		if slices.ContainsFunc(p.Stopped, func(l node.StoppedLog) bool { return l.Code == wire.RefuseNotRetained }) {
			a.copyStore(w.siteOf(p.Site))
			return
		}
	}
}

// copyStore gives a site's Store to another one, both stopped meanwhile. The writer's is
// ahead of that in every log.
func (s *site) copyStore(to *site) {
	if to.p == nil || to.lost {
		return
	}
	c := s.w.check
	for log, hist := range c.applied[to.index] {
		if ours := c.applied[s.index][log]; ours == nil || !ours.cursor.Covers(hist.cursor) {
			return // it is not, yet
		}
	}
	s.w.mark("writer's Store copied")
	s.die(false, time.Second, s.draw)
	to.die(false, time.Second, s.draw)
	to.store.mem = s.store.mem.Crash(nil)
	c.applied[to.index] = map[wire.LogID]*history{}
	for log, hist := range c.applied[s.index] {
		copied := *hist
		copied.entries = slices.Clone(hist.entries)
		c.applied[to.index][log] = &copied
	}
	for i := range s.w.load.ops {
		o := &s.w.load.ops[i]
		o.applied[to.index] = o.applied[s.index]
	}
	c.storeCrashed(to.index, to.store.mem, true)
}
