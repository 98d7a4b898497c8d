package cli

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/engine/audit"
	"github.com/claudefs/repl/engine/store/journal"
	"github.com/claudefs/repl/tools/demo"
	"github.com/claudefs/repl/tools/fsapi"
	"github.com/claudefs/repl/tools/fsclient"
	"github.com/claudefs/repl/tools/loadtest"
	"github.com/claudefs/repl/tools/namespace"
	"github.com/claudefs/repl/wire"
)

// Every object that a verb prints keeps its keys (rule 3): a key that goes, or
// comes, changes a golden file.
func TestJSONKeysAreStable(t *testing.T) {
	segment := &dumpReport{Schema: 1, Kind: "dump", What: "segment", Rows: []dumpRow{}}
	for _, i := range []journal.Item{
		{Head: &journal.HeadInfo{Kind: journal.Own, Logs: []journal.LogTail{{}}}},
		{Unit: &journal.UnitInfo{Number: 1}},
		{Batch: &wire.BatchHeader{Kind: wire.BatchData, FirstSeq: 1, Count: 1, FirstStamp: wire.StampOf(at),
			LastStamp: wire.StampOf(at)}},
		{Damage: &journal.Damage{Unit: 2, Reason: "reason"}},
	} {
		segment.addItem(&i)
	}
	for name, v := range map[string]any{
		"ack": ackRow{Schema: 1, Kind: "ack"},
		"audit": auditReport{Schema: 1, Kind: "audit", Since: &at, Records: []engine.AuditRecord{{
			Seq: 1, At: at, Actor: &audit.Actor{}, Shard: new(int), Of: 1, Peer: "site-b", Hash: "hash"}}},
		"audit-check": engine.AuditReport{Schema: 1, Kind: "audit-check", Places: []audit.Place{{}}},
		"addrs":       addrs{Schema: 1, Kind: "addrs"},
		"bench":       benchExample(),
		"change":      changeReport{Schema: 1, Kind: "change"},
		"comparison": loadtest.Comparison{Schema: 1, Kind: "comparison", Reasons: []loadtest.Reason{},
			Rows: []loadtest.Row{{Metric: "p99", Unit: loadtest.UnitTime}}, Thresholds: []loadtest.LinkVerdict{{}}},
		"crash":          demo.CrashVerdict{Schema: 1, Kind: "crash"},
		"demo":           demo.Verdict{Schema: 1, Kind: "demo"},
		"failover-drill": demo.DrillVerdict{Schema: 1, Kind: "failover-drill", Lines: []demo.DrillLine{{}}},
		"digest":         digestReport{fsapi.Digest{Schema: 1}, "digest"},
		"dump":           segment,
		"failover": engine.FailoverReport{
			Schema: 1, Kind: "failover", How: engine.FailoverPromotion, Unheard: []string{},
			WorstShards: []engine.FailoverShard{{}}, Peers: []engine.FailoverPeer{{}},
		},
		"forget": engine.ForgetReport{Schema: 1, Kind: "forget"},
		"sites": engine.PeersReport{Schema: 1, Kind: "sites", At: at, Peers: []engine.KnownPeer{{Addrs: []string{}}},
			Removed: []engine.RemovedPeer{{At: at}}},
		"sites-add":    engine.AddReport{Schema: 1, Kind: "sites-add", Addrs: []string{"10.0.1.60:9500"}},
		"sites-remove": engine.ForgetReport{Schema: 1, Kind: "sites-remove"},
		"import":       importReport{Schema: 1, Kind: "import", Report: fsclient.Report{Errors: []string{}}},
		"ls": listReport{Schema: 1, Kind: "ls", Names: []listedName{{
			Path: "path",
			Name: fsapi.EntryOf(&namespace.Entry{Name: "name", Attr: namespace.Attr{Type: namespace.TypeFile}}),
		}}},
		"mend": engine.MendReport{
			Schema: 1, Kind: "mend", At: at, Shards: []engine.MendShard{{State: engine.MendMended}},
		},
		"orphans": engine.OrphansReport{Schema: 1, Kind: "orphans", At: at, Logs: []engine.OrphanLog{{Site: "site-a"}},
			Shown: []engine.OrphanEntry{{Keys: [][]byte{[]byte("key")}}}},
		"sim": simVerdict{Schema: 1, Kind: "sim", FaultsByKind: map[string]int{"kill": 1},
			WorldsByMark: map[string]int{"writer full": 1}, Broken: []simBrokenWorld{{}}},
		"stat": statReport{fsapi.Stat{Schema: 1, Type: "file"}, "stat", at},
		"verify": engine.VerifyReport{Schema: 1, Kind: "verify", At: at, Peers: []engine.VerifyPeer{{
			Differences: []engine.VerifyDifference{{}}, NotCompared: []engine.VerifyGap{{}},
		}}},
		"wait":  waitReport{Schema: 1, Kind: "wait", Conditions: []string{"role=primary"}},
		"xattr": xattrReport{Schema: 1, Kind: "xattr", Xattrs: []fsapi.Xattr{fsapi.XattrOf("name", []byte("value"))}},
		"version": versionInfo{Schema: 1, Kind: "version", Version: "v0.1.0", Go: "go1.26", Platform: "linux/amd64",
			WireVersion: wire.Version},
	} {
		var b bytes.Buffer
		require.NoError(t, (&output{format: FormatJSON, stdout: &b}).object(v))
		golden(t, "json/"+name+".json", b.String())
		require.Contains(t, b.String(), `"schema": 1`)
		require.Contains(t, b.String(), `"kind": "`+name+`"`)
	}
}

// JSON.md names every kind that there is a golden file for.
func TestJSONContractNamesEveryKind(t *testing.T) {
	contract, err := os.ReadFile("JSON.md")
	require.NoError(t, err)
	files, err := os.ReadDir("testdata/json")
	require.NoError(t, err)
	for _, f := range files {
		kind, _, _ := strings.Cut(strings.TrimSuffix(f.Name(), ".json"), "-")
		require.Contains(t, string(contract), "| `"+kind+"` |")
	}
}

// benchExample is a result with every key.
func benchExample() loadtest.Result {
	latency := loadtest.Latency{Bins: []loadtest.Bin{{From: 0.001, To: 0.00101, Count: 7}}}
	return loadtest.Result{
		Schema: 1, Kind: "bench", Reasons: []loadtest.Reason{{Code: "load", Text: "text"}},
		Latency: latency, Late: &latency, ErrorTexts: []string{}, Thresholds: []loadtest.Verdict{{}},
	}
}
