package cli

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/claudefs/repl/tools/loadtest"
)

// progressText is how far a run is, on one line.
func progressText(p loadtest.Progress) string {
	text := fmt.Sprintf("%s of %s  %s entries/s", p.Elapsed.Round(100*time.Millisecond), p.Total,
		humanCount(int64(math.Round(p.Rate))))
	switch {
	case p.Warming:
		text += "  warming up"
	case p.P50 > 0:
		text += fmt.Sprintf("  p50 %s  p99 %s", fineSeconds(p.P50.Seconds()), fineSeconds(p.P99.Seconds()))
	}
	if p.Errors > 0 {
		text += "  " + plural(p.Errors, "error", "errors")
	}
	return text
}

// printBench prints a result for people.
func printBench(o *output, r *loadtest.Result) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", loadText(&r.Config, r.Loop))
	fmt.Fprintf(&b, "near      %s\nfar       %s%s\n", hostText(&r.Near.Host, o), toText(r.To), hostText(&r.Far.Host, o))
	fmt.Fprintf(&b, "rate      %s entries/s  %s/s  %s in %s\n", figure(r.Rate, countText),
		figure(r.BytesPerSecond, bytesText), plural(r.Entries, "entry", "entries"),
		r.Elapsed.D().Round(time.Millisecond))
	fmt.Fprintf(&b, "latency   %s\n", latencyText(&r.Latency, o.wide()))
	if r.Late != nil {
		fmt.Fprintf(&b, "late      %s  (the generator's own part)\n", latencyText(r.Late, o.wide()))
	}
	fmt.Fprintf(&b, "cpu       near %s s/GB  far %s s/GB  both %s s/GB\n", figure(r.Near.CPUPerGB, fixed),
		figure(r.Far.CPUPerGB, fixed), figure(r.CPUPerGB, fixed))
	fmt.Fprintf(&b, "allocs    near %s  far %s  per entry\n", figure(r.Near.Allocations, fixed),
		figure(r.Far.Allocations, fixed))
	fmt.Fprintf(&b, "errors    %s  unanswered %s\n", humanCount(r.Errors), humanCount(r.Unanswered))
	if o.wide() {
		behind := "unknown"
		if r.Behind != nil {
			behind = humanBytes(*r.Behind)
		}
		fmt.Fprintf(&b, "behind    %s not yet durable at the far end when the window ended\n", behind)
		fmt.Fprintf(&b, "others    near %s  far %s of all processors\n", figure(r.Near.OtherLoad, percent),
			figure(r.Far.OtherLoad, percent))
		for _, text := range r.ErrorTexts {
			fmt.Fprintf(&b, "error     %s\n", text)
		}
	}
	for _, v := range r.Thresholds {
		fmt.Fprintf(&b, "fail-if   %s: %s\n", verdictWord(v.Missed), v.Said)
	}
	invalidText(&b, r.Reasons)
	_, err := fmt.Fprint(o.stdout, b.String())
	return err
}

// loadText says what was asked for.
func loadText(c *loadtest.Config, loop string) string {
	load := plural(c.Clients, "client", "clients")
	if c.Open() {
		load = figure(&c.Rate, countText) + " entries/s"
	}
	text := fmt.Sprintf("%s  %s loop, %s  %s", c.Level, loop, load, humanBytes(int64(c.SizeBytes)))
	if c.Level != loadtest.LevelLink {
		text += "  " + plural(c.Shards, "shard", "shards")
	}
	text += fmt.Sprintf("  %s after %s", c.Duration.D(), c.Warm.D())
	if c.RTT > 0 {
		text += fmt.Sprintf("  rtt +%s", c.RTT.D())
	}
	if c.Bandwidth > 0 {
		bandwidth := bitRate(c.Bandwidth)
		text += "  " + bandwidth.String() + "/s"
	}
	return text
}

func toText(to string) string {
	if to == "" {
		return ""
	}
	return to + ": "
}

func hostText(h *loadtest.Host, o *output) string {
	text := h.Transport
	if h.Dir != "" {
		text += fmt.Sprintf("  %s at %s", orUnknown(h.FileSystem), h.Dir)
	}
	if o.wide() {
		text += fmt.Sprintf("  %s  %d × %s  %s  %s  (%s)", orUnknown(h.Name), h.Processors, orUnknown(h.Model),
			orUnknown(h.Kernel), h.Go, h.Reason)
	}
	return strings.TrimSpace(text)
}

