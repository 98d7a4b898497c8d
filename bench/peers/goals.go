package main

import (
	"fmt"
	"math"
	"strings"
)

// spreadMax is the interquartile range of a ratio, by its median, from which on
// the ratio is not told.
const spreadMax = 0.25

// metric reads what a goal compares out of a measure.
type metric func(*measure) float64

func byRate(m *measure) float64      { return m.MBps() }
func byCPU(m *measure) float64       { return m.CPUPerGB() }
func byTime(m *measure) float64      { return float64(m.P50) }
func byMillis(m *measure) float64    { return float64(m.P50) / 1e6 }
func byMillisP99(m *measure) float64 { return float64(m.P99) / 1e6 }

func byCommit(m *measure) float64 { return m.CPUPerRecord() }

// goal is one line of the report.
type goal struct {
	name     string
	row      string
	ours     []string // one line each
	versus   string   // "" = the metric itself, no ratio
	metric   metric
	atMost   bool
	target   float64
	stretch  float64 // 0 = none
	unpinned bool    // where the figure that it was set by was unpinned, or the row is
}

var engines = []string{"ours-1", "ours-256"}

func goals() []goal {
	all := []goal{
		{name: "P1-record-vs-grpc+log", row: "stream-256B", ours: engines, versus: "grpc-record+log",
			metric: byRate, target: 6},
		{name: "P2-64KiB-vs-grpc+log", row: "stream-64KiB", ours: engines[:1], versus: "grpc-batch+log",
			metric: byRate, target: 2.5},
		{name: "P2-64KiB-vs-grpc+log", row: "stream-64KiB", ours: engines[1:], versus: "grpc-batch+log",
			metric: byRate, target: 2},
		{name: "P3-64KiB-vs-net+log", row: "stream-64KiB", ours: engines[:1], versus: "net-coalesce+log",
			metric: byRate, target: 1.2},
		{name: "P3-64KiB-vs-net+log", row: "stream-64KiB", ours: engines[1:], versus: "net-coalesce+log",
			metric: byRate, target: 1},
		{name: "P5-cpu-vs-net+log", row: "stream-64KiB", ours: engines, versus: "net-coalesce+log",
			metric: byCPU, atMost: true, target: 1},
	}
	all = append(all, tripGoals()...)
	all = append(all, busyGoals()...)
	atDepth := []string{journalAtDepth()}
	return append(all,
		goal{name: "P7-64KiB-durable-vs-grpc", row: "durable-64KiB", ours: engines, versus: "grpc-batch+log",
			metric: byRate, target: 1.5},
		goal{name: "P7-64KiB-durable-vs-net", row: "durable-64KiB", ours: engines, versus: "net-coalesce+log",
			metric: byRate, target: 1},
		goal{name: "P7b-4KiB-durable-vs-grpc", row: "durable-4KiB", ours: engines, versus: "grpc-record+log",
			metric: byRate, target: 3, stretch: 4.5},
		goal{name: "P8-commits-at-depth", row: "journal-256B", ours: atDepth, versus: "pwrite-fdatasync",
			metric: byRate, target: 5, stretch: 6, unpinned: true},
		goal{name: "P8-cpu-per-commit", row: "journal-256B", ours: atDepth, versus: "pwrite-fdatasync",
			metric: byCommit, atMost: true, target: 0.2, stretch: 0.13, unpinned: true},
		goal{name: "P9-recycled-vs-fallocate", row: "journal-4KiB", ours: []string{"journal-1"},
			versus: "journal-fallocate", metric: byRate, target: 1.9, stretch: 2.1, unpinned: true},
		goal{name: "P10-record-vs-jetstream", row: "stream-256B", ours: engines, versus: "jetstream",
			metric: byRate, target: 50, stretch: 150, unpinned: true},
		goal{name: "P10-64KiB-vs-jetstream", row: "stream-64KiB", ours: engines, versus: "jetstream",
			metric: byRate, target: 10, stretch: 17, unpinned: true},
		goal{name: "P10-64KiB-durable-vs-jetstream", row: "durable-64KiB", ours: engines, versus: "jetstream",
			metric: byRate, target: 10, stretch: 18, unpinned: true},
	)
}

// busyGoals hold what users of a busy machine, and of one record at a time, get.
func busyGoals() []goal {
	one := engines[:1]
	return []goal{
		{name: "P16-durable-trip-vs-grpc+log", row: "trip-durable", ours: one, versus: "grpc-record+log",
			metric: byTime, atMost: true, target: 1},
		{name: "P17-open-50-p50-ms", row: "open-50", ours: engines, metric: byMillis, atMost: true, target: 1,
			unpinned: true},
		{name: "P17-open-50-p99-ms", row: "open-50", ours: engines, metric: byMillisP99, atMost: true, target: 5,
			unpinned: true},
		{name: "P18-busy-trip-vs-portable", row: "busy-trip-durable", ours: one, versus: "ours-1-portable",
			metric: byRate, target: 0.95},
		{name: "P18-busy-64KiB-vs-portable", row: "busy-stream-64KiB", ours: one, versus: "ours-1-portable",
			metric: byRate, target: 0.95},
	}
}

