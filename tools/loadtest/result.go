package loadtest

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Result is what came of a run, as JSON in schema 1: keys are only added. What
// is unknown is null.
type Result struct {
	Schema  int       `json:"schema"` // 1
	Kind    string    `json:"kind"`   // "bench"
	At      time.Time `json:"at"`     // when it ended
	Invalid bool      `json:"invalid"`
	Reasons []Reason  `json:"invalid_reasons"`

	Config Config `json:"config"`
	Loop   string `json:"loop"` // "closed", "open"
	To     string `json:"to"`   // the far end's address; "" = a process of this machine

	Elapsed        Seconds  `json:"elapsed_seconds"` // of the window
	Entries        int64    `json:"entries_count"`   // answered in the window
	Bytes          int64    `json:"bytes"`           // their payload
	Rate           *float64 `json:"rate_per_second"`
	BytesPerSecond *float64 `json:"bytes_per_second"`
	Latency        Latency  `json:"latency"`
	Late           *Latency `json:"schedule_delay"` // how late the open loop handed entries over; null = closed loop

	Errors     int64    `json:"errors_count"`
	ErrorTexts []string `json:"errors"` // some of them
	Unanswered int64    `json:"unanswered_count"`
	Behind     *int64   `json:"behind_bytes"` // not yet durable at the far end when the window ended

	CPUPerGB   *float64  `json:"cpu_seconds_per_gb"` // of both ends; GB = 10^9 bytes of payload
	Near       Side      `json:"near"`
	Far        Side      `json:"far"`
	Thresholds []Verdict `json:"thresholds"`
}

// Latency is how long something took.
type Latency struct {
	Samples int64    `json:"samples_count"`
	Min     *float64 `json:"min_seconds"`
	Mean    *float64 `json:"mean_seconds"`
	P50     *float64 `json:"p50_seconds"`
	P90     *float64 `json:"p90_seconds"`
	P99     *float64 `json:"p99_seconds"`
	P999    *float64 `json:"p99_9_seconds"`
	Max     *float64 `json:"max_seconds"`
	Bins    []Bin    `json:"buckets"` // those with samples, rising
}

// Bin counts the samples of [From, To].
type Bin struct {
	From  float64 `json:"from_seconds"`
	To    float64 `json:"to_seconds"`
	Count int64   `json:"count"`
}

// Side is what one end is, and what it used from the window's begin to its end.
type Side struct {
	Host
	CPU         *float64 `json:"cpu_seconds"`
	CPUPerGB    *float64 `json:"cpu_seconds_per_gb"`
	Allocations *float64 `json:"allocations_per_entry"`
	OtherLoad   *float64 `json:"other_load_ratio"` // of all processors' time, by others
}

// result closes the books of a run that ended with err.
func (m *measurement) result(err error) *Result {
	sum := m.record.sum()
	r := &Result{
		Schema: 1, Kind: "bench", At: time.Now().UTC(), Config: *m.config, Loop: m.config.Loop(),
		To: m.session.options.To, Elapsed: Seconds(m.record.window()), Entries: sum.entries(),
		Latency: latencyOf(sum.latencies), Errors: m.record.errorCount,
		ErrorTexts: append([]string{}, m.record.errorTexts...),
		Unanswered: sum.unanswered, Behind: m.behind,
		Near: Side{Host: m.rig.host}, Far: Side{Host: m.rig.far}, Thresholds: []Verdict{},
	}
	r.Bytes = r.Entries * int64(m.config.SizeBytes)
	if r.Elapsed > 0 && r.Entries > 0 {
		r.Rate = ratio(float64(r.Entries), r.Elapsed.D().Seconds())
		r.BytesPerSecond = ratio(float64(r.Bytes), r.Elapsed.D().Seconds())
	}
	if m.config.Open() {
		late := latencyOf(m.record.late)
		late.Bins = []Bin{}
		r.Late = &late
	}
	if m.after.at > 0 {
		m.charge(r)
	}
	r.Reasons = m.judge(r, &sum, err)
	r.Invalid = len(r.Reasons) > 0
	return r
}

// charge says what both ends used.
func (m *measurement) charge(r *Result) {
	near, far := m.after.near.since(m.before.near), m.after.far.since(m.before.far)
	// A local proxy belongs to the measurement as well.
	ours := near.CPU.D() + m.after.path - m.before.path
	theirs := far.CPU.D()
	if r.Near.Boot == r.Far.Boot {
		ours, theirs = ours+theirs, ours+theirs
	}
	r.Near.charge(near, ours, r)
	r.Far.charge(far, theirs, r)
	r.CPUPerGB = ratio((near.CPU + far.CPU).D().Seconds(), float64(r.Bytes)/1e9)
}

func (s *Side) charge(u usage, ours time.Duration, r *Result) {
	cpu := u.CPU.D().Seconds()
	s.CPU = &cpu
	s.CPUPerGB = ratio(cpu, float64(r.Bytes)/1e9)
	s.Allocations = ratio(float64(u.Allocations), float64(r.Entries))
	s.OtherLoad = u.otherLoad(ours)
}

// ratio is a/b, or unknown where b is nothing.
func ratio(a, b float64) *float64 {
	if b == 0 {
		return nil
	}
	q := a / b
	return &q
}

func latencyOf(h *hdrhistogram.Histogram) Latency {
	l := Latency{Samples: h.TotalCount(), Bins: []Bin{}}
	if l.Samples == 0 {
		return l
	}
	at := func(ns float64) *float64 { s := ns / 1e9; return &s }
	l.Min, l.Mean, l.Max = at(float64(h.Min())), at(h.Mean()), at(float64(h.Max()))
	for _, q := range []struct {
		to *(*float64)
		q  float64
	}{{&l.P50, 50}, {&l.P90, 90}, {&l.P99, 99}, {&l.P999, 99.9}} {
		*q.to = at(float64(h.ValueAtQuantile(q.q)))
	}
	for _, bar := range h.Distribution() {
		if bar.Count > 0 {
			l.Bins = append(l.Bins, Bin{float64(bar.From) / 1e9, float64(bar.To) / 1e9, bar.Count})
		}
	}
	return l
}
