package plan

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/zeebo/xxh3"
)

// bursts is a plan of n bursts, a millisecond apart.
func bursts(n int) *Plan {
	plan := &Plan{Seed: 1, Params: Simple()}
	for i := range n {
		plan.Items = append(plan.Items, Item{At: time.Duration(i+1) * time.Millisecond, Kind: Burst, Count: 1})
	}
	return plan
}

// coincidence breaks as long as nothing is left out, and then for one plan in forty
// of those with up to itemsMax items.
func coincidence(whole, itemsMax int) func(*Plan) (*Broken, int) {
	return func(p *Plan) (*Broken, int) {
		n := len(p.Items)
		if n != whole && (n == 0 || n > itemsMax || xxh3.HashString(p.String())%40 != 0) {
			return nil, 1
		}
		return &Broken{Invariant: "I1", At: time.Second}, 1
	}
}

// TestCoincidenceIsFoundAgainUnderAnotherSeed: what is left out moves what must come
// together, and other delays bring it together again.
func TestCoincidenceIsFoundAgainUnderAnotherSeed(t *testing.T) {
	o := Shrinking{Live: coincidence(sampleItemsMax, sampleItemsMax)}
	plan, breach := o.Run(t.Context(), bursts(sampleItemsMax))
	require.NotNil(t, breach)
	require.LessOrEqual(t, len(plan.Items), 5)
	again, _ := o.Run(t.Context(), bursts(sampleItemsMax))
	require.Equal(t, plan, again)
}

// TestTinyWorldIsFoundWhereNothingCanBeLeftOut: not a single item of two hundred can
// go, but a few of them do by themselves.
func TestTinyWorldIsFoundWhereNothingCanBeLeftOut(t *testing.T) {
	o := Shrinking{Live: coincidence(200, 10)}
	plan, breach := o.Run(t.Context(), bursts(200))
	require.NotNil(t, breach)
	require.LessOrEqual(t, len(plan.Items), 10)
	again, _ := o.Run(t.Context(), bursts(200))
	require.Equal(t, plan, again)
}

// TestShrinkingKeepsWhatItHasWhenItMustEnd: by its budget, or because nobody waits any
// longer.
func TestShrinkingKeepsWhatItHasWhenItMustEnd(t *testing.T) {
	lived := 0
	all := func(p *Plan) (*Broken, int) {
		lived++
		return &Broken{Invariant: "I1", At: time.Second}, 100
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for _, o := range []Shrinking{
		{Live: all, Steps: 500},
		{Live: all, Each: func(steps, _ int) {
			if steps == 500 {
				cancel()
			}
		}},
	} {
		lived = 0
		plan, breach := o.Run(ctx, bursts(200))
		require.NotNil(t, breach)
		require.Less(t, len(plan.Items), 200)
		require.Equal(t, 1+5, lived, "the plan as it came, and five worlds")
	}
}

// TestAnotherPanicIsAnotherBreach: panics have one name and many causes.
func TestAnotherPanicIsAnotherBreach(t *testing.T) {
	nilMap := &Broken{Invariant: "panic", Text: "assignment to entry in nil map\ngoroutine 1"}
	require.True(t, nilMap.like(&Broken{Invariant: "panic", Text: "assignment to entry in nil map\ngoroutine 7"}))
	require.False(t, nilMap.like(&Broken{Invariant: "panic", Text: "index out of range [2]\ngoroutine 1"}))
	require.False(t, nilMap.like(&Broken{Invariant: "I1"}))
}
