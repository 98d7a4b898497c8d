package admission

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine/event"
	"github.com/claudefs/repl/engine/role"
	"github.com/claudefs/repl/engine/step"
	"github.com/claudefs/repl/wire"
)

func at(seq wire.Seq) wire.Position { return wire.Position{Seq: seq, Chain: wire.Chain{byte(seq)}} }

// opened is the gate of site 1 with two shards that end at seq 5, and one peer.
func opened(prepare func(*Gate)) (*Gate, *role.Role) {
	t := &step.Turn{
		C: step.Config{Site: 1, SiteName: "site-a", Primary: 1, Shards: 2, VerifyWait: 3 * time.Second},
		E: &step.Effects{},
	}
	r := role.New(t, true)
	r.Peers = []*role.Peer{{Peer: step.Peer{Site: 2, Name: "site-b"}, Configured: true}}
	g := New(t, r, nil)
	for s := range g.Logs {
		g.Logs[s].Tail = at(5)
	}
	if prepare != nil {
		prepare(g)
	}
	g.Start()
	return g, r
}

func states(g *Gate) []step.Admission { return []step.Admission{g.Logs[0].State, g.Logs[1].State} }

// TestLogWaitsForEveryPeer: one that lies in our history is not enough before all spoke.
func TestLogWaitsForEveryPeer(t *testing.T) {
	g, r := opened(nil)
	g.Covered(0)
	require.Equal(t, []step.Admission{step.AdmitWaiting, step.AdmitWaiting}, states(g))
	r.Peers[0].Answered = true
	g.AllHeard()
	require.Equal(t, []step.Admission{step.AdmitVerified, step.AdmitWaiting}, states(g))
	g.Proven(1)
	require.Equal(t, 2, g.Count(step.AdmitVerified))
	require.NoError(t, g.Check())
	require.Len(t, g.t.E.Admits, 2)
}

// TestWaitEndsUnverified: after VerifyWait appends go on, and people are told (I14).
func TestWaitEndsUnverified(t *testing.T) {
	g, _ := opened(func(g *Gate) { g.Logs[1].Needs(at(9), "the Store") })
	require.Equal(t, 3*time.Second, g.Due())
	g.Tick()
	require.False(t, g.Waited())
	g.t.Now.Mono = 3 * time.Second
	g.Tick()
	require.True(t, g.Waited())
	require.Equal(t, step.Never, g.Due())
	require.Equal(t, []step.Admission{step.AdmitUnverified, step.AdmitRefused}, states(g))
	require.ErrorIs(t, g.Logs[1].Err, step.ErrDataLost)
	require.IsType(t, &event.Unverified{}, g.t.E.Events[0])
	require.NoError(t, g.Check())
}

// TestAheadIsFetchedBeforeAppends: afterwards two histories exist (I1, I4).
func TestAheadIsFetchedBeforeAppends(t *testing.T) {
	g, r := opened(nil)
	ask, why := g.Ahead(0, at(9), "site-b")
	require.True(t, ask)
	require.Nil(t, why)
	ask, why = g.Ahead(0, at(8), "site-c")
	require.False(t, ask, "another one gives it back")
	require.Nil(t, why)
	require.True(t, g.Logs[0].Short())
	g.Covered(0)
	require.Equal(t, step.AdmitWaiting, g.Logs[0].State, "it lacks what site-b has")

	r.Peers[0].Answered = true
	g.Proven(1)
	require.True(t, g.Logs[1].Open())
	_, why = g.Ahead(1, at(9), "site-b")
	require.Equal(t, wire.RefuseChain, why.Code)
	g.Stop(1, why.Code, why.Text)
	require.ErrorIs(t, g.Logs[1].Err, step.ErrDiverged)
	require.Len(t, g.t.Stopped(), 1)
	g.Proven(1)
	require.Equal(t, step.AdmitRefused, g.Logs[1].State, "stopped is permanent")
	require.NoError(t, g.Check())
}

// TestSuspectLogNeedsProof: damage refuses it, another copy's tail clears it (I9).
func TestSuspectLogNeedsProof(t *testing.T) {
	g, r := opened(func(g *Gate) { g.Logs[0].Suspect = true })
	require.ErrorIs(t, g.Logs[0].Err, step.ErrSuspect)
	g.Covered(0)
	require.Equal(t, step.AdmitRefused, g.Logs[0].State)
	g.Proven(0)
	require.Equal(t, step.AdmitWaiting, g.Logs[0].State)
	require.Equal(t, []wire.Shard{0}, g.Whole)
	require.Equal(t, step.Own, g.t.E.Clears[0].Journal)
	r.Peers[0].Answered = true
	g.AllHeard()
	require.True(t, g.Logs[0].Open())
	require.NoError(t, g.Check())
}

// TestDeadJournalRefusesAll: and nothing reopens them.
func TestDeadJournalRefusesAll(t *testing.T) {
	g, _ := opened(nil)
	g.t.Down[step.Own] = errors.New("no space")
	g.RefuseAll(g.t.Down[step.Own])
	require.Equal(t, 2, g.Count(step.AdmitRefused))
	g.Reopen()
	g.Proven(0)
	require.Equal(t, 2, g.Count(step.AdmitRefused))
	require.NoError(t, g.Check())
}

