package powerloss

import (
	"math/rand/v2"
	"slices"
)

// planCuts chooses n moments among entries [from, to): half of them right behind
// a mark, when entries were just promised; a quarter right behind a flush or a
// forced write; a quarter anywhere. They come in the order of the log.
func planCuts(entries []logged, from, to, n int, r *rand.Rand) []cut {
	var marks, flushes []int
	for i := from; i < to; i++ {
		switch {
		case entries[i].flags&flagMark != 0:
			marks = append(marks, i+1)
		case entries[i].flags&(flagFlush|flagFUA) != 0:
			flushes = append(flushes, i+1)
		}
	}
	cuts := make([]cut, 0, n)
	for i := range n {
		c := cut{at: from + 1 + r.IntN(max(1, to-from)), fates: keepSome, seed: r.Uint64N(1 << 32)}
		switch k := i % 4; {
		case k < 2 && len(marks) > 0:
			c.at = spread(marks, i/2, (n+1)/2, r)
			c.fates = []fates{dropAll, keepSome}[k]
		case k == 2 && len(flushes) > 0:
			c.at = spread(flushes, i/4, (n+3)/4, r)
			c.fates = []fates{keepSome, keepAll}[i/4%2]
		}
		cuts = append(cuts, c)
	}
	slices.SortStableFunc(cuts, func(a, b cut) int { return a.at - b.at })
	return cuts
}

// spread chooses from the i-th of n equal parts of places.
func spread(places []int, i, n int, r *rand.Rand) int {
	low, high := i*len(places)/n, (i+1)*len(places)/n
	return places[min(low+r.IntN(max(1, high-low)), len(places)-1)]
}
