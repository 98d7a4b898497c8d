package sim

import (
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/claudefs/repl/engine/node"
	"github.com/claudefs/repl/engine/sim/plan"
	"github.com/claudefs/repl/wire"
	"github.com/stretchr/testify/require"
)

// The checkers are tested by what they must not excuse: each situation here is next
// to one that is allowed, and was allowed with it once.

// young is a world that has just begun.
func young() *world {
	w := newWorld(Options{Plan: &plan.Plan{Seed: 1, Params: plan.Simple()}})
	w.build()
	return w
}

// breaks wants run to end the world by this promise.
func breaks(t *testing.T, invariant string, run func()) {
	t.Helper()
	defer func() {
		t.Helper()
		b, broken := recover().(*Breach)
		require.True(t, broken, "nothing was found")
		require.Equal(t, invariant, b.Invariant, b.Text)
	}()
	run()
}

var (
	bookLog  = wire.LogID{Site: wire.SiteIDOf(clusterName, siteNames[0])}
	bookName = wire.Incarnation{1}
)

// book gives a site's journal a log of five batches, durable a second apart.
func (w *world) book(site int, journal node.Journal) {
	l := &ledger{incarnation: bookName}
	for n := range wire.Seq(5) {
		at := time.Duration(n+1) * time.Second
		l.ends = append(l.ends, batchEnd{seq: n + 1, chain: wire.Chain{byte(n + 1)}, at: at})
	}
	w.check.ledgers[site][journal][bookLog] = l
}

// TestDamageExcusesNothingThatLiesBeforeIt: an opening that ends a log before what was
// struck lost what the medium has (I1).
func TestDamageExcusesNothingThatLiesBeforeIt(t *testing.T) {
	opening := func(up wire.Seq, told bool) func() {
		w := young()
		w.book(1, node.Mirror)
		w.now = 6 * time.Second
		w.sites[1].diedAt = w.now
		w.sites[1].disk.flippedFrom(3 * time.Second) // seq 3
		tail := wire.Position{Incarnation: bookName, Seq: up, Chain: wire.Chain{byte(up)}}
		return func() {
			w.check.opened(1, node.Mirror, func(wire.LogID) wire.Position { return tail },
				func(wire.LogID) bool { return told })
		}
	}
	require.NotPanics(t, opening(2, false))
	require.NotPanics(t, opening(4, true))
	breaks(t, "I1", opening(1, true))
}

// stood is a stretch in which a site is paused.
type stood struct{ from, to time.Duration }

// pausedAt has a site live through pauses up to a moment.
func (w *world) pausedAt(s *site, now time.Duration, pauses ...stood) {
	s.p = &process{site: s}
	for _, f := range pauses {
		w.now = f.from
		s.pause(&plan.Item{Span: (f.to - f.from) / 4})
	}
	w.now = now
}

// TestPauseMarksNothing: what was flushed, here at 3 s, lies below a mark when the process
// ran for ten seconds since. Until then damage may be cut like a torn tail, and not after (I9).
func TestPauseMarksNothing(t *testing.T) {
	const s = time.Second
	for name, o := range map[string]struct {
		at     time.Duration // since when it is marked
		pauses []stood
	}{
		"none":                {13 * s, nil},
		"before":              {13 * s, []stood{{s, 3 * s}}},
		"one":                 {18 * s, []stood{{5 * s, 10 * s}}},
		"one that goes on":    {21 * s, []stood{{5 * s, 10 * s}, {9 * s, 13 * s}}},
		"one within, another": {21 * s, []stood{{5 * s, 10 * s}, {7 * s, 8 * s}, {12 * s, 15 * s}}},
		"begun before":        {16 * s, []stood{{2 * s, 6 * s}}},
	} {
		t.Run(name, func(t *testing.T) {
			opening := func(died time.Duration, pauses ...stood) func() {
				w := young()
				w.book(1, node.Mirror)
				site := w.sites[1]
				w.pausedAt(site, died, pauses...)
				site.disk.flippedFrom(3 * s)
				site.die(false, s, site.draw)
				tail := wire.Position{Incarnation: bookName, Seq: 2, Chain: wire.Chain{2}}
				return func() {
					w.check.opened(1, node.Mirror, func(wire.LogID) wire.Position { return tail },
						func(wire.LogID) bool { return false })
				}
			}
			require.NotPanics(t, opening(o.at-1, o.pauses...))
			breaks(t, "I9", opening(o.at, o.pauses...))
			breaks(t, "I9", opening(o.at+s, append(o.pauses, stood{o.at, time.Hour})...))
		})
	}
}

