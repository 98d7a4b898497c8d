package sim

import (
	"testing"
	"time"

	"github.com/claudefs/repl/engine/node"
	"github.com/claudefs/repl/engine/sim/plan"
	"github.com/stretchr/testify/require"
)

// live runs a hand-written plan, which must hold, with ten seeds, and adds up what
// it reached.
func live(t *testing.T, text string) map[string]int {
	t.Helper()
	plan, err := plan.Parse(plan.PlanMagic + "\n" + text)
	require.NoError(t, err)
	marks := map[string]int{}
	for plan.Seed = range uint64(10) {
		r := Run(Options{Plan: plan})
		if r.Breach != nil {
			t.Fatal(r.Breach)
		}
		for mark, n := range r.Marks {
			marks[mark] += n
		}
	}
	return marks
}

// TestEachPatternOfCutsCostsSomething: a pattern that no frame meets would prove
// nothing.
func TestEachPatternOfCutsCostsSomething(t *testing.T) {
	marks := live(t, `
		duration 30s
		sites 3
		heartbeat-timeout 1s
		100ms burst count=400 span=28s
		1s isolate site-b span=1s
		4s isolate-in site-c span=1s
		7s isolate-out site-a span=1s
		10s swizzle site-a span=2s draw=3
		14s flap site-a count=3 span=1s
		22s cut-both site-a span=2s
	`)
	for _, mark := range []string{
		"fault isolate", "fault isolate-in", "fault isolate-out", "fault swizzle", "fault flap", "partial partition",
	} {
		require.NotZero(t, marks[mark], mark)
	}
}

// TestOthersRestWithoutALostSite: its lag is unknown, what it lacks is kept, and
// appends are taken and reach the other peer (I10, I12, I14).
func TestOthersRestWithoutALostSite(t *testing.T) {
	for _, how := range []string{"lose", "cut-off"} {
		marks := live(t, `
			duration 6s
			sites 3
			100ms burst count=50 span=5s
			2s `+how+` site-b
			4s power site-a span=100ms
		`)
		require.Equal(t, 10, marks["at rest without a lost site"])
		require.Equal(t, 10, marks["entries kept for a lost site"])
		require.NotZero(t, marks["fault "+how])
	}
	_, err := plan.Parse(plan.PlanMagic + "\n1s lose site-a")
	require.ErrorContains(t, err, "the primary cannot be lost")
}

// TestSourceSaysThatAClonedPeerWentBack: to the image, and then to what the
// original has, before it takes another word from there (I1); and nothing is repeated.
func TestSourceSaysThatAClonedPeerWentBack(t *testing.T) {
	marks := live(t, `
		duration 24s
		retain false
		100ms burst count=400 span=23s
		1s clone site-b span=8s draw=1
	`)
	require.Equal(t, 20, marks["fault clone"], "both times the copies differ")
	require.GreaterOrEqual(t, marks["clone noticed"], 15)
}

// TestSecondHistoryIsRefusedByName: the original of a cloned primary took appends,
// and so did the clone; the peer keeps what it confirmed (I4).
func TestSecondHistoryIsRefusedByName(t *testing.T) {
	marks := live(t, `
		duration 12s
		retain false
		verify-wait 1h
		100ms burst count=200 span=11s
		2s clone site-a span=3s draw=1
	`)
	require.GreaterOrEqual(t, marks["second history refused"], 10)
	require.NotZero(t, marks["event log-stopped"])
}

// TestDeathWhileOpeningIsDiedAgain: an opening that was cut short leaves a disk that
// opens.
func TestDeathWhileOpeningIsDiedAgain(t *testing.T) {
	marks := live(t, `
		duration 6s
		100ms burst count=50 span=5s
		1s power site-a span=50ms phase=open draw=3298534883328
		2s kill site-b span=50ms phase=open draw=5497558138880
		3s clock-jump site-a phase=open
		3s power site-a span=50ms phase=open draw=9895604649984
	`)
	require.NotZero(t, marks["power while opening"])
	require.NotZero(t, marks["kill while opening"])
	require.NotZero(t, marks["clock jumped while down"])
}

// TestWhatPausesHoldUpKeepsItsOrder: a pause within a longer one, and one that makes
// another longer. Frames of a link never pass each other.
func TestWhatPausesHoldUpKeepsItsOrder(t *testing.T) {
	for name, second := range map[string]time.Duration{"shorter": time.Second, "longer": 5 * time.Second} {
		t.Run(name, func(t *testing.T) {
			w := young()
			for w.sites[1].p == nil {
				w.next()
			}
			s, began := w.sites[1], w.now
			pause := func(at, span time.Duration) {
				w.at(began+at, func() { s.pause(&plan.Item{Span: span / 4}) })
			}
			var came []int
			pause(time.Second, 6*time.Second)
			for n, at := range []time.Duration{2 * time.Second, 5 * time.Second, 8 * time.Second, 12 * time.Second} {
				s.p.later(plan.PhaseAny, at, func() { came = append(came, n) })
			}
			pause(4*time.Second, second)
			for len(came) < 4 {
				w.next()
			}
			require.Equal(t, []int{0, 1, 2, 3}, came)
		})
	}
}

// TestClusterOfItsOwnJoinsAsStandby: a new disk, and a configuration that names this site
// and no peer: nothing shows that there is another site. Once the peers are named again it
// is a standby, in every later life, also if it has not heard all of them (I5).
func TestClusterOfItsOwnJoinsAsStandby(t *testing.T) {
	marks := live(t, `
		duration 8s
		sites 3
		retain false
		verify-wait 500ms
		100ms burst count=20 span=1s
		2s isolate site-c span=6s
		2500ms usurp site-b span=100ms draw=3
		2700ms unconfigure site-b span=400ms draw=6
		5s restart site-b span=100ms
		6s power site-b span=100ms
	`)
	require.NotZero(t, marks["a cluster of its own"])
}

// TestWriterAloneIsVerifiedIfNobodyHasMore: its peers are left out before it heard one of
// them. Nothing shows them, and nothing is there to hear; once one has a batch of it, that
// is a breach (I1).
func TestWriterAloneIsVerifiedIfNobodyHasMore(t *testing.T) {
	marks := live(t, `
		duration 8s
		1ms cut-both site-b span=2s
		10ms unconfigure site-a span=2s
		100ms burst count=20 span=1s
	`)
	require.NotZero(t, marks["the first of its cluster"])
	verified := func(there bool) func() {
		w := young()
		for w.sites[0].p == nil {
			w.next()
		}
		p := w.sites[0].p
		p.site.alone = true
		if there {
			w.book(1, node.Mirror)
		}
		return func() { w.check.admitting(p, &node.Admit{Admission: node.AdmitVerified}) }
	}
	require.NotPanics(t, verified(false))
	breaks(t, "I1", verified(true))
}
