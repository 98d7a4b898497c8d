package cli

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine"
)

var rewrite = flag.Bool("rewrite", false, "write what the verbs print now into the golden files")

// golden compares got with a file of testdata. A file is rewritten with
// -rewrite and committed only when the difference is understood.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *rewrite {
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), got, "%s differs: run with -rewrite if that is meant", path)
}

func ptr[T any](v T) *T { return &v }

// at is the moment of all golden statuses.
var at = time.Date(2026, 11, 22, 10, 30, 0, 0, time.UTC)

func known(seconds float64, bytes, entries int64) engine.LagStatus {
	return engine.LagStatus{State: "known", Seconds: &seconds, Bytes: &bytes, Entries: &entries}
}

// healthyStatus is a primary whose peer has everything.
func healthyStatus() *engine.Status {
	return &engine.Status{
		Schema: 1, Kind: "status", At: at, Cluster: "prod", Site: "site-a", Role: "primary", Primary: "site-a",
		Epoch: 1, Term: 3, Shards: 256, Health: "OK", Transport: "tcp",
		TransportReason: "io_uring is not part of this release", Listen: "10.0.1.40:9500", Insecure: true,
		Mending: engine.MendingStatus{State: "none"}, MayPromoteReason: "it writes",
		DataPath: engine.DataPathStatus{
			Links: "tcp", Files: "portable", Reason: "io_uring is not part of this release",
		},
		Appends: engine.AppendStatus{State: "open", Verified: 256, Entries: 183402, Bytes: 581234567},
		Journals: []engine.JournalStatus{
			{Name: "own", State: "ok", Segments: 10, Bytes: 601 << 20, Units: 4211},
			{Name: "mirror", State: "ok", Segments: 1, Bytes: 4096, Units: 2},
		},
		Apply: engine.ApplyStatus{State: "ok", Entries: 183402},
		Peers: []engine.PeerStatus{{
			Site: "site-b", Role: "standby", Health: "OK", Link: "live", Addr: "10.0.1.50:9500", Transport: "tcp",
			Streams: 1, HeardAt: ptr(at.Add(-100 * time.Millisecond)), RTTSeconds: ptr(0.00031),
			Durable: known(0, 0, 0), Applied: known(0, 0, 0), WindowBytes: 64 << 20,
			SentFrames: 812, SentBytes: 581300000, Sessions: 1, WouldLose: known(0, 0, 0),
			MayPromote: true, StoppedLogs: []engine.StoppedLog{},
		}},
		StoppedLogs: []engine.StoppedLog{},
	}
}

// behindStatus is a primary whose peer trails, with a log that does not move.
func behindStatus() *engine.Status {
	s := healthyStatus()
	s.Health, s.Reason = "DEGRADED", "site-b: lag 12.4s, waiting on apply; 1 log stopped"
	p := &s.Peers[0]
	p.Health, p.Reason = "DEGRADED", "lag 12.4s, waiting on apply; 1 log stopped"
	p.Link, p.WaitingOn, p.WindowUsed = "catching up", "apply", 18<<20
	p.Durable, p.Applied = known(0.4, 1_992_294, 2301), known(12.4, 32_505_856, 40211)
	p.WouldLose = p.Durable
	p.CatchUpRate, p.CatchUpSeconds = ptr(996_147.0), ptr(2.0)
	p.StoppedLogs = []engine.StoppedLog{{Site: "site-a", Shard: 12, Code: "chain",
		Reason: "seq 4711: histories differ from seq 4690 on"}}
	return s
}

// silentStatus is a primary that has not heard of its peer for a while.
func silentStatus() *engine.Status {
	s := healthyStatus()
	s.Health, s.Reason = "DEGRADED", "site-b: link down: connection refused"
	s.Appends = engine.AppendStatus{State: "partly", Reason: "2 shards wait for a peer's word",
		Unverified: 254, Waiting: 2}
	s.Journals[1] = engine.JournalStatus{Name: "mirror", State: "poisoned", Reason: "write: no space left on device",
		Segments: 3, Damage: 1, Holes: 5, Repaired: 2, Missing: 3, Suspect: 2}
	p := &s.Peers[0]
	p.Health, p.Reason = "DEGRADED", "link down: connection refused"
	p.Link, p.WaitingOn, p.RTTSeconds, p.HeardAt = "down", "peer", nil, ptr(at.Add(-41*time.Second))
	unknown := engine.LagStatus{State: "unknown", AtLeastSeconds: ptr(38.2),
		AtLeastBytes: ptr(int64(70_000_000)), AtLeastEntries: ptr(int64(2301))}
	p.Durable, p.Applied, p.WouldLose = unknown, unknown, unknown
	return s
}

