package cli

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// whenUnits are the units of "3 days ago", in the singular.
var whenUnits = map[string]time.Duration{
	"second": time.Second, "sec": time.Second, "s": time.Second,
	"minute": time.Minute, "min": time.Minute, "m": time.Minute,
	"hour": time.Hour, "hr": time.Hour, "h": time.Hour,
	"day": 24 * time.Hour, "d": 24 * time.Hour, "week": 7 * 24 * time.Hour, "w": 7 * 24 * time.Hour,
}

// whenLayouts are the times that are taken as such; those without a zone are local.
var whenLayouts = []string{
	time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02",
}

// parseWhen reads a moment that is not in the future: "1 hour ago", "90m", "yesterday", "2026-11-30 12:00",
// or RFC 3339. Days are calendar days in now's zone for "today" and "yesterday" only.
func parseWhen(text string, now time.Time) (time.Time, error) {
	given := strings.ToLower(strings.TrimSpace(text))
	midnight := time.Date(now.Year(), now.Month(), now.Day(), 0, 0, 0, 0, now.Location())
	switch given {
	case "now":
		return now, nil
	case "today":
		return midnight, nil
	case "yesterday":
		return midnight.AddDate(0, 0, -1), nil
	}
	for _, layout := range whenLayouts {
		at, err := time.ParseInLocation(layout, strings.TrimSpace(text), now.Location())
		if err == nil && at.After(now) {
			return at, fmt.Errorf("got %q, which is still to come", text)
		}
		if err == nil {
			return at, nil
		}
	}
	if span, ok := parseSpan(strings.TrimSuffix(given, " ago")); ok {
		return now.Add(-span), nil
	}
	return time.Time{}, fmt.Errorf(
		"got %q, want a moment like %q, %q, %q or %q", text, "1 hour ago", "90m", "yesterday", "2026-11-30 12:00")
}

// parseSpan reads "1h30m", "1 hour", "an hour", "2 days", "1 day 2 hours".
func parseSpan(text string) (time.Duration, bool) {
	if span, err := time.ParseDuration(text); err == nil {
		return span, span >= 0
	}
	words := strings.Fields(text)
	if len(words) == 1 { // "2d", which Go's durations do not have
		at := strings.IndexFunc(text, func(r rune) bool { return r < '0' || r > '9' })
		if at <= 0 {
			return 0, false
		}
		words = []string{text[:at], text[at:]}
	}
	if len(words) == 0 || len(words)%2 != 0 {
		return 0, false
	}
	var sum time.Duration
	for i := 0; i < len(words); i += 2 {
		count, err := strconv.ParseUint(words[i], 10, 31)
		if words[i] == "a" || words[i] == "an" {
			count, err = 1, nil
		}
		unit, known := whenUnits[words[i+1]]
		if !known {
			unit, known = whenUnits[strings.TrimSuffix(words[i+1], "s")]
		}
		if err != nil || !known || count > uint64((1<<62)/unit) {
			return 0, false
		}
		if sum += time.Duration(count) * unit; sum < 0 {
			return 0, false
		}
	}
	return sum, true
}
