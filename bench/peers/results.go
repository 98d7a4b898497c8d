package main

import (
	"fmt"
	"math"
	"slices"
)

type pinning string

const (
	pinned   pinning = "pinned"
	unpinned pinning = "unpinned"
)

// roundsMin is how many rounds a ratio needs to have a spread.
const roundsMin = 5

// results are all measures of a run.
type results struct {
	rounds     int
	everything bool // no row was left out
	rows       []row
	measures   map[cell][]*measure // by round; nil = it failed
	failures   map[cell]string     // the last one's text
	retried    int                 // runs that were repeated after a failure
	noise      map[string]float64  // by row: share of the processors' time that something else used before it
	busy       bool                // judge on a busy machine too
}

// cell is one contender of one row.
type cell struct {
	pin       pinning
	row       string
	contender string
}

func newResults(rounds int, rows []row, everything bool) *results {
	return &results{
		rounds: rounds, everything: everything, rows: rows,
		measures: make(map[cell][]*measure), failures: make(map[cell]string), noise: make(map[string]float64),
	}
}

func (r *results) ran(name string) bool {
	return slices.ContainsFunc(r.rows, func(have row) bool { return have.name == name })
}

// of returns one place per round.
func (r *results) of(pin pinning, row, contender string) []*measure {
	all := r.measures[cell{pin, row, contender}]
	for len(all) < r.rounds {
		all = append(all, nil)
	}
	return all
}

func (r *results) missing(pin pinning, row string, contenders ...string) string {
	for _, c := range contenders {
		if text, ok := r.failures[cell{pin, row, c}]; ok {
			return text
		}
	}
	return "not run"
}

// pins are the ways in which a row was run.
func (r *row) pins() []pinning {
	if r.solo {
		return []pinning{unpinned}
	}
	if r.pinned {
		return []pinning{pinned}
	}
	return []pinning{pinned, unpinned}
}

func values(all []*measure, by metric) (xs []float64) {
	for _, m := range all {
		if m != nil {
			xs = append(xs, by(m))
		}
	}
	return xs
}

func medianOf(all []*measure, by metric) float64 { return median(values(all, by)) }

// quantile interpolates between the two nearest values; NaN of none.
func quantile(xs []float64, q float64) float64 {
	if len(xs) == 0 {
		return math.NaN()
	}
	xs = slices.Clone(xs)
	slices.Sort(xs)
	at := q * float64(len(xs)-1)
	low := int(at)
	high := min(low+1, len(xs)-1)
	return xs[low] + (xs[high]-xs[low])*(at-float64(low))
}

func median(xs []float64) float64        { return quantile(xs, 0.5) }
func interquartile(xs []float64) float64 { return quantile(xs, 0.75) - quantile(xs, 0.25) }

// figure is a median with its range.
func figure(all []*measure, by metric, format string) string {
	xs := values(all, by)
	if len(xs) == 0 {
		return "–"
	}
	text := fmt.Sprintf(format, median(xs))
	if len(xs) > 1 {
		text += fmt.Sprintf(" ("+format+"–"+format+")", slices.Min(xs), slices.Max(xs))
	}
	return text
}
