package cli

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestMomentsAreReadAsPeopleWriteThem(t *testing.T) {
	zone := time.FixedZone("CET", 3600)
	now := time.Date(2026, 11, 30, 15, 4, 5, 0, zone)
	for text, want := range map[string]time.Time{
		"1 hour ago": now.Add(-time.Hour), "an hour ago": now.Add(-time.Hour), "1 HOUR ago": now.Add(-time.Hour),
		"2 hours ago": now.Add(-2 * time.Hour), "2 hours": now.Add(-2 * time.Hour), "90m": now.Add(-90 * time.Minute),
		"1h30m ago": now.Add(-90 * time.Minute), "1 hour 30 minutes ago": now.Add(-90 * time.Minute),
		"3 days ago": now.Add(-72 * time.Hour), "3d": now.Add(-72 * time.Hour), "1 week ago": now.Add(-168 * time.Hour),
		" 30 min ago ": now.Add(-30 * time.Minute), "45 s": now.Add(-45 * time.Second), "now": now, "0s": now,
		"today": time.Date(2026, 11, 30, 0, 0, 0, 0, zone), "yesterday": time.Date(2026, 11, 29, 0, 0, 0, 0, zone),
		"2026-11-01":           time.Date(2026, 11, 1, 0, 0, 0, 0, zone),
		"2026-11-01 10:30":     time.Date(2026, 11, 1, 10, 30, 0, 0, zone),
		"2026-11-01T10:30:01":  time.Date(2026, 11, 1, 10, 30, 1, 0, zone),
		"2026-11-01T10:30:01Z": time.Date(2026, 11, 1, 10, 30, 1, 0, time.UTC),
	} {
		got, err := parseWhen(text, now)
		require.NoError(t, err, text)
		require.True(t, want.Equal(got), "%q: got %v, want %v", text, got, want)
	}
	for _, text := range []string{
		"", "ago", "hour ago", "1 ago", "-1h", "1 fortnight ago", "tomorrow", "1 hour 30", "9999999999 weeks ago",
		"2147483647 weeks", "2027-01-01", "2026-13-01", "1.5.2026", "d", "3 days hence",
	} {
		_, err := parseWhen(text, now)
		require.ErrorContains(t, err, "got ", text)
	}
}
