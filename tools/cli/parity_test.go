package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/engine/observe"
)

// fullStatus has a value for every key of the status.
func fullStatus() *engine.Status {
	s, unknown, standby := behindStatus(), silentStatus().Peers[0].Durable, standbyStatus().Peers[0]
	s.Incoming = engine.IncomingStatus{Silent: 3, Accepted: 1100, Evicted: 600, Refused: 1}
	free, size := int64(3<<30), int64(10<<30)
	s.Disk = engine.DiskStatus{FreeBytes: &free, SizeBytes: &size, FullSeconds: ptr(3600.0)}
	s.Journals[1] = engine.JournalStatus{Name: "mirror", State: "impeded", Reason: "reason", HeldBy: "site-b",
		Segments: 3, Bytes: 9 << 20, Units: 7, Damage: 2, Holes: 5, Repaired: 2, Missing: 3, Suspect: 2}
	s.Appends.PendingBytes, s.Appends.Unverified, s.Appends.Waiting, s.Appends.Refused = 1<<20, 2, 3, 4
	s.Apply = engine.ApplyStatus{State: "behind", BacklogEntries: 40, Entries: 7}
	s.Mending = engine.MendingStatus{State: "fetching", Reason: "reason", From: "site-b", Shard: 4, Rows: 900,
		DifferRows: 80, FetchedRows: 40, FetchedBytes: 5 << 20, AppliedBytes: 1 << 20, ETASeconds: ptr(9.0), Torn: 2}
	s.Orphans = engine.OrphanStatus{Entries: 31, Logs: 2, Reason: "reason"}
	s.StoppedLogs = []engine.StoppedLog{{Site: "site-b", Shard: 4, Code: "gap", Reason: "reason"}}
	p := &s.Peers[0]
	p.Streams, p.StagedBytes, p.LeftOutLogs, p.PinnedBytes = 4, 1<<20, 2, ptr(int64(5<<20))
	standby.Durable, standby.Applied, standby.WouldLose = unknown, unknown, unknown
	standby.Site, standby.Role, standby.Streams = "site-c", "standby", 2
	s.Peers = append(s.Peers, standby)
	standby.Site, standby.Behind = "site-d", &engine.LagStatus{State: "unknown", AtLeastSeconds: ptr(7.0)}
	s.Peers = append(s.Peers, standby)
	return s
}

// statusSource shows one status to metrics.
type statusSource struct{ status *engine.Status }

func (s statusSource) Status() engine.Status   { return *s.status }
func (statusSource) Counters() engine.Counters { return engine.Counters{} }

func metricsPage(s *engine.Status) string {
	w := httptest.NewRecorder()
	observe.Handler(statusSource{s}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	return w.Body.String()
}

func wideScreen(s *engine.Status) string {
	return statusScreen(s, &output{format: FormatWide, stdout: &bytes.Buffer{}}).String()
}

// stateWords are two words of each fact that is a state, by the last part of its key.
var stateWords = map[string][2]string{
	"health": {"FAILED", "OK"}, "state": {"stopped", "ok"}, "link": {"refused", "live"},
	"lag_state": {"known", "unknown"},
	"held_by":   {"store", "site-b"}, "waiting_on": {"disk", "link"}, "transport": {"rdma", "tcp"},
}

// variants calls with for each number, bool and state below v, each changed in its turn.
func variants(key, last string, v any, set func(any), with func(key string)) {
	switch v := v.(type) {
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			variants(key+"."+k, k, v[k], func(other any) { v[k] = other }, with)
		}
		return
	case []any:
		for i := range v {
			variants(fmt.Sprintf("%s.%d", key, i), last, v[i], func(other any) { v[i] = other }, with)
		}
		return
	case float64:
		set(3*v + 7)
	case bool:
		set(!v)
	case string:
		words, ok := stateWords[last]
		if !ok {
			return
		}
		if set(words[0]); v == words[0] {
			set(words[1])
		}
	default:
		return
	}
	with(key[1:])
	set(v)
}

// notShown are facts of the JSON that metrics or the screen leave out, and why.
var notShown = map[string]map[string]string{
	"metrics": {
		`schema`:                "of the JSON itself",
		`transport`:             "data_path_info has it",
		`journals\.\d+\.state`:  "metrics have poisoned and impeded",
		`.*stopped_logs.*shard`: "no label names a shard",
		`mending\.shard`:        "no label names a shard",
		`.*would_lose_now.*`:    "at the durable level",
	},
	"screen": {
		`journals\.0\.(holes_|suspect).*`:           "there is no hole",
		`peers\.[12]\..*lag_state`:                  "a lag without numbers is unknown",
		`peers\.[12]\..*\.at_least_(bytes|entries)`: "would lose has them, and the verb lag",
		`schema`: "of the JSON itself",
	},
}

// Each number and state of the status as JSON is on the wide screen and in the metrics. What
// the screen shows, JSON has: it is made of nothing else.
func TestStatusFactsAreShownEverywhere(t *testing.T) {
	encoded, err := json.Marshal(fullStatus())
	require.NoError(t, err)
	var tree any
	require.NoError(t, json.Unmarshal(encoded, &tree))
	for name, show := range map[string]func(*engine.Status) string{"metrics": metricsPage, "screen": wideScreen} {
		before, used := show(fullStatus()), map[string]bool{}
		variants("", "", tree, nil, func(key string) {
			encoded, err := json.Marshal(tree)
			require.NoError(t, err)
			var s engine.Status
			require.NoError(t, json.Unmarshal(encoded, &s))
			if show(&s) != before {
				return
			}
			for pattern := range notShown[name] {
				if regexp.MustCompile("^" + pattern + "$").MatchString(key) {
					used[pattern] = true
					return
				}
			}
			t.Errorf("%s do not tell %s", name, key)
		})
		for pattern := range notShown[name] {
			assert.True(t, used[pattern], "%s: %s is left out for nothing", name, pattern)
		}
	}
}
