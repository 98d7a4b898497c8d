package event

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/wire"
)

// names call site 1 site-a.
func names(site wire.SiteID) string { return "site-" + string(rune('a'+site-1)) }

// each is one event of every type, with what people read.
func each() map[Event]string {
	at := Place{Peer: 2, Log: wire.LogID{Site: 1, Shard: 7}}
	tail := func(seq wire.Seq) wire.Position { return wire.Position{Incarnation: wire.Incarnation{1}, Seq: seq} }
	other := wire.Position{Incarnation: wire.Incarnation{2}, Seq: 3}
	why := errors.New("no space")
	hole := Stretch{From: tail(4), To: tail(9)}
	own := Stretch{From: tail(4), To: tail(9), Own: true}
	first, second := Session{1, 4}, Session{2, 5}
	zeros := strings.Repeat("0", 30)
	return map[Event]string{
		&LinkUp{at, first, true}:         "site site-b answered, session 1/4",
		&LinkUp{at, first, false}:        "session 1/4 of site site-b",
		&LinkDown{at, true, "reset"}:     "session to site site-b ended: reset",
		&LinkDown{at, false, "x"}:        "session of site site-b ended: x",
		&LinkClosed{at, why}:             "link closed: no space",
		&SessionRefused{at, 3, "x"}:      "refused a session: x",
		&SessionEnded{at, 3, "x"}:        "session of site site-b ended: x",
		&RefusedByPeer{at, 3, "x"}:       "site site-b refused us: x",
		&SessionStale{at, first, second}: "session 1/4 of site site-b is not newer than 2/5, the highest seen here",
		&EpochRaised{at, 2<<32 | 2, 2, "site-b"}: "site site-b writes from now on, in epoch 2.00000002, " +
			"by the word of site-b",
		&Superseded{at, second, first}: "session 2/5 of site site-b takes over from 1/4",
		&SessionSurpassed{at, second, 1}: "site site-b has seen session 2/5 under our name, our journal's term " +
			"is 1: " +
			"another node with our identity, or our journal is an older copy",
		&SessionTaken{at}: "site site-b took a session under our name that is not ours: " +
			"another node has our identity",
		&FrameCorrupt{at, 8, why}: "frame 8 of site site-b does not hold: no space",
		&LogsLeftOut{at, 3}:       "site site-b leaves 3 of its logs out of the session: its status tells why",
		&Forgotten{at, false, false, "", 5, 2, 0}: "site site-b is forgotten, which never answered: 5 entries of " +
			"2 shards are not kept for it any more",
		&Forgotten{at, true, false, "", 5, 2, 1}: "site site-b is forgotten, which is gone for good: 5 entries of " +
			"2 shards are not kept for it any more, and 1 that only it has are given up",
		&Forgotten{at, true, true, "admin x", 5, 2, 1}: "site site-b is removed by admin x, and refused from now on: " +
			"5 entries of 2 shards are not kept for it any more, and 1 that only it has are given up",
		&SiteAdded{at, false, true, []string{"b:1", "b:2"}}: "site site-b is taken in, and is dialed at b:1, b:2: a " +
			"learner, which counts for nothing until it holds everything",
		&SiteAdded{at, true, false, []string{"b:1"}}: "site site-b was known, and is dialed at b:1",
		&SiteFull{at}: "site site-b holds everything: it is a learner no more, and counts from now on",
		&SiteNamed{at, []string{"b:1"}, []string{"b:2"}, ""}: "site site-b is named as a peer at b:1, on record at " +
			"b:2: the configuration wins, and is on record now",
		&SiteNamed{at, nil, nil, "by admin x on 2026-11-30"}: "site site-b is named as a peer and was removed by " +
			"admin x on 2026-11-30: the name counts for nothing; leave it out, or take the site in again: " +
			"cfs admin replication sites add site-b --addr ADDR",
		&PeerBehind{at, tail(3), tail(8)}: "site site-a shard 7: site site-b came back with seq 3, " +
			"it once confirmed seq 8: an older image? sending again from there",
		&PeerBehind{at, other, tail(8)}: "site site-a shard 7: site site-b came back with seq 3 of incarnation 02" +
			zeros + ", it once confirmed seq 8 of incarnation 01" + zeros,
		&LogStopped{at, 33, "x"}: "site site-a shard 7 stopped towards site site-b: x",
		&LogRefused{at, 33, "x"}: "refused site site-a shard 7 from site site-b: x",
		&LostFetched{at, tail(3), tail(8)}: "site site-a shard 7: the journal ends at seq 3, site site-b has " +
			"seq 8: fetching it back",
		&DataRestored{at, tail(8), tail(8)}: "site site-a shard 7: site site-b gave back everything up to seq 8",
		&DataRestored{at, tail(9), tail(8)}: "site site-a shard 7: seq 9 is here again, site site-b has it up " +
			"to seq 8",
		&LostBeforeStore{at, tail(3), tail(8), true}: "site site-a shard 7: the journal ends at seq 3, the " +
			"Store is at " +
			"seq 8: the log goes on behind that, by the operator's word; what was acknowledged and not applied " +
			"is lost",
		&LostBeforeStore{at, tail(3), tail(8), false}: "site site-a shard 7: the journal ends at seq 3, the " +
			"Store is at " +
			"seq 8, and no site keeps what lies between: the log goes on behind the Store; what was " +
			"acknowledged here " +
			"only, and not applied, is lost",
		&LostInDamage{at, tail(3)}: "site site-a shard 7: the damaged journal can be read up to seq 3, and no " +
			"site has " +
			"more: the log goes on behind that; what was acknowledged here only, and lay in the damage, is lost",
		&Unverified{Place{}, 1, 3, 4, time.Second, "site-b"}: "site site-a takes appends in 3 of 4 shards " +
			"although not " +
			"every peer confirmed their tails within 1s: site-b",
		&LogDamaged{at, hole}: "site site-a shard 7: seqs 5 to 9 of the mirror are damaged",
		&RepairBegun{at, own}: "site site-a shard 7: fetching seqs 5 to 9 of the own journal from " +
			"site site-b",
		&LogRepaired{at, hole}: "site site-a shard 7: seqs 5 to 9 of the mirror are repaired",
		&RepairRefused{at, hole, 33, "x"}: "site site-a shard 7: the mirror behind seq 4 cannot be repaired " +
			"from site site-b: x",
		&RepairNotWritten{at, hole, why}: "site site-a shard 7: seqs 5 to 9 of the mirror came, but were not " +
			"written: no space",
		&MirrorProven{at, tail(8)}: "site site-a shard 7: site site-b proves the tail of the mirror at seq 8",
		&MirrorAdopted{at, tail(3), tail(8)}: "site site-a shard 7: the mirror ends at seq 3, the Store is at " +
			"seq 8, and " +
			"site site-b keeps nothing of what lies between: the mirror goes on behind the Store",
		&Mended{at}:                "shard 7 was made equal to that of site site-b, by digests",
		&ApplyStopped{at, why}:     "site site-a shard 7: applier stopped: no space",
		&JournalDown{Place{}, why}: "no space",
		&NotMirrored{at, why}: "batches of site site-b could not be mirrored: " +
			"no space",
		&NotGivenBack{at, why}: "site site-a shard 7: what a peer gave back " +
			"could not be written: no space",
		&OwnUnreadable{at, 1, why}:                      "own journal of site site-a: no space",
		&JournalDamaged{Place{}, "own", "f", 8, 2, "x"}: "own journal: f: offset 8: unit 2: x",
		&ControlSuspect{Place{}, "own"}: "own journal: damage may hide control records: " +
			"compare the peers' cursors",
		&PersistFailed{Place{}, true, why}:                      "which site writes was not put on record: no space",
		&PersistFailed{Place{}, false, why}:                     "control records were not written: no space",
		&Failed{Place{}, KindStoreFailed, "", why}:              "no space",
		&Failed{Place{}, KindSegmentFailed, "own journal", why}: "own journal: no space",
		&Failed{Place{}, KindAcceptFailed, "", why}:             "no space",
		&Failed{Place{}, KindReclaimFailed, "", why}:            "no space",
		&Failed{Place{}, KindPrepareFailed, "", why}:            "no space",
		&Failed{Place{}, KindLockRemoved, "", why}:              "no space",
		&Failed{Place{}, KindAuditFailed, "", why}:              "no space",
		&Works{Place{}, KindStoreRecovered, "", why}:            "works again, after: no space",
		&Works{Place{}, KindSegmentBegun, "own journal", nil}:   "own journal: it works again",
		&Works{Place{}, KindReclaimWorks, "own journal", nil}:   "own journal: it works again",
		&Failed{Place{}, KindMendFailed, "", why}:               "no space",
		&Works{Place{}, KindAuditWorks, "", nil}:                "it works again",
		&OrphansSaved{at, 1<<32 | 1, 5, 2, false}: "5 entries of epoch 1.00000001, in 2 logs, the first of " +
			"site site-a shard 7, did not survive: they are saved, see cfs admin replication orphans list",
		&OrphansSaved{at, 1<<32 | 1, 5, 2, true}: "5 entries of epoch 1.00000001, in 2 logs, the first of " +
			"site site-a shard 7, did not survive, and the journal does not have them any more",
		&Failed{Place{}, KindOrphansUnsaved, "", why}: "no space",
		&EventsDropped{Place{}, 5}:                    "5 events were dropped: the hook is too slow",
		&DataPath{Place{}, "tcp", "portable", "x"}:    "links: tcp, journal files: portable: x",
		&Transport{at, "tcp", "x"}:                    "links to site site-b: tcp (x)",
		&Transport{at, "tcp", ""}:                     "links to site site-b: tcp",
		&TransportFellBack{Place{}, "1.2.3.4:5", why}: "the link from 1.2.3.4:5 is carried by tcp: no " +
			"space",
	}
}

