package sim

import (
	"cmp"
	"time"

	"github.com/claudefs/repl/engine/node"
)

// Patterns of cuts that have a name, because random cuts hardly ever make them.
// In two sites a site is isolated by a cut of the pair, so isolation is drawn for
// three only; there a cut of one pair is a partial partition.

// patience is what silence it takes to end a link.
func (p *Plan) patience() time.Duration {
	return cmp.Or(p.heartbeatTimeout, node.HeartbeatTimeoutDefault)
}

// drawPatterns strikes with a random half of the patterns. In a third of the
// worlds links end after a shorter silence, so that more of them do.
func (p *Plan) drawPatterns(s stream) {
	if s.oneIn(3) {
		p.heartbeatTimeout = s.between(600*time.Millisecond, 2*time.Second)
		p.heartbeatEvery = p.heartbeatTimeout / time.Duration(2+s.IntN(12))
	}
	timeout := p.patience()
	for k := isolate; k <= flap; k++ {
		strikes := 1 + s.IntN(3)
		if s.oneIn(2) || p.siteCount == 2 && k <= isolateOut {
			continue
		}
		if k == flap {
			strikes = 1
		}
		for range strikes {
			f := item{
				at: s.between(p.duration/50, p.duration), kind: k, site: s.IntN(p.siteCount),
				span: s.between(50*time.Millisecond, 3*time.Second), draw: s.Uint64(),
			}
			if k == flap {
				f.span, f.count = s.between(timeout*3/4, timeout*5/4), 2+s.IntN(3)
			}
			p.items = append(p.items, f)
		}
	}
}

// waysOf are the directions that isolating a site stops.
func (n *network) waysOf(kind itemKind, site int) (ways []*direction) {
	for other := range n.w.sites {
		if other == site {
			continue
		}
		if kind != isolateIn {
			ways = append(ways, &n.paths[site][other])
		}
		if kind != isolateOut {
			ways = append(ways, &n.paths[other][site])
		}
	}
	return ways
}

// swizzle stops all directions one after the other in the first half of the span,
// and lets them go in another order in the second.
func (n *network) swizzle(f *item) {
	var ways []*direction
	for site := range n.w.sites {
		ways = append(ways, n.waysOf(isolateOut, site)...)
	}
	draw := f.stream()
	step := f.span / time.Duration(2*len(ways))
	back := draw.Perm(len(ways))
	for at, way := range draw.Perm(len(ways)) {
		down, up := step*time.Duration(at), step*time.Duration(len(ways)+back[way])
		n.w.after(down, func() {
			if !n.w.healed {
				n.cut(f.kind, up-down, ways[way])
			}
		})
	}
}

// flap cuts a pair for span, count times, as long whole between.
func (n *network) flap(f *item, ways ...*direction) {
	for i := range f.count {
		n.w.after(2*f.span*time.Duration(i), func() {
			if !n.w.healed {
				n.cut(f.kind, f.span, ways...)
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
