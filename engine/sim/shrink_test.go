package sim

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// shrunkLinesMax is what a planted bug's plan may be at most.
const shrunkLinesMax = 30

// TestAPlantedBugShrinksToAPageOfItsOwn: whoever gets a failing seed reads a plan
// that fits a screen, and its text breaks the same way.
func TestAPlantedBugShrinksToAPageOfItsOwn(t *testing.T) {
	plants := Plants
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
			runs := 0
			shrinking := Shrinking{Plant: plant, Runs: 400, Each: func(n, _ int) { runs = n }}
			plan, short := shrinking.Run(t.Context(), PlanOf(long.Seed))
			require.NotNil(t, short)
			require.Equal(t, long.Invariant, short.Invariant)
			t.Logf("seed %d, %s: %d lines in %d worlds\n%s", long.Seed, short.Invariant, plan.Lines(), runs, plan)
			require.LessOrEqual(t, plan.Lines(), shrunkLinesMax)
			again, err := ParsePlan(plan.String())
			require.NoError(t, err)
			require.Equal(t, short.Head(), Run(Options{Plan: again}).Breach.Head())
		})
	}
}

// TestAPlanThatBreaksNothingComesBackAsItWas: shrinking invents no failure.
func TestAPlanThatBreaksNothingComesBackAsItWas(t *testing.T) {
	plan := &Plan{seed: 1, params: simple(), items: []item{{at: 1e9, kind: burst, count: 3}}}
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
			plan, err := ParsePlan(string(text))
			require.NoError(t, err)
			plant, found := plan.plant, 0
			for range savedSeeds {
				plan.plant = ""
				if b := Run(Options{Plan: plan}).Breach; b != nil {
					t.Fatal(b)
				}
				if plan.plant = plant; plant != "" && found == 0 && Run(Options{Plan: plan}).Breach != nil {
					found++
				}
				plan.seed++
			}
			require.True(t, plant == "" || found > 0, "plant %s is not found any more", plant)
		})
	}
}
