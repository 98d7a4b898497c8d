package sim

import (
	"context"
	"fmt"
	"testing"

	"github.com/claudefs/repl/engine/sim/plan"
	"github.com/stretchr/testify/require"
)

// TestCampaignThatProvesNothingIsInvalid: thin traffic, a mark that nobody
// reached, or seeds left out are no green.
func TestCampaignThatProvesNothingIsInvalid(t *testing.T) {
	whole := func(seeds int) *Report {
		r := &Report{Seeds: seeds, Whole: true, StepsMedian: stepsMedianMin, FaultsMedian: faultsMedianMin}
		r.Marks = map[string]int{}
		for _, m := range Marks {
			r.Marks[m] = 1
		}
		return r
	}
	require.Empty(t, whole(MarksSeedsMin).Invalid())

	thin := whole(10)
	thin.FaultsMedian--
	require.Equal(t, "the median seed has 5000 steps and 49 faults, wanted are 5000 and 50", thin.Invalid())

	unreached := whole(MarksSeedsMin)
	delete(unreached.Marks, "torn tail cut")
	require.Equal(t, "no world reached: torn tail cut", unreached.Invalid())
	require.Equal(t, fmt.Sprintf("sim: seeds=1000 steps=0 faults=0 broken=0 marks=%d/%d", len(Marks)-1, len(Marks)),
		unreached.Line())
	unreached.Seeds--
	require.Empty(t, unreached.Invalid(), "fewer seeds may miss one")

	cut := whole(MarksSeedsMin)
	cut.Whole = false
	require.Equal(t, "it ended after 1000 seeds", cut.Invalid())
}

// TestCampaignEndsWithItsContext: nobody waits for seeds that nobody wants.
func TestCampaignEndsWithItsContext(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	c := Campaign{First: 1, Seeds: 1000, Jobs: 1, Each: func(Result) { stop() }}
	r := c.Run(ctx)
	require.Equal(t, 1, r.Seeds)
	require.False(t, r.Whole)
}

// TestCommandThatIsPrintedLivesTheWorldAgain: by its file, if the plan came from
// one; and where two lives differ, by a campaign.
func TestCommandThatIsPrintedLivesTheWorldAgain(t *testing.T) {
	b := Breach{Seed: 7, Invariant: "I1"}
	require.Equal(t, "cfs sim replay 7 --trace", b.Replay())
	require.Equal(t, "cfs sim shrink 7", b.Shrink())
	b.File, b.Plant = "short.txt", plan.PlantLyingFlush
	require.Equal(t, "cfs sim replay short.txt --trace --plant lying-flush", b.Replay())
	require.Equal(t, "cfs sim shrink short.txt --plant lying-flush", b.Shrink())
	b = Breach{Seed: 700, Invariant: invariantTrace}
	require.Equal(t, "cfs sim run --seeds 700", b.Replay())
	require.Empty(t, b.Shrink())

	const mistake = "CLAUDEFS_PLANT=gap-acked go run -tags plant ./tools/cfs "
	b = Breach{Seed: 7, Invariant: "I1", Mistake: "gap-acked"}
	require.Equal(t, mistake+"sim replay 7 --trace", b.Replay())
	require.Equal(t, mistake+"sim shrink 7", b.Shrink())
	b.Invariant = invariantTrace
	require.Equal(t, mistake+"sim run --seeds 7", b.Replay())
}
