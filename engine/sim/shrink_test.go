package sim

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/zeebo/xxh3"
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
			steps := 0
			shrinking := Shrinking{Plant: plant, Steps: 1_000_000, Each: func(n, _ int) { steps = n }}
			plan, short := shrinking.Run(t.Context(), PlanOf(long.Seed))
			require.NotNil(t, short)
			require.Equal(t, long.Invariant, short.Invariant)
			t.Logf("seed %d, %s: %d lines in %d steps\n%s", long.Seed, short.Invariant, plan.Lines(), steps, plan)
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

// bursts is a plan of n bursts, a millisecond apart.
func bursts(n int) *Plan {
	plan := &Plan{seed: 1, params: simple()}
	for i := range n {
		plan.items = append(plan.items, item{at: time.Duration(i+1) * time.Millisecond, kind: burst, count: 1})
	}
	return plan
}

// coincidence breaks as long as nothing is left out, and then for one plan in forty
// of those with up to itemsMax items.
func coincidence(whole, itemsMax int) func(*Plan) (*Breach, int) {
	return func(p *Plan) (*Breach, int) {
		n := len(p.items)
		if n != whole && (n == 0 || n > itemsMax || xxh3.HashString(p.String())%40 != 0) {
			return nil, 1
		}
		return &Breach{Invariant: "I1", At: time.Second}, 1
	}
}

// TestACoincidenceIsFoundAgainUnderAnotherSeed: what is left out moves what must come
// together, and other delays bring it together again.
func TestACoincidenceIsFoundAgainUnderAnotherSeed(t *testing.T) {
	o := Shrinking{test: coincidence(sampleItemsMax, sampleItemsMax)}
	plan, breach := o.Run(t.Context(), bursts(sampleItemsMax))
	require.NotNil(t, breach)
	require.LessOrEqual(t, len(plan.items), 5)
	again, _ := o.Run(t.Context(), bursts(sampleItemsMax))
	require.Equal(t, plan, again)
}

// TestATinyWorldIsFoundWhereNothingCanBeLeftOut: not a single item of two hundred can
// go, but a few of them do by themselves.
func TestATinyWorldIsFoundWhereNothingCanBeLeftOut(t *testing.T) {
	o := Shrinking{test: coincidence(200, 10)}
	plan, breach := o.Run(t.Context(), bursts(200))
	require.NotNil(t, breach)
	require.LessOrEqual(t, len(plan.items), 10)
	again, _ := o.Run(t.Context(), bursts(200))
	require.Equal(t, plan, again)
}

// TestShrinkingKeepsWhatItHasWhenItMustEnd: by its budget, or because nobody waits any
// longer.
func TestShrinkingKeepsWhatItHasWhenItMustEnd(t *testing.T) {
	lived := 0
	all := func(p *Plan) (*Breach, int) {
		lived++
		return &Breach{Invariant: "I1", At: time.Second}, 100
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for _, o := range []Shrinking{
		{test: all, Steps: 500},
		{test: all, Each: func(steps, _ int) {
			if steps == 500 {
				cancel()
			}
		}},
	} {
		lived = 0
		plan, breach := o.Run(ctx, bursts(200))
		require.NotNil(t, breach)
		require.Less(t, len(plan.items), 200)
		require.Equal(t, 1+5, lived, "the plan as it came, and five worlds")
	}
}

// TestAnotherPanicIsAnotherBreach: panics have one name and many causes.
func TestAnotherPanicIsAnotherBreach(t *testing.T) {
	nilMap := &Breach{Invariant: "panic", Text: "assignment to entry in nil map\ngoroutine 1"}
	require.True(t, nilMap.like(&Breach{Invariant: "panic", Text: "assignment to entry in nil map\ngoroutine 7"}))
	require.False(t, nilMap.like(&Breach{Invariant: "panic", Text: "index out of range [2]\ngoroutine 1"}))
	require.False(t, nilMap.like(&Breach{Invariant: "I1"}))
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
