package loadtest

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// RoundsMin is how many rounds a comparison takes at least: with fewer, a spread
// says nothing.
const RoundsMin = 5

// RoundsMax bounds a comparison.
const RoundsMax = 1000

// ratioSpreadMax is how far a ratio's rounds may lie apart, its interquartile
// range by its median, before it is withheld.
const ratioSpreadMax = 0.25

// contenders are compared: the second by the first.
var contenders = [2]string{"portable", "io_uring"}

// Comparison is two links side by side, as JSON in schema 1: keys are only added.
type Comparison struct {
	Schema  int       `json:"schema"` // 1
	Kind    string    `json:"kind"`   // "comparison"
	At      time.Time `json:"at"`
	Invalid bool      `json:"invalid"`
	Reasons []Reason  `json:"invalid_reasons"` // each with its round and link

	Config Config `json:"config"` // its link is ""
	To     string `json:"to"`
	Rounds int    `json:"rounds_count"` // complete ones
	Near   Host   `json:"near"`
	Far    Host   `json:"far"`
	Rows   []Row  `json:"rows"`

	Thresholds []LinkVerdict `json:"thresholds"`
}

// Row is one metric of both links.
type Row struct {
	Metric   string `json:"metric"`
	Unit     Unit   `json:"unit"`
	Portable Spread `json:"portable"`
	Ring     Spread `json:"io_uring"`
	// Ratio is the median of the rounds' io_uring / portable; null = withheld, with
	// the reason.
	Ratio       *float64 `json:"ratio"`
	RatioSpread *float64 `json:"ratio_spread"` // interquartile range by median
	Withheld    string   `json:"ratio_withheld"`
}

// Spread is what the rounds say of one figure; null = none of them knows.
type Spread struct {
	Median *float64 `json:"median"`
	Min    *float64 `json:"min"`
	Max    *float64 `json:"max"`
}

// LinkVerdict is a threshold judged by a link's medians.
type LinkVerdict struct {
	Link string `json:"link"`
	Verdict
}

// comparedMetrics are the rows of a comparison.
var comparedMetrics = []string{
	"rate", "bytes", "p50", "p90", "p99", "p99.9", "max", "cpu", "cpu-near", "cpu-far", "allocs",
}

// Compare runs c over both links, in rounds that change who goes first, and
// judges the medians by thresholds. Said is called with each round's start. After an
// interrupt there is a comparison of the complete rounds, marked invalid, and an
// error as well.
func (s *Session) Compare(ctx context.Context, c Config, rounds int, thresholds []Threshold,
	said func(round int, link string)) (*Comparison, error) {
	if rounds < RoundsMin || rounds > RoundsMax {
		return nil, fmt.Errorf("%w: %d rounds: want %d to %d", ErrConfig, rounds, RoundsMin, RoundsMax)
	}
	var (
		results [2][]*Result
		reasons = []Reason{}
		err     error
	)
	for round := 0; round < rounds && err == nil; round++ {
		var pair [2]*Result
		for turn := range pair {
			i := (turn + round) % 2
			c.Link = contenders[i]
			said(round+1, c.Link)
			if pair[i], err = s.Run(ctx, c); pair[i] != nil {
				for _, reason := range pair[i].Reasons {
					reason.Text = fmt.Sprintf("round %d, %s: %s", round+1, c.Link, reason.Text)
					reasons = append(reasons, reason)
				}
			}
			if err != nil {
				break
			}
		}
		if err == nil {
			results[0], results[1] = append(results[0], pair[0]), append(results[1], pair[1])
		}
	}
	if len(results[0]) == 0 {
		return nil, err
	}
	c.Link = ""
	return comparisonOf(c, results, reasons, thresholds), err
}

func comparisonOf(c Config, results [2][]*Result, reasons []Reason, thresholds []Threshold) *Comparison {
	first := results[0][0]
	x := &Comparison{
		Schema: 1, Kind: "comparison", At: time.Now().UTC(), Invalid: len(reasons) > 0, Reasons: reasons, Config: c,
		To: first.To, Rounds: len(results[0]), Near: first.Near.Host, Far: first.Far.Host, Thresholds: []LinkVerdict{},
	}
	x.Near.Transport, x.Near.Reason, x.Far.Transport, x.Far.Reason = "", "", "", "" // differs by link
	for _, m := range Metrics() {
		if slices.Contains(comparedMetrics, m.Name) {
			x.Rows = append(x.Rows, rowOf(m, results))
		}
	}
	for _, t := range thresholds {
		for i, link := range contenders {
			v := LinkVerdict{link, t.judge(spreadOf(figures(t.metric, results[i])).Median)}
			v.Said = link + ": " + v.Said
			x.Thresholds = append(x.Thresholds, v)
		}
	}
	return x
}

// rowOf compares one metric.
func rowOf(m Metric, results [2][]*Result) Row {
	row := Row{
		Metric: m.Name, Unit: m.Unit,
		Portable: spreadOf(figures(m, results[0])), Ring: spreadOf(figures(m, results[1])),
	}
	var ratios []float64
	for i := range results[0] {
		a, b := m.of(results[0][i]), m.of(results[1][i])
		if a != nil && b != nil && *a != 0 {
			ratios = append(ratios, *b / *a)
		}
	}
	if len(ratios) < RoundsMin {
		row.Withheld = fmt.Sprintf("%d rounds have it, %d are wanted", len(ratios), RoundsMin)
		return row
	}
	slices.Sort(ratios)
	median := quantile(ratios, 0.5)
	row.RatioSpread = ratio(quantile(ratios, 0.75)-quantile(ratios, 0.25), median)
	if row.RatioSpread == nil || *row.RatioSpread > ratioSpreadMax {
		row.Withheld = "the rounds differ too much"
		if row.RatioSpread != nil {
			row.Withheld = fmt.Sprintf("the rounds differ by %.0f %%, at most %.0f %%", 100**row.RatioSpread,
				100*ratioSpreadMax)
		}
		return row
	}
	row.Ratio = &median
	return row
}

func figures(m Metric, results []*Result) (all []float64) {
	for _, r := range results {
		if f := m.of(r); f != nil {
			all = append(all, *f)
		}
	}
	return all
}

func spreadOf(all []float64) Spread {
	if len(all) == 0 {
		return Spread{}
	}
	slices.Sort(all)
	lo, mid, hi := all[0], quantile(all, 0.5), all[len(all)-1]
	return Spread{&mid, &lo, &hi}
}

// quantile of sorted figures, between two of them by how near it is to each.
func quantile(sorted []float64, q float64) float64 {
	at := q * float64(len(sorted)-1)
	i := int(at)
	if i+1 == len(sorted) {
		return sorted[i]
	}
	return sorted[i] + (at-float64(i))*(sorted[i+1]-sorted[i])
}
