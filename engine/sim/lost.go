package sim

import (
	"slices"
	"time"

	"github.com/claudefs/repl/engine/node"
	"github.com/claudefs/repl/engine/sim/plan"
)

// A lost site stays away when everything heals, for good as far as this world
// goes: only the others, the core, must come to rest. They are to do so as if it
// had never been, except that its lag is unknown, and what it may need is kept.

// lose takes a site away for good: its machine, or its links.
func (s *site) lose(f *plan.Item) {
	if s.writes() || s.lost || s.p == nil || s.w.cloned(s.place) || !s.w.check.spares(s, emptyImage()) {
		return
	}
	s.lost = true
	if f.Kind == plan.CutOff {
		s.apart = true
		s.w.net.cutForGood(s)
		return
	}
	s.die(true, 0, f.Stream()) // start leaves it where it is
	s.w.fault(f.Kind)
}

// cutForGood cuts all links of a site; no spell that ends lets them go.
func (n *network) cutForGood(s *site) {
	c := &cutting{kind: plan.CutOff, struck: n.w.healed}
	for _, way := range append(n.waysOf(plan.IsolateOut, s.place), n.waysOf(plan.IsolateIn, s.place)...) {
		way.cuts += 1 << 30
		way.cut = c
	}
}

// core are the sites that must come to rest: not one that is lost, or removed.
func (w *world) core() []*site {
	return slices.DeleteFunc(slices.Clone(w.sites), func(s *site) bool { return s.lost || s.outside })
}

// probeMax is how long appends at rest take while a site is lost, for the local
// flush and the other peer's, besides what bandwidth costs.
const probeMax = 2 * time.Second

// probe appends once more at rest, if a site is lost: local appends and the other
// peers pay nothing for it (I10). It says whether it has just begun.
func (w *world) probe() bool {
	if w.probed || len(w.core()) == len(w.sites) {
		return false
	}
	w.probed = true
	before := len(w.load.ops)
	w.load.bytes = 0 // what the plan had in mind to append is appended
	w.load.burst(&plan.Item{Kind: plan.Burst, Count: 4 * w.plan.Shards, Draw: w.o.Seed})
	if len(w.load.ops) == before {
		w.fail("I10", "at rest, while a site is lost, no append is taken")
	}
	onTheWay := time.Duration(w.load.bytes * int64(time.Second) / w.plan.Bandwidth)
	w.after(probeMax+2*onTheWay, func() {
		if why := w.check.restless(); why != "" {
			w.fail("I10", "%s after appends at rest, while a site is lost: %s", probeMax+2*onTheWay, why)
		}
	})
	return true
}

// lostLag says what is wrong with the lag of a lost site; "" if it is unknown, as
// it must be (I14).
func (c *checker) lostLag(p *node.PeerStatus) string {
	switch {
	case p.Durable.Known || p.Applied.Known:
		return "lag of " + p.Name + ", which is lost, is known"
	case p.Link == "live" || p.Link == "catching up":
		return "the link to " + p.Name + ", which is lost, is " + p.Link
	}
	return ""
}

// restedWithoutLost looks, at rest, at what a lost site left behind: what its medium
// lacks is kept (I12).
func (w *world) restedWithoutLost() {
	a := w.writer()
	for _, s := range w.sites {
		if s.outside {
			w.mark("at rest without a removed site")
		}
		if !s.lost {
			continue
		}
		w.mark("at rest without a lost site")
		if w.plan.Retain {
			w.check.retained(a.p, node.Own)
		}
		for _, log := range sortedLogs(w.check.ledgers[a.index][node.Own]) {
			theirs, ours := w.check.ledgers[s.index][node.Mirror][log], w.check.ledgers[a.index][node.Own][log]
			if theirs.tail().seq < ours.tail().seq {
				w.mark("entries kept for a lost site")
			}
		}
	}
}
