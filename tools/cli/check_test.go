package cli

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine"
)

var checkDefaults = checkLimits{5 * time.Second, 30 * time.Second, 20, 5, 24 * time.Hour, 2 * time.Hour}

// Each fact has its code, and the worst of them is the answer.
func TestCheckIsAsBadAsTheWorstFact(t *testing.T) {
	full := func(free int64, seconds float64) func(*engine.Status) {
		return func(s *engine.Status) {
			s.Disk = engine.DiskStatus{FreeBytes: &free, SizeBytes: ptr(int64(1000)), FullSeconds: &seconds}
		}
	}
	lag := func(durable, applied engine.LagStatus) func(*engine.Status) {
		return func(s *engine.Status) { s.Peers[0].Durable, s.Peers[0].Applied = durable, applied }
	}
	for name, c := range map[string]struct {
		status *engine.Status
		change func(*engine.Status)
		code   int
	}{
		"healthy":        {healthyStatus(), func(*engine.Status) {}, checkOK},
		"behind":         {behindStatus(), func(*engine.Status) {}, checkWarn},
		"far behind":     {healthyStatus(), lag(known(30, 1, 1), known(30, 1, 1)), checkCritical},
		"applied behind": {healthyStatus(), lag(known(0, 0, 0), known(5, 1, 1)), checkWarn},
		"silent":         {silentStatus(), func(*engine.Status) {}, checkCritical},
		"just silent":    {healthyStatus(), lag(engine.LagStatus{State: "unknown"}, known(0, 0, 0)), checkWarn},
		"failed":         {healthyStatus(), func(s *engine.Status) { s.Health = "FAILED" }, checkCritical},
		"strange":        {healthyStatus(), func(s *engine.Status) { s.Health = "?" }, checkUnknown},
		"refused":        {healthyStatus(), func(s *engine.Status) { s.Appends.State = "refused" }, checkCritical},
		"disk well":      {healthyStatus(), full(500, 1e6), checkOK},
		"disk low":       {healthyStatus(), full(200, 1e6), checkWarn},
		"disk very low":  {healthyStatus(), full(50, 1e6), checkCritical},
		"disk full soon": {healthyStatus(), full(500, 3600), checkCritical},
	} {
		t.Run(name, func(t *testing.T) {
			c.change(c.status)
			r := checkOf(c.status, &checkDefaults)
			require.Equal(t, c.code, r.Code, r.Text)
			for format, print := range checkPrinters {
				var b bytes.Buffer
				require.NoError(t, print(&b, r), format)
				require.NotEmpty(t, b.String(), format)
			}
		})
	}
}

// The formats are promised to scripts.
func TestCheckFormatsAreStable(t *testing.T) {
	s := behindStatus()
	s.Disk = engine.DiskStatus{FreeBytes: ptr(int64(300 << 30)), SizeBytes: ptr(int64(1000 << 30)),
		FullSeconds: ptr(200000.0)}
	r := checkOf(s, &checkDefaults)
	for format, print := range checkPrinters {
		var b bytes.Buffer
		require.NoError(t, print(&b, r))
		if format == "json" {
			golden(t, "json/check.json", b.String())
			continue
		}
		golden(t, "screen/check-"+format+".txt", b.String())
	}
}
