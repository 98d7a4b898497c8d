package loadtest

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// When a run means little.
const (
	rateShareMin     = 0.99   // of the rate asked for
	samplesMin       = 10_000 // ten beyond p99.9
	otherLoadMax     = 0.20   // of all processors' time
	warmDriftMax     = 0.25   // of the first quarter's rate from the others'
	warmEntriesMin   = 20     // in a quarter, to judge its rate
	warmRoundTrips   = 10     // that a warm-up takes at least
	clockJumpMin     = 10 * time.Millisecond
	clockDriftShare  = 0.001 // slewing is not a jump
	errorTextToldMax = 200
)

// Reason is why a run is invalid.
type Reason struct {
	Code string `json:"code"` // interrupted, far_end, errors, unanswered, rate, samples, load, clock, warm
	Text string `json:"text"`
}

// judge returns every reason why the run means little.
func (m *measurement) judge(r *Result, sum *counts, err error) []Reason {
	reasons := []Reason{}
	add := func(bad bool, code, format string, args ...any) {
		if bad {
			reasons = append(reasons, Reason{code, fmt.Sprintf(format, args...)})
		}
	}
	interrupted := errors.Is(err, context.Canceled)
	add(interrupted && r.Elapsed == 0, "interrupted", "interrupted in the warm-up: nothing was measured")
	add(interrupted && r.Elapsed > 0, "interrupted", "interrupted after %s of %s",
		r.Elapsed.D().Round(time.Millisecond), r.Config.Duration.D())
	add(err != nil && !interrupted, "far_end", "%v", err)
	if r.Errors > 0 {
		text := r.ErrorTexts[0]
		add(true, "errors", "%d entries failed: %s", r.Errors, text[:min(len(text), errorTextToldMax)])
	}
	add(r.Unanswered > 0, "unanswered",
		"%d entries had no answer when the waiting ended; they count with the time they waited", r.Unanswered)
	if r.Config.Open() {
		got := 0.0
		if r.Rate != nil {
			got = *r.Rate
		}
		add(got < rateShareMin*r.Config.Rate, "rate",
			"%.1f of %.1f entries/s: the load was not what was asked for", got, r.Config.Rate)
	}
	add(r.Latency.Samples < samplesMin, "samples", "%d samples, p99.9 wants %d: run longer", r.Latency.Samples,
		samplesMin)
	for _, side := range []struct {
		name string
		*Side
	}{{siteNear, &r.Near}, {siteFar, &r.Far}} {
		if l := side.OtherLoad; l != nil && (side.name == siteNear || r.Near.Boot != r.Far.Boot) {
			add(*l > otherLoadMax, "load", "others used %.0f %% of the %s end's processors", 100**l, side.name)
		}
	}
	return append(append(reasons, m.judgeClock()...), judgeWarm(r, sum)...)
}

// judgeClock compares the clock that people read with the one that only counts.
func (m *measurement) judgeClock() []Reason {
	if m.after.at == 0 {
		return nil
	}
	counted := m.after.at - m.before.at
	jump := m.after.wall.Sub(m.before.wall) - counted
	if allowed := clockJumpMin + time.Duration(clockDriftShare*float64(counted)); jump.Abs() <= allowed {
		return nil
	}
	word := "forwards"
	if jump < 0 {
		word = "backwards"
	}
	return []Reason{{"clock", fmt.Sprintf("the clock went %s by %s", word, jump.Abs().Round(time.Millisecond))}}
}

// judgeWarm says whether the load was still finding its pace.
func judgeWarm(r *Result, sum *counts) []Reason {
	reason := func(format string, args ...any) []Reason {
		return []Reason{{"warm", "warm-up too short: " + fmt.Sprintf(format, args...)}}
	}
	c := &r.Config
	if c.Warm == 0 {
		return reason("there was none")
	}
	if c.Warm.D() < warmRoundTrips*c.RTT.D() {
		return reason("%s are less than %d round trips", c.Warm.D(), warmRoundTrips)
	}
	first, rest := float64(sum.answered[0]), 0.0
	for _, n := range sum.answered[1:] {
		rest += float64(n) / (quarters - 1)
	}
	if rest < warmEntriesMin || first > rest*(1-warmDriftMax) && first < rest*(1+warmDriftMax) {
		return nil
	}
	return reason("the first quarter ran at %.2f of the others' rate", first/rest)
}
