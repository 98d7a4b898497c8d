package demo

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/wire"
)

// drillOf is a scene of two sites whose clients were told of three entries: the first durable at
// both, the others by one that was alone; the journals had all of them.
func drillOf(t *testing.T) (*drillScene, func(requests ...string) *drillRows) {
	t.Helper()
	ref := func(seq wire.Seq) wire.Ref { return wire.Ref{Incarnation: wire.Incarnation{1}, Seq: seq} }
	refs := map[string]wire.Ref{"kept": ref(2), "alone": ref(3), "alone too": ref(4)}
	s := &drillScene{
		drillSites: &drillSites{}, result: &DrillLine{}, seen: map[seqKey]struct{}{},
		load: &drillLoad{acked: map[string]promise{
			"kept":      {ref: refs["kept"], durable: true},
			"alone":     {ref: refs["alone"]},
			"alone too": {ref: refs["alone too"]},
		}},
	}
	for _, r := range refs {
		s.seen[entry(r)] = struct{}{}
	}
	return s, func(requests ...string) *drillRows {
		r := &drillRows{newSiteAudit(), map[string]int{}}
		for _, request := range requests {
			r.audit.add(refs[request])
			r.requests[request]++
		}
		return r
	}
}

func TestDrillCountsOrphans(t *testing.T) {
	s, rows := drillOf(t)
	s.count([]*drillRows{rows("kept", "alone"), rows("kept", "alone")})
	require.Empty(t, s.result.Difference)
	require.Equal(t, []int{3, 0, 1, 1}, []int{s.result.Acked, s.result.Lost, s.result.Orphans, s.result.OrphansAcked})
}

func TestDrillFindsWhatIsLost(t *testing.T) {
	s, rows := drillOf(t)
	s.count([]*drillRows{rows("alone"), rows("alone")})
	require.Equal(t, 1, s.result.Lost)
	require.Contains(t, s.result.Difference, "has not done request kept, which every site had durably")
}

func TestDrillFindsWhatNoJournalHas(t *testing.T) {
	s, rows := drillOf(t)
	delete(s.seen, entry(s.load.acked["alone"].ref))
	s.count([]*drillRows{rows("kept", "alone too"), rows("kept", "alone too")})
	require.Zero(t, s.result.Lost)
	require.Contains(t, s.result.Difference, "it is in no journal either")
}

func TestDrillFindsRequestDoneTwice(t *testing.T) {
	s, rows := drillOf(t)
	twice := rows("kept", "alone", "alone too")
	twice.requests["alone"]++
	s.count([]*drillRows{twice, twice})
	require.Equal(t, 2, s.result.Twice)
	require.Contains(t, s.result.Difference, "site-a did request alone 2 times")
}

func TestDrillFindsEntryOfEndedEpoch(t *testing.T) {
	s, rows := drillOf(t)
	s.writer = 1
	s.closed = rows("kept").audit.distinct
	s.judgeClosed([]*drillRows{rows("kept"), rows("kept")})
	require.Empty(t, s.result.Difference)
	s.judgeClosed([]*drillRows{rows("kept", "alone"), rows("kept")})
	require.Contains(t, s.result.Difference, "site-a applied shard 0, seq 3 of an epoch that had ended")
}

func TestDrillLineSaysWhatDiffers(t *testing.T) {
	l := &DrillLine{Scenario: "link-cut", RTOMs: 1200, Orphans: 3, Writers: 1, Equal: true, OK: true}
	require.Equal(t, "failover: scenario=link-cut rto_ms=1200 lost=0 orphans=3 writers=1 equal ok", l.Line())
	l.OK, l.Equal = false, false
	l.note("first %d", 1)
	l.note("second")
	want := `failover: scenario=link-cut rto_ms=1200 lost=0 orphans=3 writers=1 different FAILED difference="first 1"`
	require.Equal(t, want, l.Line())
}

func TestDrillKnowsItsScenarios(t *testing.T) {
	chosen, err := chosenScenarios(nil)
	require.NoError(t, err)
	require.Len(t, chosen, 12)
	chosen, err = chosenScenarios([]string{"link-cut"})
	require.NoError(t, err)
	require.Equal(t, "link-cut", chosen[0].name)
	_, err = chosenScenarios([]string{"flood"})
	require.ErrorIs(t, err, ErrNoScenario)
}
