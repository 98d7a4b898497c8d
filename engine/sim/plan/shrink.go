package plan

import (
	"context"
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
	Steps int                    // budget, see StepsDefault
	Plant Plant                  // that Live makes; the plan found names it
	Each  func(steps, lines int) // told of progress; nil = nobody
	// Live lives a plan and says what broke, nil = nothing, and what that cost in steps.
	Live func(*Plan) (b *Broken, spent int)
}

// StepsDefault is the default budget of a Shrinking: steps lived in all the worlds
// that are tried, some minutes of one processor. A seed's world has ten thousand and
// a short one fifty, so worlds would measure nothing; one that hardly lives still has
// to be built, and counts as a hundred.
const StepsDefault = 20_000_000

// Broken is what a plan broke.
type Broken struct {
	Invariant string
	Text      string
	At        time.Duration
	Of        any // what Live knows of it besides
}

// like says whether a breach is taken for the same one: its invariant is, and of
// panics, which are all alike, the first line.
func (b *Broken) like(o *Broken) bool {
	if b.Invariant != "panic" || o.Invariant != "panic" {
		return b.Invariant == o.Invariant
	}
	first, _, _ := strings.Cut(b.Text, "\n")
	other, _, _ := strings.Cut(o.Text, "\n")
	return first == other
}

// chancesMax is how many seeds a change is given where its own does not break.
const chancesMax = 4

// shrinker is a Shrinking under way.
type shrinker struct {
	o       Shrinking
	ctx     context.Context
	steps   int // spent
	chances int // seeds for each change
	draw    Stream
	whole   *Plan // as it came: what samples are drawn from
	best    *Plan
	breach  *Broken
}

// Run shrinks a plan and returns the shortest one found, with its breach; a nil
// breach says that the plan breaks nothing, and comes back as it was. It stops
// early when ctx ends.
func (o Shrinking) Run(ctx context.Context, plan *Plan) (*Plan, *Broken) {
	if o.Steps == 0 {
		o.Steps = StepsDefault
	}
	s := &shrinker{o: o, ctx: ctx, chances: 1, whole: plan, draw: NewStream(plan.Seed, "samples")}
	breach, _ := o.Live(plan)
	if breach == nil {
		return plan, nil
	}
	s.best, s.breach = plan.clone(), breach
	if o.Plant != "" {
		s.best.Plant = o.Plant
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
	c.Items = slices.Clone(p.Items)
	return &c
}

func (s *shrinker) spent() bool { return s.steps >= s.o.Steps || s.ctx.Err() != nil }

// weight falls with every success.
func (s *shrinker) weight() (w int) {
	w = len(s.best.special()) + int(s.best.Duration/time.Millisecond)
	for i := range s.best.Items {
		f := &s.best.Items[i]
		w += 10 + f.Count + int(f.Span/time.Millisecond) + int(f.Phase)
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
		p.Seed += uint64(chance)
		if p.validate() != nil {
			return false
		}
		breach, steps := s.o.Live(p)
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

// cutBehind drops what comes after the breach, and the idle time with it.
func (s *shrinker) cutBehind() {
	at := s.breach.At
	s.try(func(p *Plan) {
		p.Items = slices.DeleteFunc(p.Items, func(f Item) bool { return f.At > at })
	})
	for _, spare := range []time.Duration{time.Millisecond, time.Second, 5 * time.Second} {
		last := time.Duration(0)
		if n := len(s.best.Items); n > 0 {
			last = s.best.Items[n-1].At
		}
		end := (last + spare).Truncate(time.Millisecond)
		if end < s.best.Duration && s.try(func(p *Plan) { p.Duration = end }) {
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
		f := fs.Lookup(name)
		if err := f.Value.Set(f.DefValue); err != nil {
			panic("sim: a parameter refuses its own default: " + err.Error())
		}
	}
	p.Items = slices.DeleteFunc(p.Items, func(f Item) bool { return f.Site >= p.SiteCount })
}

// kinds drops all items of a kind.
func (s *shrinker) kinds() {
	for k := range Kind(KindCount) {
		is := func(f Item) bool { return f.Kind == k }
		if slices.ContainsFunc(s.best.Items, is) {
			s.try(func(p *Plan) { p.Items = slices.DeleteFunc(p.Items, is) })
		}
	}
}

// chunks drops stretches of items, from halves down to single ones, the last
// first. Where no stretch of a size can go, small samples are tried instead, before
// more time goes into smaller ones.
func (s *shrinker) chunks() {
	for size := (len(s.best.Items) + 1) / 2; size > 0; size /= 2 {
		if !s.stretches(size) && s.sample() {
			size = len(s.best.Items)
		}
	}
}

func (s *shrinker) stretches(size int) (dropped bool) {
	for hi := len(s.best.Items); hi > 0; hi -= size {
		lo := max(0, hi-size)
		hi = min(hi, len(s.best.Items))
		if s.try(func(p *Plan) { p.Items = slices.Delete(p.Items, lo, hi) }) {
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
	for i := range s.best.Items {
		if s.best.Items[i].Kind == Burst {
			n++
		}
	}
	return n
}

// merge makes one of size bursts, those before them left out.
func (p *Plan) merge(skip, size int) {
	first, n := -1, 0
	kept := p.Items[:0]
	for i := range p.Items {
		f := p.Items[i]
		if f.Kind == Burst {
			n++
		}
		switch {
		case f.Kind != Burst || n <= skip || n > skip+size:
		case n == skip+1:
			first = len(kept)
		default:
			into := &kept[first]
			into.Count += f.Count
			into.Span = f.At + f.Span - into.At
			continue
		}
		kept = append(kept, f)
	}
	p.Items = kept
}

// soften makes what stays as plain as it can be: whatever phase, short spans,
// small bursts, round times.
func (s *shrinker) soften() {
	for i := range s.best.Items {
		f := s.best.Items[i]
		if f.Phase != PhaseAny {
			s.try(func(p *Plan) { p.Items[i].Phase = PhaseAny })
		}
		for _, span := range []time.Duration{20 * time.Millisecond, f.Span / 4, f.Span / 2} {
			span = span.Truncate(time.Millisecond)
			if span > 0 && span < f.Span && s.try(func(p *Plan) { p.Items[i].Span = span }) {
				break
			}
		}
		for _, count := range []int{1, f.Count / 4, f.Count / 2} {
			if count > 0 && count < f.Count && s.try(func(p *Plan) { p.Items[i].Count = count }) {
				break
			}
		}
		if round := f.At.Truncate(time.Millisecond); round != f.At {
			s.try(func(p *Plan) { p.Items[i].At = round })
		}
		if f.Draw > 9 {
			s.try(func(p *Plan) { p.Items[i].Draw = f.Draw % 10 })
		}
	}
}

// gaps brings items nearer to one another, and the first to the beginning.
func (s *shrinker) gaps() {
	for i := range s.best.Items {
		gap := s.best.Items[i].At
		if i > 0 {
			gap -= s.best.Items[i-1].At
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
	for i := n; i < len(p.Items); i++ {
		p.Items[i].At -= by
	}
	p.Duration -= by
}
