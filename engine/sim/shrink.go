package sim

import (
	"context"
	"flag"
	"slices"
	"strings"
	"time"
)

// Shrinking takes a plan that breaks an invariant to a short one that breaks the
// same invariant. Tiny samples of it are tried first; then it is delta debugging:
// what is left out, and the world still breaks, was not needed. A plan that gets no
// shorter needs a coincidence in time, which what is left out moves: at last each
// change is given more seeds, other delays with them, any of which may break.
//
//	plan ─▶ samples ─▶ cut behind the breach ─▶ kinds ─▶ chunks ½ ¼ … 1 ─▶ parameters
//	                        ▲                                                   │
//	                        ├── while something still went ◀── spans, counts, gaps
//	                        └── and once more, with four seeds for every change
//
// The same plan and budget give the same result; what was found so far stays when
// the budget or the context ends.
type Shrinking struct {
	Steps int                                // budget, see StepsDefault
	Plant Plant                              // as in Options
	Each  func(steps, lines int)             // told of progress; nil = nobody
	test  func(*Plan) (b *Breach, spent int) // for tests of the shrinker itself
}

// StepsDefault is the default budget of a Shrinking: steps lived in all the worlds
// that are tried, some minutes of one processor. A seed's world has ten thousand and
// a short one fifty, so worlds would measure nothing; one that hardly lives still has
// to be built, and counts as worldStepsMin.
const (
	StepsDefault  = 20_000_000
	worldStepsMin = 100
)

// chancesMax is how many seeds a change is given where its own does not break.
const chancesMax = 4

// shrinker is a Shrinking under way.
type shrinker struct {
	o       Shrinking
	ctx     context.Context
	steps   int // spent
	chances int // seeds for each change
	draw    stream
	whole   *Plan // as it came: what samples are drawn from
	best    *Plan
	breach  *Breach
}

// Run shrinks a plan and returns the shortest one found, with its breach; a nil
// breach says that the plan breaks nothing, and comes back as it was. It stops
// early when ctx ends.
func (o Shrinking) Run(ctx context.Context, plan *Plan) (*Plan, *Breach) {
	if o.Steps == 0 {
		o.Steps = StepsDefault
	}
	if o.test == nil {
		o.test = func(p *Plan) (*Breach, int) {
			r := Run(Options{Plan: p, Plant: o.Plant})
			return r.Breach, max(r.Steps, worldStepsMin)
		}
	}
	s := &shrinker{o: o, ctx: ctx, chances: 1, whole: plan, draw: newStream(plan.seed, "samples")}
	breach, _ := o.test(plan)
	if breach == nil {
		return plan, nil
	}
	s.best, s.breach = plan.clone(), breach
	if o.Plant != "" {
		s.best.plant = o.Plant
	}
	s.sample()
	for !s.spent() {
		before := s.weight()
		s.round()
		if s.weight() < before {
			continue
		}
		if s.chances == chancesMax {
			break
		}
		s.chances = chancesMax
	}
	return s.best, s.breach
}

// round tries everything once.
func (s *shrinker) round() {
	s.cutBehind()
	s.kinds()
	s.chunks()
	s.parameters()
	s.merge()
	s.soften()
	s.gaps()
}

func (p *Plan) clone() *Plan {
	c := *p
	c.items = slices.Clone(p.items)
	return &c
}

func (s *shrinker) spent() bool { return s.steps >= s.o.Steps || s.ctx.Err() != nil }

// weight falls with every success.
func (s *shrinker) weight() (w int) {
	w = len(s.best.special()) + int(s.best.duration/time.Millisecond)
	for i := range s.best.items {
		f := &s.best.items[i]
		w += 10 + f.count + int(f.span/time.Millisecond) + int(f.phase)
	}
	return w
}

// try keeps a candidate that still breaks the same invariant, with the plan's seed
// or with one of the next.
func (s *shrinker) try(change func(*Plan)) bool {
	for chance := range s.chances {
		if s.spent() {
			return false
		}
		p := s.best.clone()
		change(p)
		p.seed += uint64(chance)
		if p.validate() != nil {
			return false
		}
		breach, steps := s.o.test(p)
		s.steps += steps
		if breach == nil || !breach.like(s.breach) {
			continue
		}
		s.best, s.breach = p, breach
		if s.o.Each != nil {
			s.o.Each(s.steps, p.Lines())
		}
		return true
	}
	return false
}

// like says whether a breach is taken for the same one: its invariant is, and of
// panics, which are all alike, the first line.
func (b *Breach) like(o *Breach) bool {
	if b.Invariant != "panic" || o.Invariant != "panic" {
		return b.Invariant == o.Invariant
	}
	first, _, _ := strings.Cut(b.Text, "\n")
	other, _, _ := strings.Cut(o.Text, "\n")
	return first == other
}

// cutBehind drops what comes after the breach, and the idle time with it.
func (s *shrinker) cutBehind() {
	at := s.breach.At
	s.try(func(p *Plan) {
		p.items = slices.DeleteFunc(p.items, func(f item) bool { return f.at > at })
	})
	for _, spare := range []time.Duration{time.Millisecond, time.Second, 5 * time.Second} {
		last := time.Duration(0)
		if n := len(s.best.items); n > 0 {
			last = s.best.items[n-1].at
		}
		end := (last + spare).Truncate(time.Millisecond)
		if end < s.best.duration && s.try(func(p *Plan) { p.duration = end }) {
			return
		}
	}
}

