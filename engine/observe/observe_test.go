package observe_test

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/engine/observe"
	"github.com/claudefs/repl/engine/store"
	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/claudefs/repl/wire/link/linktest"
)

var rewrite = flag.Bool("rewrite", false, "rewrite the files of testdata")

// patience bounds every wait; a passing test needs a fraction.
const patience = 20 * time.Second

func open(t *testing.T, net *linktest.Memory, site, peer string) *engine.Engine {
	e, err := engine.Open(context.Background(), engine.Options{
		Cluster: "test", Site: site, Dir: "/data", Shards: 4, Listen: site, Insecure: true, Primary: "site-a",
		SegmentBytes: 4 << 20, Transport: net, FS: vfs.NewMem(vfs.MemOptions{}), Store: store.NewMem(),
		VerifyWait: 100 * time.Millisecond, Peers: []engine.Peer{{Site: peer, Addrs: []string{peer}}},
	})
	require.NoError(t, err)
	t.Cleanup(func() { _ = e.Close(context.Background()) })
	return e
}

// pair is two sites of which the second has everything.
func pair(t *testing.T) (a, b *engine.Engine) {
	net := linktest.NewMemory()
	a, b = open(t, net, "site-a", "site-b"), open(t, net, "site-b", "site-a")
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	e := &engine.Entry{Op: engine.OpHost, Keys: [][]byte{[]byte("k")}, Payload: []byte("v")}
	for shard := range 4 {
		_, err := a.Append(ctx, engine.Shard(shard), e, engine.Applied(1))
		require.NoError(t, err)
	}
	return a, b
}

// fixed is a snapshot that does not change, of which one peer is silent.
type fixed struct{}

func (fixed) Status() engine.Status {
	at := time.Unix(1_800_000_000, 500_000_000)
	heard := at.Add(-100 * time.Millisecond)
	rtt, lag, bytes, entries, exposed := 0.1, 0.25, int64(4096), int64(3), 17.0
	free, size, full, atLeast := int64(3<<30), int64(10<<30), 3600.0, int64(70)
	known := engine.LagStatus{State: "known", Seconds: &lag, Bytes: &bytes, Entries: &entries}
	unknown := engine.LagStatus{
		State: "unknown", AtLeastSeconds: &exposed, AtLeastBytes: &atLeast, AtLeastEntries: &atLeast,
	}
	return engine.Status{
		At: at, Cluster: "prod", Site: "site-a", Role: "primary", Primary: "site-a", Epoch: 1, Term: 3, Shards: 256,
		Health: "DEGRADED", DataPath: engine.DataPathStatus{Links: "tcp", Files: "portable", Reason: "asked for"},
		Appends: engine.AppendStatus{State: "open", Verified: 256, Entries: 1000, Bytes: 1 << 20, PendingBytes: 512},
		Journals: []engine.JournalStatus{
			{Name: "own", State: "ok", Segments: 2, Bytes: 128 << 20, Units: 40, HeldBy: "site-c"},
			{Name: "mirror", State: "poisoned", Segments: 1, Bytes: 64 << 20, Units: 2, Damage: 1,
				Holes: 3, Repaired: 2, Missing: 1, Suspect: 1},
		},
		Insecure: true, Incoming: engine.IncomingStatus{Silent: 3, Accepted: 1100, Evicted: 600, Refused: 1},
		Disk: engine.DiskStatus{FreeBytes: &free, SizeBytes: &size, FullSeconds: &full},
		Mending: engine.MendingStatus{
			State: engine.MendingFetching, From: "site-b", Shard: 4, Rows: 900, DifferRows: 80, FetchedRows: 40,
			FetchedBytes: 5 << 20, AppliedBytes: 1 << 20, ETASeconds: &full, Torn: 2,
		},
		Orphans: engine.OrphanStatus{Entries: 31, Logs: 2},
		Apply:   engine.ApplyStatus{State: "behind", BacklogEntries: 7, Entries: 993},
		Peers: []engine.PeerStatus{
			{
				Site: "site-b", Transport: "rdma", Health: "OK", Link: "live", HeardAt: &heard, RTTSeconds: &rtt,
				Durable: known, Applied: known, WouldLose: known, PinnedBytes: &bytes,
				WaitingOn: "window", WindowBytes: 25e6, WindowUsed: 12e6,
				SentFrames: 12, SentBytes: 1 << 20, Sessions: 2, Behind: &known, Streams: 1,
				CatchUpRate: &rtt, CatchUpSeconds: &full, LeftOutLogs: 2,
				ReceivedFrames: 7, ReceivedBytes: 1 << 10, AcceptedSessions: 1, StagedBytes: 100,
			},
			{
				Site: "site-c", Transport: "tcp", Health: "DEGRADED", Link: "down", Durable: unknown, Applied: unknown,
				WouldLose: unknown, WaitingOn: "link", Behind: &unknown,
			},
		},
		StoppedLogs: []engine.StoppedLog{{Site: "site-b", Shard: 4}},
	}
}

