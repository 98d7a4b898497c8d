package sim

import (
	"time"

	"github.com/claudefs/repl/engine/sim/plan"
)

// Patterns of cuts that have a name, because random cuts hardly ever make them.
// In two sites a site is isolated by a cut of the pair, so isolation is drawn for
// three only; there a cut of one pair is a partial partition.

// waysOf are the directions that isolating a site stops.
func (n *network) waysOf(kind plan.Kind, site int) (ways []*direction) {
	for other := range n.w.sites {
		if other == site {
			continue
		}
		if kind != plan.IsolateIn {
			ways = append(ways, &n.paths[site][other])
		}
		if kind != plan.IsolateOut {
			ways = append(ways, &n.paths[other][site])
		}
	}
	return ways
}

// swizzle stops all directions one after the other in the first half of the span,
// and lets them go in another order in the second.
func (n *network) swizzle(f *plan.Item) {
	var ways []*direction
	for site := range n.w.sites {
		ways = append(ways, n.waysOf(plan.IsolateOut, site)...)
	}
	draw := f.Stream()
	step := f.Span / time.Duration(2*len(ways))
	back := draw.Perm(len(ways))
	for at, way := range draw.Perm(len(ways)) {
		down, up := step*time.Duration(at), step*time.Duration(len(ways)+back[way])
		n.w.after(down, func() {
			if !n.w.healed {
				n.cut(f.Kind, up-down, ways[way])
			}
		})
	}
}

// flap cuts a pair for span, count times, as long whole between.
func (n *network) flap(f *plan.Item, ways ...*direction) {
	for i := range f.Count {
		n.w.after(2*f.Span*time.Duration(i), func() {
			if !n.w.healed {
				n.cut(f.Kind, f.Span, ways...)
			}
		})
	}
}

// partial marks a moment in which two of three sites do not hear one another, and
// the third hears both.
func (n *network) partial() {
	cut := 0
	for a := range n.w.sites {
		for b := range a {
			switch out, back := n.paths[a][b].cuts > 0, n.paths[b][a].cuts > 0; {
			case out && back:
				cut++
			case out || back:
				return
			}
		}
	}
	if cut == 1 && len(n.w.sites) > 2 {
		n.w.mark("partial partition")
	}
}