// TestStandbyIsNeverOpen: another site writes.
func TestStandbyIsNeverOpen(t *testing.T) {
	g, r := opened(func(g *Gate) { g.role.Primary = 2 })
	require.Equal(t, 2, g.Count(step.AdmitStandby))
	r.Peers[0].Answered = true
	g.Proven(0)
	require.Equal(t, 2, g.Count(step.AdmitStandby))
	require.NoError(t, g.Check())
	g.admit(0, step.AdmitVerified, nil)
	require.Error(t, g.Check(), "open, and another site writes")
}

// TestStoreAloneIsAdopted: without peers only an operator's word goes on behind the Store.
func TestStoreAloneIsAdopted(t *testing.T) {
	for _, named := range []bool{false, true} {
		g, _ := opened(func(g *Gate) {
			g.role.Peers, g.t.C.PrimaryNamed = nil, named
			g.Logs[0].Needs(at(9), "the Store")
		})
		want := []step.Admission{step.AdmitRefused, step.AdmitVerified}
		if named {
			want[0] = step.AdmitVerified
			require.Equal(t, at(9), g.t.E.Adopts[0].Tail)
		}
		require.Equal(t, want, states(g))
		require.NoError(t, g.Check())
	}
}

// TestEndedLogWaitsForSessions: they compare with every peer. After VerifyWait it takes appends
// meanwhile, unless a peer once confirmed more (I9, I14).
func TestEndedLogWaitsForSessions(t *testing.T) {
	for _, waited := range []bool{false, true} {
		g, r := opened(func(g *Gate) {
			g.Logs[0].Suspect, g.Logs[1].Suspect = true, true
			g.Logs[1].Needs(at(9), "site site-b")
		})
		want := []step.Admission{step.AdmitWaiting, step.AdmitWaiting}
		if waited {
			g.t.Now.Mono = 3 * time.Second
			g.Tick()
			want = []step.Admission{step.AdmitUnverified, step.AdmitRefused}
		}
		r.Peers[0].Answered = true
		g.End(0)
		g.End(1)
		require.Equal(t, want, states(g))
		require.Equal(t, []wire.Shard{0, 1}, g.Whole)
		require.NoError(t, g.Check())
		g.Covered(0)
		require.Equal(t, step.AdmitVerified, g.Logs[0].State)
		if waited {
			require.ErrorIs(t, g.Logs[1].Err, step.ErrDataLost)
		}
	}
}

// TestSuspectLogAloneWaitsForOperator: without peers nobody can prove where it ends, and an
// operator's word has it go on, behind the Store if that has more (I9).
func TestSuspectLogAloneWaitsForOperator(t *testing.T) {
	for _, named := range []bool{false, true} {
		for _, store := range []wire.Seq{0, 9} {
			g, _ := opened(func(g *Gate) {
				g.role.Peers, g.t.C.PrimaryNamed = nil, named
				g.Logs[0].Suspect = true
				g.Logs[0].Needs(at(store), "the Store")
			})
			require.NoError(t, g.Check())
			if !named {
				require.ErrorIs(t, g.Logs[0].Err, step.ErrSuspect)
				require.ErrorContains(t, g.Logs[0].Err, "name site site-a as the primary")
				continue
			}
			require.Equal(t, []step.Admission{step.AdmitVerified, step.AdmitVerified}, states(g))
			require.Equal(t, max(5, store), g.Logs[0].Tail.Seq)
			require.Equal(t, step.Own, g.t.E.Clears[0].Journal)
			require.Equal(t, event.KindDataLost, g.t.E.Events[0].Kind())
		}
	}
}

// TestNeedsOfTwoIncarnationsBothCount: a higher seq of one does not stand for the other,
// and no operator's word makes one the other (I4).
func TestNeedsOfTwoIncarnationsBothCount(t *testing.T) {
	other := wire.Position{Incarnation: wire.Incarnation{9}, Seq: 3}
	for _, order := range [][]wire.Position{{other, at(5)}, {at(5), other}} {
		g, _ := opened(func(g *Gate) {
			g.role.Peers, g.t.C.PrimaryNamed = nil, true
			for _, at := range order {
				g.Logs[0].Needs(at, "somebody")
			}
		})
		require.Equal(t, []step.Admission{step.AdmitRefused, step.AdmitVerified}, states(g))
		require.ErrorIs(t, g.Logs[0].Err, step.ErrDataLost)
		need, _ := g.Logs[0].Need()
		require.Equal(t, other, need)
		require.Empty(t, g.t.E.Adopts)
		require.NoError(t, g.Check())
	}
}

// TestWithheldLogsReopen: a peer that named another primary agrees.
func TestWithheldLogsReopen(t *testing.T) {
	g, _ := opened(nil)
	g.Withhold()
	require.ErrorIs(t, g.Logs[0].Err, step.ErrWithheld)
	g.Reopen()
	require.Equal(t, 2, g.Count(step.AdmitWaiting))
	require.NoError(t, g.Check())
}
