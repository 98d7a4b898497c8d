package sim

import (
	"slices"

	"github.com/claudefs/repl/engine/event"
	"github.com/claudefs/repl/engine/node"
	"github.com/claudefs/repl/engine/sim/plan"
	"github.com/claudefs/repl/wire"
)

// A site's machine is cloned: an old image of it comes up in its place, same
// site, same address, while the original lives on, cut off. After a while the
// original is back, with its own disk and sometimes without a restart, and the
// clone is gone. Both times the peers meet a site that went back behind its word.
//
//	original  ──┬───────────┄┄┄┄┄┄┄┄┄┄┄┄┬────────────▶
//	            └ image     cut off      │ reached again
//	clone                   ├────────────┘ gone
//	            at          at+span      at+2·span
//
// The model keeps a book per copy: what one of them confirmed, the other need not have.
// Of a cloned primary both copies take appends: see fork.go.

// cloned says whether a clone stands in a place.
func (w *world) cloned(place int) bool { return w.sites[place].index != place }

// copyOf finds a copy by its index.
func (w *world) copyOf(index int) *site {
	return w.copies[slices.IndexFunc(w.copies, func(s *site) bool { return s.index == index })]
}

// clone takes the image now, and has it come up later.
func (s *site) clone(f *plan.Item) {
	if s.p == nil || s.lost || s.cloneOf != nil {
		return
	}
	i := s.takeImage()
	w := s.w
	w.after(f.Span, func() {
		if w.healed || s.lost || len(w.copies) > len(w.sites) {
			return // one clone at a time
		}
		w.beginClone(s, i, f)
		w.after(f.Span, func() {
			if w.sites[s.place] != s {
				w.endClone()
			}
		})
	})
}

// beginClone puts a copy of a site in its place, and cuts the original off.
func (w *world) beginClone(s *site, i *image, f *plan.Item) {
	c := newSite(w, s.place, plan.SitesMax)
	c.cloneOf, c.cloneBy = s, f
	c.clock = s.clock
	w.sites[s.place] = c
	w.copies = append(w.copies, c)
	w.check.cloned(s.index, c.index, i)
	c.install(i)
	w.check.storeCrashed(c.index, c.store.mem, true)
	w.net.sever(s)
	if s.writes() {
		w.forked = true
		w.load.told[c.index] = told{}
		w.load.told[c.index].processGone()
	}
	w.step(c.index, "clone", uint64(s.index), 0)
	w.check.wentBack(s, c)
	c.start()
}

// endClone takes the clone away and has its original reached again.
func (w *world) endClone() {
	at := slices.IndexFunc(w.sites, func(s *site) bool { return s.cloneOf != nil })
	if at < 0 {
		return
	}
	c := w.sites[at]
	s, draw := c.cloneOf, c.cloneBy.Stream()
	w.net.sever(c)
	c.gone = true
	c.die(true, 0, draw)
	w.sites[at], w.copies = s, slices.DeleteFunc(w.copies, func(o *site) bool { return o == c })
	s.restoredAt = w.now
	w.step(s.index, "original back", uint64(c.index), 0)
	w.check.wentBack(c, s)
	if draw.OneIn(2) && s.p != nil {
		s.die(draw.OneIn(2), c.cloneBy.Span/8, draw)
	} else if s.p != nil {
		w.mark("original back without a restart")
	}
}

// sever cuts a copy of a site off from its links, and what was under way is gone, also what
// its process sent before it died: neither end is told.
func (n *network) sever(s *site) {
	for _, l := range slices.Clone(n.links) {
		if l.ends[0].p.site == s || l.ends[1].p.site == s {
			n.drop(l)
		}
	}
}

// cloned opens the books of a clone with those of the image, and with the decisions
// of the original, of which the image's Store has some.
func (c *checker) cloned(from, to int, i *image) {
	c.ledgers[to] = i.books
	c.applied[to] = map[wire.LogID]*history{}
	for log, hist := range c.applied[from] {
		h := *hist
		h.entries = slices.Clone(hist.entries)
		c.applied[to][log] = &h
	}
	for n := range c.w.load.ops {
		o := &c.w.load.ops[n]
		o.applied[to] = o.applied[from]
	}
}

// wentBack notes of which logs the writer's process has a word from a place that
// the copy there now does not keep: it must notice. The fault counts if the two
// copies differ.
func (c *checker) wentBack(before, after *site) {
	which := node.Mirror
	if before.writes() {
		which = node.Own
	}
	theirs, ours := c.ledgers[before.index][which], c.ledgers[after.index][which]
	differ := false
	for _, log := range sortedLogs(theirs) {
		differ = differ || theirs[log].tail().seq != ours[log].tail().seq
	}
	if differ {
		c.w.fault(plan.Clone)
	}
	place := after.place
	if after.writes() {
		return
	}
	t := c.w.load.of(c.w.writer())
	clear(t.owed[place])
	if p := after.p; p != nil && (after.paused() || len(p.mirror.tickets) > 0) {
		return // what it has not flushed yet may be enough
	}
	if s := c.w.writer(); s.p != nil && s.paused() {
		return // it may hear older words yet
	}
	for log, seq := range t.confirmed[place] {
		if seq > ours[log].tail().seq {
			t.owed[place][log] = seq
		}
	}
}

// noticed looks whether the writer says that a peer's log went back behind what it
// confirmed. Effects of one step have no order, so this comes before the progress.
func (l *load) noticed(s *site, events []event.Event) {
	t := l.of(s)
	for i := range events {
		e, ok := events[i].(*event.PeerBehind)
		if !ok {
			continue
		}
		place := l.w.siteOf(e.Peer).place
		if t.owed[place][e.Log] != 0 {
			l.w.mark("clone noticed")
		}
		delete(t.owed[place], e.Log)
		delete(t.confirmed[place], e.Log)
	}
}

// hearing: the primary takes another word from a place. If the copy there has lost
// what an earlier one confirmed, it must have said so before (I1).
func (l *load) hearing(t *told, place int, log wire.LogID) {
	if seq := t.owed[place][log]; seq != 0 {
		l.w.fail("I1", "%s had confirmed log %s up to seq %d and came back without that; the primary did not notice",
			siteNames[place], log, seq)
	}
}