// timed is a histogram of so many durations, all but one of 2 ms.
func timed(count uint64) engine.Histogram {
	return engine.Histogram{
		Bounds: []float64{0.001, 0.0025}, Counts: []uint64{0, count - 1}, Count: count, Sum: 0.002*float64(count-1) + 3,
	}
}

func (fixed) Counters() engine.Counters {
	return engine.Counters{
		Own: engine.JournalCounters{
			Flushes: 39, Flush: timed(39), Wakes: 20, CopiedBytes: 1 << 20, FileReadBytes: 1, RecentBytes: 4 << 20,
		},
		Events: []engine.EventCounter{{Kind: "link-up", Count: 3}, {Kind: "corruption"}},
		Append: timed(38), Acks: []engine.AckCounters{{Site: "site-b", Durable: timed(12), Applied: timed(4)}},
		Memory: engine.MemoryCounters{RegionBytes: 256 << 20, LentBytes: 8 << 20, HeapBytes: 1 << 20, Spilled: 1},
	}
}

// golden compares with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := "testdata/" + name
	if *rewrite {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), got, "%s: run with -args -rewrite, and commit what you understand", path)
}

// scrape is the whole page.
func scrape(t *testing.T, source observe.Source) string {
	w := httptest.NewRecorder()
	observe.Handler(source).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	require.Equal(t, http.StatusOK, w.Code, w.Body.String())
	return w.Body.String()
}

// TestCatalogueIsAContract: names, types, helps and labels change only by
// additions, because dashboards and alerts of others name them.
func TestCatalogueIsAContract(t *testing.T) {
	var b strings.Builder
	for line := range strings.Lines(scrape(t, fixed{})) {
		if strings.HasPrefix(line, "# ") {
			b.WriteString(line)
		}
	}
	golden(t, "catalogue.txt", b.String())
	descs := make(chan *prometheus.Desc, 1000)
	observe.New(fixed{}).Describe(descs)
	require.Equal(t, strings.Count(b.String(), "# TYPE "), len(descs), "the snapshot shows every metric")
}

func TestScrapeShowsTheSnapshot(t *testing.T) { golden(t, "scrape.txt", scrape(t, fixed{})) }

func TestMetricsFollowPrometheusRules(t *testing.T) {
	faults, err := testutil.CollectAndLint(observe.New(fixed{}))
	require.NoError(t, err)
	require.Empty(t, faults)
	a, b := pair(t)
	for _, source := range []observe.Source{fixed{}, a, b} {
		w := httptest.NewRecorder()
		observe.Handler(source, observe.Process()...).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		faults, err := promlint.New(w.Body).Lint()
		require.NoError(t, err)
		require.Empty(t, faults, "the whole page of a server")
	}
}

// TestUnknownLagIsAbsentAndSaysSo: never zero by ignorance.
func TestUnknownLagIsAbsentAndSaysSo(t *testing.T) {
	page := scrape(t, fixed{})
	require.Contains(t, page, `claudefs_repl_lag_known{level="durable",peer="site-c"} 0`)
	for _, name := range []string{"lag_bytes", "lag_entries", "caught_up_timestamp_seconds"} {
		require.Contains(t, page, name+`{level="durable",peer="site-b"}`)
		require.NotContains(t, page, name+`{level="durable",peer="site-c"}`)
	}
	require.NotContains(t, page, `peer_last_heard_timestamp_seconds{peer="site-c"}`)
	require.NotContains(t, page, `shard=`)
}

