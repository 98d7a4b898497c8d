package loadtest

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func ptr[T any](v T) *T { return &v }

// soundRun is a run that nothing is wrong with.
func soundRun() (*measurement, *Result, *counts) {
	c := Config{Rate: 1000, Warm: Seconds(time.Second), Duration: Seconds(20 * time.Second)}
	m := &measurement{config: &c, before: both{at: time.Second, wall: time.Unix(100, 0)}}
	m.after = both{at: 21 * time.Second, wall: time.Unix(120, 0)}
	r := &Result{Config: c, Elapsed: c.Duration, Rate: ptr(1000.0), Latency: Latency{Samples: 20_000}}
	r.Near.OtherLoad = ptr(0.01)
	return m, r, &counts{answered: [quarters]int64{5000, 5000, 5000, 5000}}
}

func TestEveryReasonToDoubtAResultIsTold(t *testing.T) {
	for code, spoil := range map[string]func(m *measurement, r *Result, sum *counts) error{
		"": func(*measurement, *Result, *counts) error { return nil },
		"interrupted": func(_ *measurement, r *Result, _ *counts) error {
			r.Elapsed = Seconds(time.Second)
			return context.Canceled
		},
		"far_end": func(*measurement, *Result, *counts) error { return ErrLost },
		"errors": func(_ *measurement, r *Result, _ *counts) error {
			r.Errors, r.ErrorTexts = 3, []string{"disk full"}
			return nil
		},
		"unanswered": func(_ *measurement, r *Result, _ *counts) error { r.Unanswered = 1; return nil },
		"rate":       func(_ *measurement, r *Result, _ *counts) error { r.Rate = ptr(989.0); return nil },
		"samples":    func(_ *measurement, r *Result, _ *counts) error { r.Latency.Samples = 9999; return nil },
		"load":       func(_ *measurement, r *Result, _ *counts) error { r.Near.OtherLoad = ptr(0.3); return nil },
		"clock": func(m *measurement, _ *Result, _ *counts) error {
			m.after.wall = m.before.wall.Add(-time.Second)
			return nil
		},
		"warm": func(_ *measurement, _ *Result, sum *counts) error { sum.answered[0] = 2000; return nil },
	} {
		t.Run(code, func(t *testing.T) {
			m, r, sum := soundRun()
			reasons := m.judge(r, sum, spoil(m, r, sum))
			if code == "" {
				require.Empty(t, reasons)
				return
			}
			require.Len(t, reasons, 1)
			require.Equal(t, code, reasons[0].Code)
			require.NotEmpty(t, reasons[0].Text)
		})
	}
}

func TestWarmUpIsComparedWithTheDistance(t *testing.T) {
	m, r, sum := soundRun()
	r.Config.RTT = Seconds(200 * time.Millisecond)
	require.Equal(t, "warm", m.judge(r, sum, nil)[0].Code)
	r.Config.RTT = Seconds(100 * time.Millisecond)
	require.Empty(t, m.judge(r, sum, nil))
	r.Config.Warm = 0
	require.Contains(t, m.judge(r, sum, nil)[0].Text, "there was none")
}

func TestClockThatGoesBackwardsIsNamed(t *testing.T) {
	m, r, sum := soundRun()
	m.after.wall = m.before.wall.Add(10 * time.Second)
	require.Equal(t, "the clock went backwards by 10s", m.judge(r, sum, nil)[0].Text)
}

func TestThresholdsAreReadAndJudged(t *testing.T) {
	r := &Result{Rate: ptr(9000.0), BytesPerSecond: ptr(1e6), Errors: 2}
	r.Latency.P99, r.Latency.P999 = ptr(0.0075), ptr(1.25)
	for text, want := range map[string]string{
		"p99>5ms":        "p99 is 7.5ms, limit 5ms: over by 2.5ms (50 %)",
		"p99 >= 7500us":  "p99 is 7.5ms, limit 7.5ms: over by 0s (0 %)",
		"p99>7500us":     "",
		"p99.9>1s":       "p99.9 is 1.25s, limit 1s: over by 250ms (25 %)",
		"rate<10000":     "rate is 9000, limit 10000: short by 1000 (10 %)",
		" rate < 9000 ":  "",
		"rate<=9000":     "rate is 9000, limit 9000: short by 0 (0 %)",
		"bytes<2000000":  "bytes is 1000000, limit 2000000: short by 1000000 (50 %)",
		"errors>0":       "errors is 2, limit 0: over by 2",
		"unanswered>0":   "",
		"invalid>0":      "",
		"cpu>3":          "cpu is unknown: nothing was measured",
		"max>10ms":       "max is unknown: nothing was measured",
		"allocs>1000000": "allocs is unknown: nothing was measured",
	} {
		threshold, err := ParseThreshold(text)
		require.NoError(t, err, text)
		v := threshold.Judge(r)
		require.Equal(t, want != "", v.Missed, text)
		if v.Missed {
			require.Equal(t, want, v.Said)
		}
		require.Equal(t, text, v.Text)
	}
}

