package loadtest

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// ErrThreshold is what a bad expression wraps.
var ErrThreshold = errors.New("bad threshold")

// Unit is what a metric counts.
type Unit string

const (
	UnitTime  Unit = "seconds"
	UnitCount Unit = "number"
	UnitBytes Unit = "bytes/s"
)

// Metric is a figure of a result that a threshold may name.
type Metric struct {
	Name  string
	Unit  Unit
	About string
	of    func(*Result) *float64
}

// Metrics are all of them.
func Metrics() []Metric {
	count := func(n func(*Result) int64) func(*Result) *float64 {
		return func(r *Result) *float64 { f := float64(n(r)); return &f }
	}
	return []Metric{
		{"rate", UnitCount, "entries a second", func(r *Result) *float64 { return r.Rate }},
		{"bytes", UnitBytes, "payload a second", func(r *Result) *float64 { return r.BytesPerSecond }},
		{"p50", UnitTime, "half of the latencies are at most this", func(r *Result) *float64 { return r.Latency.P50 }},
		{"p90", UnitTime, "90 %", func(r *Result) *float64 { return r.Latency.P90 }},
		{"p99", UnitTime, "99 %", func(r *Result) *float64 { return r.Latency.P99 }},
		{"p99.9", UnitTime, "99.9 %", func(r *Result) *float64 { return r.Latency.P999 }},
		{"max", UnitTime, "all", func(r *Result) *float64 { return r.Latency.Max }},
		{"mean", UnitTime, "the mean latency", func(r *Result) *float64 { return r.Latency.Mean }},
		{"cpu", UnitCount, "processor seconds for 10^9 bytes", func(r *Result) *float64 { return r.CPUPerGB }},
		{"cpu-near", UnitCount, "the same, near end", func(r *Result) *float64 { return r.Near.CPUPerGB }},
		{"cpu-far", UnitCount, "the same, far end", func(r *Result) *float64 { return r.Far.CPUPerGB }},
		{"allocs", UnitCount, "allocations for an entry, near", func(r *Result) *float64 { return r.Near.Allocations }},
		{"errors", UnitCount, "entries that failed", count(func(r *Result) int64 { return r.Errors })},
		{"unanswered", UnitCount, "entries without an answer", count(func(r *Result) int64 { return r.Unanswered })},
		{"invalid", UnitCount, "reasons why the run means little", count(func(r *Result) int64 {
			return int64(len(r.Reasons))
		})},
	}
}

// MetricNames are the names of Metrics, for messages.
func MetricNames() string {
	var names []string
	for _, m := range Metrics() {
		names = append(names, m.Name)
	}
	return strings.Join(names, ", ")
}

// Threshold fails a run whose metric is beyond a limit.
type Threshold struct {
	Text   string
	metric Metric
	op     string
	limit  float64 // in seconds, bytes/s or the plain number
}

// Verdict is what a threshold said about a run.
type Verdict struct {
	Text   string   `json:"fail_if"`
	Metric string   `json:"metric"`
	Unit   Unit     `json:"unit"`  // of value and limit
	Value  *float64 `json:"value"` // null = unknown, which misses
	Limit  float64  `json:"limit"`
	Missed bool     `json:"missed"`
	// Said is the verdict for people: what it is, what it may be, and by how much
	// it missed.
	Said string `json:"text"`
}

var expression = regexp.MustCompile(`^\s*([a-z][a-z0-9.-]*)\s*(<=|>=|<|>)\s*(\S+)\s*$`)

// ParseThreshold reads METRIC OP LIMIT, as "p99>5ms" or "rate<10000".
func ParseThreshold(text string) (t Threshold, err error) {
	parts := expression.FindStringSubmatch(text)
	if parts == nil {
		return t, fmt.Errorf("%w: %q is not METRIC>LIMIT or METRIC<LIMIT", ErrThreshold, text)
	}
	t = Threshold{Text: text, op: parts[2]}
	for _, m := range Metrics() {
		if m.Name == parts[1] {
			t.metric = m
		}
	}
	if t.metric.Name == "" {
		return t, fmt.Errorf("%w: %q: there is no metric %q", ErrThreshold, text, parts[1])
	}
	switch t.metric.Unit {
	case UnitTime:
		d, err := time.ParseDuration(parts[3])
		if err != nil {
			return t, fmt.Errorf("%w: %q: %s is a time, as 5ms: not %q", ErrThreshold, text, t.metric.Name, parts[3])
		}
		t.limit = d.Seconds()
	default:
		if t.limit, err = strconv.ParseFloat(parts[3], 64); err != nil {
			return t, fmt.Errorf("%w: %q: %s is a number, not %q", ErrThreshold, text, t.metric.Name, parts[3])
		}
	}
	return t, nil
}

// Judge says whether r misses t.
func (t *Threshold) Judge(r *Result) Verdict { return t.judge(t.metric.of(r)) }

func (t *Threshold) judge(value *float64) Verdict {
	v := Verdict{Text: t.Text, Metric: t.metric.Name, Unit: t.metric.Unit, Value: value, Limit: t.limit}
	if value == nil {
		v.Missed, v.Said = true, t.metric.Name+" is unknown: nothing was measured"
		return v
	}
	switch t.op {
	case ">":
		v.Missed = *value > t.limit
	case ">=":
		v.Missed = *value >= t.limit
	case "<":
		v.Missed = *value < t.limit
	case "<=":
		v.Missed = *value <= t.limit
	}
	v.Said = fmt.Sprintf("%s is %s, limit %s", t.metric.Name, t.text(*value), t.text(t.limit))
	if v.Missed {
		side := "over"
		if t.op[0] == '<' {
			side = "short"
		}
		v.Said += fmt.Sprintf(": %s by %s", side, t.text(max(*value-t.limit, t.limit-*value)))
		if t.limit != 0 {
			v.Said += fmt.Sprintf(" (%.0f %%)", 100*max(*value-t.limit, t.limit-*value)/t.limit)
		}
	}
	return v
}

// text writes a value in the metric's unit.
func (t *Threshold) text(f float64) string {
	if t.metric.Unit == UnitTime {
		d := time.Duration(f * 1e9)
		switch {
		case d < time.Microsecond:
			return d.String()
		case d < time.Millisecond:
			return d.Round(10 * time.Nanosecond).String()
		case d < time.Second:
			return d.Round(time.Microsecond).String()
		}
		return d.Round(time.Millisecond).String()
	}
	return strconv.FormatFloat(math.Round(f*1e3)/1e3, 'f', -1, 64)
}
