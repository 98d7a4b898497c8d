package plan

import (
	"cmp"
	"slices"
	"time"
)

// Limits of samples, tried on the plants of the museum and on nothing else: those
// that fall to samples at all did so within a few thousand worlds of some hundred
// steps.
const (
	sampleItemsMax = 24
	sampleSteps    = 1_000_000 // to live before going on without one
	sampleKindsMax = 8         // besides bursts
	sampleBurstMax = 4         // appends
)

// sample looks for a tiny plan that breaks: a few items of a few kinds, near one
// another, under another seed. Where a breach needs a coincidence, a thousand tiny
// worlds have it sooner than one long world from which anything is left out: they
// cost no more, and small numbers meet more often than large ones. A sample keeps the
// order of what it takes and takes nothing twice, so that whatever may not go
// together in a plan does not in a sample.
func (s *shrinker) sample() bool {
	if len(s.best.Items) <= sampleItemsMax {
		return false
	}
	for end := s.steps + sampleSteps; s.steps < end && !s.spent(); {
		if s.try(s.drawSample) {
			return true
		}
	}
	return false
}

// drawSample makes a sample of a candidate: half of it bursts at most.
func (s *shrinker) drawSample(p *Plan) {
	p.Params, p.Items = s.whole.Params, slices.Clone(s.whole.Items)
	kinds := s.drawKinds(p)
	size := 2 + s.draw.IntN(sampleItemsMax-1)
	s.draw.Shuffle(len(p.Items), func(i, j int) { p.Items[i], p.Items[j] = p.Items[j], p.Items[i] })
	bursts, others := 0, 0
	p.Items = slices.DeleteFunc(p.Items, func(f Item) bool {
		n := &others
		if f.Kind == Burst {
			n = &bursts
		}
		if !kinds[f.Kind] || *n >= size/2 {
			return true
		}
		*n++
		return false
	})
	slices.SortStableFunc(p.Items, func(a, b Item) int { return cmp.Compare(a.At, b.At) })
	gap, at := time.Millisecond<<s.draw.IntN(11), time.Duration(0)
	for i := range p.Items {
		f := &p.Items[i]
		at += (gap/8 + s.draw.Exponential(gap)).Truncate(time.Microsecond)
		f.At = at
		f.Count = min(f.Count, 1+s.draw.IntN(sampleBurstMax))
	}
	p.Duration = at + gap
	p.Seed = s.draw.Uint64N(1_000_000) // short enough to type
}

// drawKinds chooses bursts and a few other kinds of a plan.
func (s *shrinker) drawKinds(p *Plan) (kinds [KindCount]bool) {
	var present []Kind
	for k := range Kind(KindCount) {
		if k != Burst && slices.ContainsFunc(p.Items, func(f Item) bool { return f.Kind == k }) {
			present = append(present, k)
		}
	}
	kinds[Burst] = true
	s.draw.Shuffle(len(present), func(i, j int) { present[i], present[j] = present[j], present[i] })
	for _, k := range present[:min(len(present), 1+s.draw.IntN(sampleKindsMax))] {
		kinds[k] = true
	}
	return kinds
}
