package sim

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/claudefs/repl/engine/sim/plan"
	"github.com/stretchr/testify/require"
)

// shrunkLinesMax is what a planted bug's plan may be at most.
const shrunkLinesMax = 30

// TestPlantedBugShrinksToAPageOfItsOwn: whoever gets a failing seed reads a plan
// that fits a screen, and its text breaks the same way.
func TestPlantedBugShrinksToAPageOfItsOwn(t *testing.T) {
	plants := plan.Plants
	if raceEnabled {
		plants = plants[1:3]
	}
	for _, plant := range plants {
		t.Run(string(plant), func(t *testing.T) {
			t.Parallel()
			c := Campaign{First: 1, Seeds: plantSeedsMax, Jobs: 1, Plant: plant}
			r := c.Run(t.Context())
			require.NotEmpty(t, r.Broken)
			long := r.Broken[0]
			steps := 0
			shrinking := Shrinking{Plant: plant, Steps: 1_000_000, Each: func(n, _ int) { steps = n }}
			set, short := shrinking.Run(t.Context(), plan.Of(long.Seed))
			require.NotNil(t, short)
			require.Equal(t, long.Invariant, short.Invariant)
			t.Logf("seed %d, %s: %d lines in %d steps\n%s", long.Seed, short.Invariant, set.Lines(), steps, set)
			require.LessOrEqual(t, set.Lines(), shrunkLinesMax)
			again, err := plan.Parse(set.String())
			require.NoError(t, err)
			require.Equal(t, short.Head(), Run(Options{Plan: again}).Breach.Head())
		})
	}
}

// TestPlanThatBreaksNothingComesBackAsItWas: shrinking invents no failure.
func TestPlanThatBreaksNothingComesBackAsItWas(t *testing.T) {
	plan := &plan.Plan{Seed: 1, Params: plan.Simple(), Items: []plan.Item{{At: 1e9, Kind: plan.Burst, Count: 3}}}
	same, breach := Shrinking{}.Run(t.Context(), plan)
	require.Nil(t, breach)
	require.Equal(t, plan, same)
}

// savedSeeds is with how many seeds each saved plan is lived: its own delays were
// those of one day, and the code's pace changes.
const savedSeeds = 40

// TestSavedPlansHold replays every plan that once found a bug: it must hold,
// whatever the delays. One with a plant must still break with it for some.
func TestSavedPlansHold(t *testing.T) {
	files, err := filepath.Glob("../../testdata/sim/*.txt")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			plan, err := plan.Parse(string(text))
			require.NoError(t, err)
			plant, found := plan.Plant, 0
			for range savedSeeds {
				plan.Plant = ""
				if b := Run(Options{Plan: plan}).Breach; b != nil {
					t.Fatal(b)
				}
				if plan.Plant = plant; plant != "" && found == 0 && Run(Options{Plan: plan}).Breach != nil {
					found++
				}
				plan.Seed++
			}
			require.True(t, plant == "" || found > 0, "plant %s is not found any more", plant)
		})
	}
}

// TestPlanReadBackIsTheSameWorld: nothing that a seed decides is missing in the
// text of its plan.
func TestPlanReadBackIsTheSameWorld(t *testing.T) {
	for seed := uint64(1); seed <= 2; seed++ {
		set := plan.Of(seed)
		read, err := plan.Parse(set.String())
		require.NoError(t, err)
		require.Equal(t, set, read)
		require.Equal(t, Run(Options{Seed: seed}).Hash, Run(Options{Plan: read}).Hash)
	}
}
