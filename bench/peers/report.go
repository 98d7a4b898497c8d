package main

import (
	"fmt"
	"io"
	"math"
	"strings"
	"time"
)

// write renders the whole report. Nobody edits it: the next run would undo that.
func (r *results) write(w io.Writer, machine []string, started time.Time, duration time.Duration, all []verdict) {
	p := func(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }
	p("# Side by side: what was measured\n")
	p("Written by `make bench-peers`, never by hand. How to read it: [docs/performance.md](../docs/performance.md);")
	p("what each contender is and which rules hold: [peers/doc.go](peers/doc.go).\n")
	p("Run of %s, %d rounds of %v; took %v.\n", started.UTC().Format("2006-01-02 15:04 UTC"), r.rounds, duration,
		time.Since(started).Round(time.Second))
	p("## Machine\n")
	for _, line := range machine {
		p("- %s", line)
	}
	p("- %s", r.quietness())
	if scale, why := r.scale(); why == "" {
		p("- speed by memcpy and loopback, of the machine that the goals were set on: %.2f", scale)
	}
	if r.retried > 0 {
		p("- runs that failed and were repeated: %d", r.retried)
	}
	p("\n## Goals\n\n```")
	for i := range all {
		p("%s", all[i].String())
	}
	p("```\n\n| goal | shards | ratio | spread | goal | stretch | |\n|---|---|---|---|---|---|---|")
	for i := range all {
		p("%s", all[i].cells())
	}
	p("\n## Rows\n\nMedians of the rounds (lowest–highest). Processor time, allocations, switches: of both processes.")
	for i := range r.rows {
		r.table(p, &r.rows[i])
	}
	p("\n## Raw figures\n\nPer round: MB/s, or p50 in µs for round trips and open loops.\n\n```")
	for i := range r.rows {
		r.raw(p, &r.rows[i])
	}
	p("```")
}

func (r *results) quietness() string {
	most := 0.0
	for _, busy := range r.noise {
		most = max(most, busy)
	}
	text := fmt.Sprintf("processors busy with something else before a row, at most: %.0f %%", 100*most)
	if most > quietShareMax {
		text += " — **not a quiet machine**"
	}
	return text
}

func (v *verdict) cells() string {
	sign, stretch := "≥", "–"
	if v.goal.atMost {
		sign = "≤"
	}
	if v.goal.stretch != 0 {
		stretch = fmt.Sprintf("%s %g", sign, v.goal.stretch)
	}
	ratio, spread := "–", "–"
	if v.void == "" {
		ratio = rounded(v.ratio, v.goal.target)
		if v.spread > 0 {
			spread = fmt.Sprintf("%.0f %%", 100*v.spread)
		}
	}
	return fmt.Sprintf("| %s | %s | %s | %s | %s %g | %s | %s |", v.goal.name, strings.TrimPrefix(v.shards, "shards="),
		ratio, spread, sign, v.goal.target, stretch, v.word())
}

func (r *results) table(p func(string, ...any), row *row) {
	about := row.about
	if about != "" {
		about = ": " + about
	}
	timed := row.mode == modeTrip || row.mode == modeOpen
	p("\n### %s%s\n", row.name, about)
	if timed {
		p("| contender | | p50 µs | p99 µs | p99.9 µs | max µs | allocs/record | CPU µs/record | |")
		p("|---|---|---|---|---|---|---|---|---|")
	} else {
		p("| contender | | MB/s | records/s | CPU s/GB | CPU µs/record | allocs/record | switches/MB | |")
		p("|---|---|---|---|---|---|---|---|---|")
	}
	for _, pin := range row.pins() {
		for _, name := range row.contenders {
			all := r.of(pin, row.name, name)
			note := r.failures[cell{pin, row.name, name}]
			for _, m := range all {
				if m != nil && m.Note != "" && note == "" {
					note = m.Note
				}
			}
			one := func(by metric, format string) string {
				if x := medianOf(all, by); !math.IsNaN(x) {
					return fmt.Sprintf(format, x)
				}
				return "–"
			}
			mallocs := one(func(m *measure) float64 { return float64(m.Mallocs) / float64(m.Records) }, "%.2f")
			if timed {
				micros := func(of func(*measure) time.Duration) string {
					return one(func(m *measure) float64 { return float64(of(m)) / 1e3 }, "%.1f")
				}
				p("| %s | %s | %s | %s | %s | %s | %s | %s | %s |", name, pin, figure(all, byMicros, "%.1f"),
					micros(func(m *measure) time.Duration { return m.P99 }),
					micros(func(m *measure) time.Duration { return m.P999 }),
					micros(func(m *measure) time.Duration { return m.Max }), mallocs, one(byCommit, "%.2f"), note)
				continue
			}
			p("| %s | %s | %s | %s | %s | %s | %s | %s | %s |", name, pin, figure(all, byRate, "%.0f"),
				one((*measure).PerSecond, "%.0f"), one(byCPU, "%.3f"), one(byCommit, "%.2f"), mallocs,
				one(func(m *measure) float64 { return float64(m.Switches) / (float64(m.Bytes) / 1e6) }, "%.1f"), note)
		}
	}
}

func (r *results) raw(p func(string, ...any), row *row) {
	by := metric(byRate)
	if row.mode == modeTrip || row.mode == modeOpen {
		by = byMicros
	}
	for _, pin := range row.pins() {
		for _, name := range row.contenders {
			var each []string
			for _, m := range r.of(pin, row.name, name) {
				if m == nil {
					each = append(each, "failed")
					continue
				}
				each = append(each, fmt.Sprintf("%.1f", by(m)))
			}
			p("%-14s %-9s %-18s %s", row.name, pin, name, strings.Join(each, " "))
		}
	}
}