// TestPauseSettlesNoDoubt: nor does it show what of struck units an opening cuts, and the
// mark that a stray write took is missing until a later one.
func TestPauseSettlesNoDoubt(t *testing.T) {
	w := young()
	s := w.sites[1]
	pause := stood{2 * time.Second, 10 * time.Second}
	s.disk.harm.doubt, s.disk.harm.strayed = time.Second, time.Second
	w.pausedAt(s, 19*time.Second-1, pause)
	s.disk.remarked()
	require.NotZero(t, s.disk.harm.strayed)
	require.False(t, s.disk.counted())
	w.now += 2
	s.disk.remarked()
	require.Zero(t, s.disk.harm.strayed)
	require.True(t, s.disk.counted())
}

// TestRestoreExcusesNoWordThatNeverWasTrue: for a while after it a peer's word may be
// older than the image, and no more (I1).
func TestRestoreExcusesNoWordThatNeverWasTrue(t *testing.T) {
	w := young()
	w.book(0, node.Own)
	w.now = 7 * time.Second
	w.sites[1].restoredAt = w.now
	w.check.once[1][once{bookLog, bookName}] = 3
	word := func(seq wire.Seq) func() {
		return func() { w.check.ackedDurable(&op{ref: wire.Ref{Log: bookLog, Incarnation: bookName, Seq: seq}}, 1) }
	}
	require.NotPanics(t, word(3))
	breaks(t, "I1", word(4))
}

// TestNothingUnknownLeavesASite: what a site sends, its source has flushed (I1).
func TestNothingUnknownLeavesASite(t *testing.T) {
	w := young()
	breaks(t, "I1", func() { w.check.leaving(1, []wire.BatchRef{{}}) })
}

// TestStampsRiseInEachLog: also in what a peer gave back (I8).
func TestStampsRiseInEachLog(t *testing.T) {
	w := young()
	x := extent{header: wire.BatchHeader{Count: 1, FirstSeq: 1, FirstStamp: 9, LastStamp: 9, Chain: wire.Chain{1}}}
	w.check.durable(0, node.Own, &x)
	x.header.FirstSeq, x.header.Prev, x.header.Chain = 2, x.header.Chain, wire.Chain{2}
	breaks(t, "I8", func() { w.check.durable(0, node.Own, &x) })
}

// TestLagBelowWhatIsMissingIsNone: not only a lag of zero (I14).
func TestLagBelowWhatIsMissingIsNone(t *testing.T) {
	w := young()
	w.load.ops = make([]op, 3)
	w.load.of(w.sites[0]).mirrored[1][bookLog] = []int{0, 1, 2}
	status := node.Status{Peers: []node.PeerStatus{{Peer: node.Peer{Site: w.sites[1].id}}}}
	lag := &status.Peers[0].Durable
	require.NotPanics(t, func() { w.check.lag(w.sites[0], status) }, "an unknown one")
	lag.Known, lag.Entries = true, 3
	require.NotPanics(t, func() { w.check.lag(w.sites[0], status) })
	lag.Entries = 2
	breaks(t, "I14", func() { w.check.lag(w.sites[0], status) })
}

// TestOnlyAFaultStopsAJournal: an error that nobody planned is a finding (I14).
func TestOnlyAFaultStopsAJournal(t *testing.T) {
	require.True(t, struck(fmt.Errorf("unit 3: %w", syscall.EIO)))
	w := young()
	breaks(t, "I14", func() { w.sites[0].p.own.failed(errors.New("units out of order")) })
}

// TestCutCountsOnce: whatever number of ways it stops.
func TestCutCountsOnce(t *testing.T) {
	plan, err := plan.Parse(plan.PlanMagic + "\nsites 3\n100ms burst count=100 span=8s\n2s isolate site-a span=3s")
	require.NoError(t, err)
	r := Run(Options{Plan: plan})
	require.Nil(t, r.Breach)
	require.Equal(t, map[string]int{"isolate": 1}, r.Kinds)
}

// TestImageOfUnflushedCopyHoldsWhatIsThere: a backup reads what no power cut would leave.
// The ledger says that the image holds it.
func TestImageOfUnflushedCopyHoldsWhatIsThere(t *testing.T) {
	live(t, `
		duration 6s
		100ms burst count=50 span=1s
		3s copy-back site-b span=400ms
		3100ms restore-standby site-b span=100ms
	`)
}