// TestEventsAreSentencesOfTheirFacts: every type, and no kind without a type.
func TestEventsAreSentencesOfTheirFacts(t *testing.T) {
	kinds, types := map[Kind]bool{}, map[string]bool{}
	for e, want := range each() {
		require.Equal(t, want, e.Text(names))
		require.NotNil(t, RowOf(e.Kind()), "%T", e)
		kinds[e.Kind()] = true
		types[strings.TrimPrefix(fmt.Sprintf("%T", e), "*event.")] = true
	}
	for _, row := range Kinds {
		require.True(t, kinds[row.Kind], "no type is of kind %s", row.Kind)
	}
	require.Equal(t, declared(t), slices.Sorted(maps.Keys(types)), "types that have a kind")
}

// declared are the types of this package that have a kind.
func declared(t *testing.T) (types []string) {
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		require.NoError(t, err)
		for _, d := range f.Decls {
			m, ok := d.(*ast.FuncDecl)
			if ok && m.Recv != nil && m.Name.Name == "Kind" {
				types = append(types, m.Recv.List[0].Type.(*ast.StarExpr).X.(*ast.Ident).Name)
			}
		}
	}
	slices.Sort(types)
	return types
}

// TestAlarmIsTheTablesUnlessTheEventKnowsMore: goodbyes and stale sessions wake nobody.
func TestAlarmIsTheTablesUnlessTheEventKnowsMore(t *testing.T) {
	for e := range each() {
		want := RowOf(e.Kind()).Alarm
		switch e.(type) {
		case *SessionStale:
			want = false
		case *TransportFellBack:
			want = true
		}
		require.Equal(t, want, Alarm(e), "%T", e)
	}
	require.False(t, Alarm(&RefusedByPeer{Code: wire.RefuseGoodbye}))
	require.False(t, Alarm(&RefusedByPeer{Code: wire.RefuseSession}))
}

// TestKindsAreInTheManual: in this order, with what each means.
func TestKindsAreInTheManual(t *testing.T) {
	text, err := os.ReadFile("../../docs/operating.md")
	require.NoError(t, err)
	var b strings.Builder
	b.WriteString("| Event | Alarm | Audited | What happened |\n|---|---|---|---|\n")
	yes := map[bool]string{true: "yes", false: ""}
	for _, r := range Kinds {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", r.Kind, yes[r.Alarm], yes[r.Audited], r.Means)
	}
	require.Contains(t, string(text), b.String())
}
