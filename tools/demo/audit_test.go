package demo

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/tools/fsapi"
	"github.com/claudefs/repl/wire"
)

func ref(shard, seq int) wire.Ref {
	log := wire.LogID{Site: 7, Shard: wire.Shard(shard)}
	return wire.Ref{Log: log, Incarnation: wire.Incarnation{byte(shard + 1)}, Seq: wire.Seq(seq)}
}

func auditOf(refs ...wire.Ref) *siteAudit {
	a := newSiteAudit()
	for _, r := range refs {
		a.add(r)
	}
	return a
}

// A row that repeats an entry is a duplicate, whatever lies between (I2).
func TestRepeatedRowIsADuplicate(t *testing.T) {
	require.Equal(t, 0, auditOf(ref(1, 2), ref(1, 3), ref(2, 2)).duplicated())
	require.Equal(t, 2, auditOf(ref(1, 2), ref(1, 3), ref(1, 2), ref(1, 2)).duplicated())
}

// An acknowledged entry without a row is lost, and the first one is named (I1).
func TestAcknowledgedEntryWithoutARowIsLost(t *testing.T) {
	a := auditOf(ref(1, 2), ref(1, 3))
	acked := ledger{ref(1, 2): 1, ref(1, 4): 1, ref(0, 9): 1}
	count, first := a.lost(acked)
	require.Equal(t, 2, count)
	require.Equal(t, ref(0, 9), first)
}

// Where two operations were acknowledged as one entry, its log was written again from
// an earlier end: the first of them is lost, whatever the row says (I1).
func TestOperationWhoseSeqWasGivenAgainIsLost(t *testing.T) {
	count, first := auditOf(ref(1, 2), ref(1, 3)).lost(ledger{ref(1, 2): 1, ref(1, 3): 3})
	require.Equal(t, 2, count)
	require.Equal(t, ref(1, 3), first)
}

// Applied seqs are contiguous (I3): a hole is told, a log that begins behind
// its START batch is not.
func TestHoleInALogIsTold(t *testing.T) {
	require.NoError(t, auditOf(ref(1, 3), ref(1, 2), ref(1, 4), ref(2, 1), ref(2, 2)).gap())
	require.ErrorContains(t, auditOf(ref(1, 2), ref(1, 4)).gap(), "2 entries decided between seq 2 and 4")
	require.Error(t, auditOf(ref(1, 5), ref(1, 6)).gap())
}

func TestFirstDifferingPathIsNamed(t *testing.T) {
	rows := func(paths ...string) (all []fsapi.WalkRow) {
		for _, path := range paths {
			all = append(all, fsapi.WalkRow{Path: path})
		}
		return all
	}
	a, changed := rows("/", "/a", "/b"), rows("/", "/a", "/b")
	changed[1].Content = "00"
	for want, b := range map[string][]fsapi.WalkRow{
		"/a differs":                       changed,
		"/a is missing at site-b":          rows("/", "/b"),
		"/aa is missing at site-a":         rows("/", "/a", "/aa", "/b"),
		"/b is missing at site-b":          rows("/", "/a"),
		"/c is missing at site-a":          rows("/", "/a", "/b", "/c"),
		"digests differ, but no path does": a,
	} {
		require.Equal(t, want, firstDifference(a, b))
	}
}

// Each site gets half of the kills, and all fall into the import.
func TestKillsAreSpreadOverTheImport(t *testing.T) {
	for seed := range uint64(200) {
		plan := planKills(rand.New(rand.NewPCG(seed, 0)), 6)
		perSite := [2]int{}
		last := 0.0
		for _, k := range plan {
			require.Greater(t, k.fraction, last)
			require.Less(t, k.fraction, 1.0)
			last = k.fraction
			perSite[k.site]++
		}
		require.Equal(t, [2]int{3, 3}, perSite)
	}
}

// The addresses differ, are loopback's, and are free again.
func TestReservedPortsCanBeListenedOn(t *testing.T) {
	addrs, err := reservePorts(rand.New(rand.NewPCG(1, 1)), 4)
	require.NoError(t, err)
	require.Len(t, addrs, 4)
	for i, addr := range addrs {
		require.NotContains(t, addrs[:i], addr)
		l := listen(t, addr)
		require.NoError(t, l.Close())
	}
}

// The clients of a load only ask for what is possible: their picture of their
// files stays true as long as every operation takes effect.
func TestLoadClientKnowsItsFiles(t *testing.T) {
	c := &loadClient{id: 3, random: rand.New(rand.NewPCG(5, 4))}
	files := map[string]bool{}
	requests := map[wire.RequestID]bool{}
	for range 5000 {
		op := c.next()
		require.False(t, requests[op.Request], "request ids are unique")
		requests[op.Request] = true
		follow(t, files, op)
		require.LessOrEqual(t, len(files), namesMax)
	}
}