// parameters makes them simple: all at once, or else one by one. What drawRestore
// chose stays: without it, what the items do may be what no system survives.
func (s *shrinker) parameters() {
	names := slices.DeleteFunc(s.best.special(), func(name string) bool {
		return name == "duration" || name == "retain" || name == "verify-wait"
	})
	if len(names) == 0 || s.try(func(p *Plan) { p.simplify(names...) }) {
		return
	}
	for _, name := range names {
		s.try(func(p *Plan) { p.simplify(name) })
	}
}

func (p *Plan) simplify(names ...string) {
	fs := p.flags()
	for _, name := range names {
		var f *flag.Flag = fs.Lookup(name)
		if err := f.Value.Set(f.DefValue); err != nil {
			panic("sim: a parameter refuses its own default: " + err.Error())
		}
	}
	p.items = slices.DeleteFunc(p.items, func(f item) bool { return f.site >= p.siteCount })
}

// kinds drops all items of a kind.
func (s *shrinker) kinds() {
	for k := range itemKind(kindCount) {
		is := func(f item) bool { return f.kind == k }
		if slices.ContainsFunc(s.best.items, is) {
			s.try(func(p *Plan) { p.items = slices.DeleteFunc(p.items, is) })
		}
	}
}

// chunks drops stretches of items, from halves down to single ones, the last
// first. Where no stretch of a size can go, small samples are tried instead, before
// more time goes into smaller ones.
func (s *shrinker) chunks() {
	for size := (len(s.best.items) + 1) / 2; size > 0; size /= 2 {
		if !s.stretches(size) && s.sample() {
			size = len(s.best.items)
		}
	}
}

func (s *shrinker) stretches(size int) (dropped bool) {
	for hi := len(s.best.items); hi > 0; hi -= size {
		lo := max(0, hi-size)
		hi = min(hi, len(s.best.items))
		if s.try(func(p *Plan) { p.items = slices.Delete(p.items, lo, hi) }) {
			dropped = true
		}
	}
	return dropped
}

// merge makes one burst of several that are needed for their amount: of stretches
// of them, from all down to pairs, spread over the same time.
func (s *shrinker) merge() {
	for size := s.bursts(); size > 1; size /= 2 {
		for skip := 0; skip+size <= s.bursts(); {
			if !s.try(func(p *Plan) { p.merge(skip, size) }) {
				skip += size
			} else {
				skip++
			}
		}
	}
}

func (s *shrinker) bursts() (n int) {
	for i := range s.best.items {
		if s.best.items[i].kind == burst {
			n++
		}
	}
	return n
}

// merge makes one of size bursts, those before them left out.
func (p *Plan) merge(skip, size int) {
	first, n := -1, 0
	kept := p.items[:0]
	for i := range p.items {
		f := p.items[i]
		if f.kind == burst {
			n++
		}
		switch {
		case f.kind != burst || n <= skip || n > skip+size:
		case n == skip+1:
			first = len(kept)
		default:
			into := &kept[first]
			into.count += f.count
			into.span = f.at + f.span - into.at
			continue
		}
		kept = append(kept, f)
	}
	p.items = kept
}

// soften makes what stays as plain as it can be: whatever phase, short spans,
// small bursts, round times.
func (s *shrinker) soften() {
	for i := range s.best.items {
		f := s.best.items[i]
		if f.phase != phaseAny {
			s.try(func(p *Plan) { p.items[i].phase = phaseAny })
		}
		for _, span := range []time.Duration{20 * time.Millisecond, f.span / 4, f.span / 2} {
			span = span.Truncate(time.Millisecond)
			if span > 0 && span < f.span && s.try(func(p *Plan) { p.items[i].span = span }) {
				break
			}
		}
		for _, count := range []int{1, f.count / 4, f.count / 2} {
			if count > 0 && count < f.count && s.try(func(p *Plan) { p.items[i].count = count }) {
				break
			}
		}
		if round := f.at.Truncate(time.Millisecond); round != f.at {
			s.try(func(p *Plan) { p.items[i].at = round })
		}
		if f.draw > 9 {
			s.try(func(p *Plan) { p.items[i].draw = f.draw % 10 })
		}
	}
}

// gaps brings items nearer to one another, and the first to the beginning.
func (s *shrinker) gaps() {
	for i := range s.best.items {
		gap := s.best.items[i].at
		if i > 0 {
			gap -= s.best.items[i-1].at
		}
		for _, shorter := range []time.Duration{10 * time.Millisecond, 100 * time.Millisecond, gap / 2} {
			less := (gap - shorter).Truncate(time.Millisecond)
			if less > 0 && s.try(func(p *Plan) { p.pull(i, less) }) {
				break
			}
		}
	}
}

// pull has the items from the n-th on, and the end, come earlier.
func (p *Plan) pull(n int, by time.Duration) {
	for i := n; i < len(p.items); i++ {
		p.items[i].at -= by
	}
	p.duration -= by
}