// counted passes a snapshot on and counts how often it is asked.
type counted struct {
	fixed
	statuses, counters int
}

func (c *counted) Status() engine.Status     { c.statuses++; return c.fixed.Status() }
func (c *counted) Counters() engine.Counters { c.counters++; return c.fixed.Counters() }

func TestScrapeTakesOneSnapshot(t *testing.T) {
	c := &counted{}
	scrape(t, c)
	require.Equal(t, []int{1, 1}, []int{c.statuses, c.counters})
}

// TestRealPairIsShown: what a scrape says of two connected sites is what their
// status says, and every state is one of its list.
func TestRealPairIsShown(t *testing.T) {
	a, b := pair(t)
	for _, e := range []*engine.Engine{a, b} {
		faults, err := testutil.CollectAndLint(observe.New(e))
		require.NoError(t, err)
		require.Empty(t, faults)
		page := scrape(t, e)
		s := e.Status()
		for _, line := range []string{
			fmt.Sprintf(`claudefs_repl_site_info{cluster="test",primary="site-a",role=%q,site=%q} 1`, s.Role, s.Site),
			`claudefs_repl_data_path_info{files="the host's",links="memory",reason="named by the host"} 1`,
			fmt.Sprintf("claudefs_repl_append_state{state=%q} 1", s.Appends.State),
			fmt.Sprintf("claudefs_repl_apply_entries_total %d", s.Apply.Entries),
			fmt.Sprintf("claudefs_repl_health{state=%q} 1", s.Health),
		} {
			requireLine(t, page, line)
		}
		for _, set := range []string{"health", "append_state", "apply_state", "peer_health", "peer_link"} {
			require.Equal(t, 1, strings.Count(held(page), "claudefs_repl_"+set+"{"), "states of %s that hold", set)
		}
	}
	page := scrape(t, a)
	requireLine(t, scrape(t, b), `claudefs_repl_peer_accepted_sessions_total{peer="site-a"} 1`)
	require.Regexp(t, `claudefs_repl_peer_received_bytes_total{peer="site-a"} [1-9]`, scrape(t, b))
	require.Contains(t, scrape(t, b), `claudefs_repl_standby_lag_known{peer="site-a"}`)
	require.NotContains(t, page, "claudefs_repl_standby_lag_known{")
	requireLine(t, page, "claudefs_repl_append_entries_total 4")
	for _, histogram := range []string{
		`append_duration_seconds_bucket{le="+Inf"}`, `flush_duration_seconds_bucket{journal="own",le="+Inf"}`,
		`ack_duration_seconds_bucket{level="durable",peer="site-b",le="+Inf"}`,
		`ack_duration_seconds_bucket{level="applied",peer="site-b",le="+Inf"}`,
	} {
		require.Regexp(t, regexp.QuoteMeta("claudefs_repl_"+histogram)+" [1-9]", page)
	}
	requireLine(t, page, `claudefs_repl_peer_sessions_total{peer="site-b"} 1`)
	requireLine(t, page, `claudefs_repl_lag_known{level="applied",peer="site-b"} 1`)
	requireLine(t, page, `claudefs_repl_lag_entries{level="applied",peer="site-b"} 0`)
}

// requireLine shows the metric that differs, not the whole page.
func requireLine(t *testing.T, page, line string) {
	t.Helper()
	name := line[:strings.IndexAny(line, "{ ")]
	var seen []string
	for l := range strings.Lines(page) {
		if strings.HasPrefix(l, name) {
			seen = append(seen, strings.TrimSuffix(l, "\n"))
		}
	}
	require.Contains(t, seen, line)
}

// held keeps the lines whose value is 1.
func held(page string) string {
	var b strings.Builder
	for line := range strings.Lines(page) {
		if strings.HasSuffix(line, " 1\n") {
			b.WriteString(line)
		}
	}
	return b.String()
}

func TestClosedEngineIsStillShown(t *testing.T) {
	a, _ := pair(t)
	require.NoError(t, a.Close(context.Background()))
	requireLine(t, scrape(t, a), `claudefs_repl_append_state{state="refused"} 1`)
}