// tripGoals are P6 with the links that poll and P6b with those that do not. A
// kind that is missing makes its goals invalid: see verdicts.
func tripGoals() (all []goal) {
	trip := func(name string, spin bool, versus string, target, stretch float64) {
		g := goal{name: name, row: "trip-link", versus: versus, metric: byTime, atMost: true,
			target: target, stretch: stretch}
		if link, ok := linkOf(spin); ok {
			g.ours = []string{link}
		}
		all = append(all, g)
	}
	trip("P6-trip-vs-net", true, "net-frame", 0.25, 0.14)
	trip("P6-trip-vs-grpc", true, "grpc-record", 0.20, 0.11)
	trip("P6-trip-vs-spinning-net", true, "net-spin", 1.2, 0)
	trip("P6b-trip-no-spin-vs-net", false, "net-frame", 0.90, 0.80)
	trip("P6b-trip-no-spin-vs-grpc", false, "grpc-record", 0.70, 0.62)
	return all
}

// verdict is what became of a goal: one line.
type verdict struct {
	goal   *goal
	shards string // "shards=1", or ""
	ratio  float64
	spread float64
	void   string // why there is no ratio
}

func (v *verdict) word() string {
	switch {
	case v.void != "":
		return "invalid (" + v.void + ")"
	case v.goal.atMost && v.ratio <= v.goal.target, !v.goal.atMost && v.ratio >= v.goal.target:
		return "ok"
	}
	return "short"
}

func (v *verdict) String() string {
	sign := ">="
	if v.goal.atMost {
		sign = "<="
	}
	ratio := "-"
	if v.void == "" {
		ratio = rounded(v.ratio, v.goal.target)
	}
	parts := []string{"ratio", v.goal.name, v.shards, ratio, "goal", fmt.Sprintf("%s%g", sign, v.goal.target), v.word()}
	if v.shards == "" {
		parts = append(parts[:2], parts[3:]...)
	}
	return strings.Join(parts, " ")
}

// rounded has two decimals, or as many as the goal needs.
func rounded(x, target float64) string {
	if target != 0 && math.Abs(target) < 0.1 {
		return fmt.Sprintf("%.3f", x)
	}
	return fmt.Sprintf("%.2f", x)
}

func shardsOf(contender string) string {
	switch contender {
	case "ours-1":
		return "shards=1"
	case "ours-256":
		return fmt.Sprintf("shards=%d", shardCount)
	}
	return ""
}

// verdicts judges the goals whose rows were run.
func (r *results) verdicts() (all []verdict) {
	for _, g := range goals() {
		if !r.ran(g.row) {
			continue
		}
		if len(g.ours) == 0 {
			all = append(all, verdict{goal: &g, void: "no such link yet"})
		}
		for _, ours := range g.ours {
			v := verdict{goal: &g, shards: shardsOf(ours)}
			v.ratio, v.spread, v.void = r.compare(&g, ours)
			all = append(all, v)
		}
	}
	return append(all, r.counted()...)
}

// compare takes the ratio of each round and the median of those.
func (r *results) compare(g *goal, ours string) (ratio, spread float64, void string) {
	pin := pinned
	if g.unpinned {
		pin = unpinned
	}
	a, b := r.of(pin, g.row, ours), r.of(pin, g.row, g.versus)
	var each []float64
	for round := range r.rounds {
		switch x, y := a[round], b[round]; {
		case x == nil:
		case g.versus == "":
			each = append(each, g.metric(x))
		case y != nil:
			each = append(each, g.metric(x)/g.metric(y))
		}
	}
	switch {
	case len(each) == 0:
		return 0, 0, r.missing(pin, g.row, ours, g.versus)
	case len(each) < roundsMin:
		return 0, 0, fmt.Sprintf("%d rounds, %d are needed", len(each), roundsMin)
	}
	if noise := r.noise[g.row]; noise > busyShareMax && !r.busy {
		return 0, 0, fmt.Sprintf("processors %.0f %% busy with something else", 100*noise)
	}
	ratio, spread = median(each), interquartile(each)/median(each)
	if spread > spreadMax {
		return ratio, spread, fmt.Sprintf("spread %.0f %%", 100*spread)
	}
	// One that keeps a log has no figure of its own; it is as well tuned as without.
	return ratio, spread, r.untuned(pin, g.row, strings.TrimSuffix(g.versus, logSuffix))
}

// untuned says why a contender is not a measure to go by; "" when it is one.
func (r *results) untuned(pin pinning, row, contender string) string {
	figure, ok := figures[row][contender]
	if !ok {
		return ""
	}
	all := r.of(pin, row, contender)
	if len(values(all, byRate)) == 0 {
		return "" // A twin that keeps a log was run without it.
	}
	if strings.HasPrefix(row, "trip") {
		if have := medianOf(all, byTime) / 1e3; have > figure/figureShareMin {
			return fmt.Sprintf("%s took %.1f µs, its own figure is %.1f", contender, have, figure)
		}
		return ""
	}
	scale, why := r.scale()
	if why != "" {
		return why
	}
	if have := medianOf(all, byRate); have < figureShareMin*figure*scale {
		return fmt.Sprintf("%s ran at %.0f MB/s, its own figure is %.0f here", contender, have, figure*scale)
	}
	return ""
}

// scale is how fast this machine is now, by that of the figures.
func (r *results) scale() (float64, string) {
	memory := medianOf(r.of(unpinned, "limits", "memcpy"), byRate)
	loop := medianOf(r.of(pinned, "stream-1MiB", "iperf3-cubic"), byRate)
	switch {
	case math.IsNaN(memory):
		return 0, "no calibration: row limits was not run"
	case math.IsNaN(loop): // iperf3 is not installed, which the report says.
		return memory / figureMemcpyMBps, ""
	}
	return math.Sqrt(memory / figureMemcpyMBps * loop / figureLoopMBps), ""
}