func latencyText(l *loadtest.Latency, wide bool) string {
	var b strings.Builder
	for _, f := range []struct {
		name string
		of   *float64
		wide bool
	}{
		{"min", l.Min, true}, {"mean", l.Mean, true}, {"p50", l.P50, false}, {"p90", l.P90, false},
		{"p99", l.P99, false}, {"p99.9", l.P999, false}, {"max", l.Max, false},
	} {
		if wide || !f.wide {
			fmt.Fprintf(&b, "%s %s  ", f.name, figure(f.of, fineSeconds))
		}
	}
	if wide {
		fmt.Fprintf(&b, "of %s", plural(l.Samples, "sample", "samples"))
	}
	return strings.TrimSpace(b.String())
}

// printComparison prints both links side by side.
func printComparison(o *output, x *loadtest.Comparison) error {
	loop := "closed"
	if x.Config.Open() {
		loop = "open"
	}
	fmt.Fprintf(o.stdout, "%s  %s\n", loadText(&x.Config, loop), plural(x.Rounds, "round", "rounds"))
	columns := []string{"METRIC", "PORTABLE", "MIN–MAX", "IO_URING", "MIN–MAX", "RATIO"}
	if o.wide() {
		columns = append(columns, "SPREAD")
	}
	t := newTable(o.stdout, columns...)
	var withheld []string
	for _, row := range x.Rows {
		text := unitText(row.Unit)
		cells := []string{row.Metric, figure(row.Portable.Median, text), rangeText(row.Portable, text),
			figure(row.Ring.Median, text), rangeText(row.Ring, text), figure(row.Ratio, fixed)}
		if o.wide() {
			cells = append(cells, figure(row.RatioSpread, percent))
		}
		t.row(cells...)
		if row.Withheld != "" {
			withheld = append(withheld, fmt.Sprintf("no ratio for %s: %s", row.Metric, row.Withheld))
		}
	}
	if err := t.flush(); err != nil {
		return err
	}
	var b strings.Builder
	b.WriteString("ratio: io_uring by portable, the median of the rounds\n")
	for _, line := range withheld {
		fmt.Fprintln(&b, line)
	}
	for _, v := range x.Thresholds {
		fmt.Fprintf(&b, "fail-if: %s: %s\n", verdictWord(v.Missed), v.Said)
	}
	invalidText(&b, x.Reasons)
	_, err := fmt.Fprint(o.stdout, b.String())
	return err
}

func unitText(u loadtest.Unit) func(float64) string {
	switch u {
	case loadtest.UnitTime:
		return fineSeconds
	case loadtest.UnitBytes:
		return bytesText
	}
	return countText
}

func rangeText(s loadtest.Spread, text func(float64) string) string {
	if s.Min == nil || s.Max == nil {
		return "-"
	}
	return text(*s.Min) + "–" + text(*s.Max)
}

func invalidText(b *strings.Builder, reasons []loadtest.Reason) {
	for _, r := range reasons {
		fmt.Fprintf(b, "INVALID   %s\n", r.Text)
	}
}

func verdictWord(missed bool) string {
	if missed {
		return "missed"
	}
	return "held"
}

// figure writes a figure that may be unknown.
func figure(f *float64, text func(float64) string) string {
	if f == nil {
		return "-"
	}
	return text(*f)
}

// countText groups the digits of what is large, and keeps some of what is small.
func countText(f float64) string {
	if math.Abs(f) >= 100 {
		return humanCount(int64(math.Round(f)))
	}
	return strconv.FormatFloat(math.Round(f*100)/100, 'f', -1, 64)
}

// fineSeconds writes a latency, to three digits or so.
func fineSeconds(s float64) string {
	d := time.Duration(s * 1e9)
	for _, step := range []time.Duration{time.Nanosecond, time.Microsecond, time.Millisecond} {
		if d < 1000*step {
			return d.Round(max(step/10, 1)).String()
		}
		if d < 10*1000*step {
			return d.Round(10 * step).String()
		}
		if d < 100*1000*step {
			return d.Round(100 * step).String()
		}
	}
	return d.Round(100 * time.Millisecond).String()
}

func bytesText(f float64) string { return humanBytes(int64(math.Round(f))) }
func fixed(f float64) string     { return strconv.FormatFloat(f, 'f', 2, 64) }
func percent(f float64) string   { return strconv.FormatFloat(100*f, 'f', 0, 64) + " %" }