func TestBadThresholdIsRefusedWithItsFault(t *testing.T) {
	for text, want := range map[string]string{
		"":              "is not METRIC>LIMIT",
		"p99":           "is not METRIC>LIMIT",
		"p99=5ms":       "is not METRIC>LIMIT",
		"p99>5ms p50":   "is not METRIC>LIMIT",
		"p98>5ms":       `no metric "p98"`,
		"p99>5":         "p99 is a time",
		"p99>fast":      "p99 is a time",
		"rate<5ms":      "rate is a number",
		"rate<1000000k": "rate is a number",
	} {
		_, err := ParseThreshold(text)
		require.ErrorIs(t, err, ErrThreshold, text)
		require.ErrorContains(t, err, want, text)
	}
}

// roundsOf makes results whose rate is given, by link.
func roundsOf(portable, ring []float64) (results [2][]*Result) {
	for i, all := range [][]float64{portable, ring} {
		for _, rate := range all {
			results[i] = append(results[i], &Result{Rate: ptr(rate)})
		}
	}
	return results
}

func rateRow(x *Comparison) Row {
	for _, row := range x.Rows {
		if row.Metric == "rate" {
			return row
		}
	}
	return Row{}
}

func TestRatioIsTheMedianOfItsRounds(t *testing.T) {
	threshold, err := ParseThreshold("rate<150")
	require.NoError(t, err)
	x := comparisonOf(Config{}, roundsOf([]float64{100, 110, 90, 100, 105}, []float64{200, 220, 180, 210, 210}),
		nil, []Threshold{threshold})
	row := rateRow(x)
	require.Equal(t, 100.0, *row.Portable.Median)
	require.Equal(t, 90.0, *row.Portable.Min)
	require.Equal(t, 110.0, *row.Portable.Max)
	require.Equal(t, 2.0, *row.Ratio)
	require.Empty(t, row.Withheld)
	require.Len(t, x.Thresholds, 2, "each link is judged")
	require.True(t, x.Thresholds[0].Missed)
	require.Equal(t, "portable: rate is 100, limit 150: short by 50 (33 %)", x.Thresholds[0].Said)
	require.False(t, x.Thresholds[1].Missed)
}

func TestRatioIsWithheldWhenItsRoundsDiffer(t *testing.T) {
	results := roundsOf([]float64{100, 100, 100, 100, 100}, []float64{50, 80, 100, 150, 200})
	row := rateRow(comparisonOf(Config{}, results, nil, nil))
	require.Nil(t, row.Ratio)
	require.InDelta(t, 0.7, *row.RatioSpread, 1e-9)
	require.Equal(t, "the rounds differ by 70 %, at most 25 %", row.Withheld)
	row = rateRow(comparisonOf(Config{}, roundsOf([]float64{100, 100}, []float64{200, 200}), nil, nil))
	require.Nil(t, row.Ratio)
	require.Equal(t, "2 rounds have it, 5 are wanted", row.Withheld)
}

func TestConfigurationTellsAllItsFaultsAtOnce(t *testing.T) {
	err := (&Config{Level: "often", Link: "pigeon", Clients: 1, Rate: 1, SizeBytes: 2 << 20, Duration: 1, Warm: -1,
		RTT: Seconds(time.Hour), Bandwidth: 1}).Validate()
	require.ErrorIs(t, err, ErrConfig)
	for _, want := range []string{`level "often"`, `link "pigeon"`, "either clients", "size 2097152", "0 shards",
		"duration 1ns", "warm-up -1ns", "round trip 1h0m0s", "bandwidth 1 bit/s"} {
		require.ErrorContains(t, err, want)
	}
}

// Both ends compare configurations after a journey as JSON.
func TestConfigurationSurvivesItsJSON(t *testing.T) {
	for _, d := range []time.Duration{1, 999, 123456789, time.Second/3 + 1, DurationMax - 1} {
		c := Config{Level: LevelApplied, Rate: 1.0 / 3, Duration: Seconds(d), Warm: Seconds(d / 7), Memory: true}
		text, err := json.Marshal(c)
		require.NoError(t, err)
		var back Config
		require.NoError(t, json.Unmarshal(text, &back))
		require.Equal(t, c, back)
	}
	require.Error(t, json.Unmarshal([]byte("1e300"), new(Seconds)))
}

func TestLastWordsAreBounded(t *testing.T) {
	w := &lastWords{}
	for range 3 {
		n, err := w.Write([]byte(strings.Repeat("x", lastWordsMax-1) + "\n"))
		require.NoError(t, err)
		require.Equal(t, lastWordsMax, n)
	}
	require.Len(t, w.String(), lastWordsMax-1)
}

func TestFarErrorKeepsItsClass(t *testing.T) {
	for _, class := range refusals {
		require.ErrorIs(t, failed(errors.Join(errors.New("fact"), class)).reason(), class)
	}
	err := failed(errors.New("fact")).reason()
	require.EqualError(t, err, "far end: fact")
	require.NoError(t, (&message{Word: "ready"}).reason())
}