// standbyStatus is a standby that has not got all that the writer told of.
func standbyStatus() *engine.Status {
	s := healthyStatus()
	s.Site, s.Role, s.Appends = "site-b", "standby", engine.AppendStatus{State: "standby", Reason: "site site-a writes"}
	s.Apply = engine.ApplyStatus{State: "behind", BacklogEntries: 40, Entries: 7}
	s.MayPromote, s.MayPromoteReason = true, ""
	p := &s.Peers[0]
	p.Site, p.Role, p.ReceivedFrames, p.ReceivedBytes, p.AcceptedSessions = "site-a", "primary", 812, 581300000, 2
	p.StagedBytes, p.Behind = 1<<20, &engine.LagStatus{State: "known", Seconds: ptr(1.25)}
	return s
}

func TestFirstScreenSaysHealthLagAndLoss(t *testing.T) {
	for name, s := range map[string]*engine.Status{
		"healthy": healthyStatus(), "behind": behindStatus(), "silent": silentStatus(),
		"standby": standbyStatus(),
	} {
		for _, format := range []Format{FormatTable, FormatWide} {
			t.Run(name+"/"+string(format), func(t *testing.T) {
				o := &output{format: format, stdout: &bytes.Buffer{}}
				golden(t, "screen/status-"+name+"-"+string(format)+".txt", statusScreen(s, o).String())
			})
		}
	}
}

// A lag that nobody knows is never printed as a number (rule 6).
func TestUnknownLagIsNeverANumber(t *testing.T) {
	s := silentStatus()
	for _, format := range []Format{FormatTable, FormatWide} {
		var b bytes.Buffer
		require.NoError(t, lagTable(&b, &output{format: format, stdout: &b}, s))
		golden(t, "screen/lag-silent-"+string(format)+".txt", b.String())
		require.Contains(t, b.String(), "unknown (no ack for 41.0s, at least 38.2s behind)")
	}
	var b bytes.Buffer
	require.NoError(t, (&output{format: FormatJSON, stdout: &b}).object(lagReportOf(s)))
	golden(t, "json/lag-silent.json", b.String())
	require.Contains(t, b.String(), `"lag_seconds": null`)
}

func TestLagTableHasOneRowForEachPeerAndLevel(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, lagTable(&b, &output{format: FormatTable, stdout: &b}, behindStatus()))
	golden(t, "screen/lag-behind.txt", b.String())
}

func TestStatusJSONIsStable(t *testing.T) {
	for name, s := range map[string]*engine.Status{"healthy": healthyStatus(), "silent": silentStatus()} {
		var b bytes.Buffer
		require.NoError(t, (&output{format: FormatJSON, stdout: &b}).object(s))
		golden(t, "json/status-"+name+".json", b.String())
	}
}

// run is one call of cfs inside this process.
func run(args ...string) (code int, stdout, stderr string) {
	var out, err bytes.Buffer
	code = Main(args, strings.NewReader(""), &out, &err)
	return code, out.String(), err.String()
}

func TestEveryVerbHasAnImpactAndAShortLine(t *testing.T) {
	code, stdout, stderr := run("commands", "-o", "json")
	require.Zero(t, code, stderr)
	golden(t, "json/commands.json", stdout)
	require.NotContains(t, stdout, `"short": ""`+",\n      \"usage\"")
}

func TestRootHelpFitsAScreen(t *testing.T) {
	code, stdout, stderr := run()
	require.Zero(t, code, stderr)
	golden(t, "screen/help.txt", stdout)
	require.LessOrEqual(t, strings.Count(stdout, "\n"), 24)
}

func TestHelpPagesAreGolden(t *testing.T) {
	for _, page := range []string{"exit-codes", "formats", "glossary"} {
		code, stdout, stderr := run("help", page)
		require.Zero(t, code, stderr)
		golden(t, "screen/help-"+page+".txt", stdout)
	}
}
