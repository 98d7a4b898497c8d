package sim

import (
	"context"

	"github.com/claudefs/repl/engine/sim/plan"
)

// Shrinking takes a plan that breaks an invariant to a short one that breaks the same
// invariant: plan.Shrinking, whose plans are lived here.
type Shrinking struct {
	Steps int                    // budget, see StepsDefault
	Plant plan.Plant             // as in Options
	Each  func(steps, lines int) // told of progress; nil = nobody
}

// worldStepsMin is what a world costs that hardly lives: it has to be built.
const worldStepsMin = 100

// Run shrinks a plan and returns the shortest one found, with its breach; a nil
// breach says that the plan breaks nothing, and comes back as it was. It stops
// early when ctx ends.
func (o Shrinking) Run(ctx context.Context, p *plan.Plan) (*plan.Plan, *Breach) {
	live := func(p *plan.Plan) (*plan.Broken, int) {
		r := Run(Options{Plan: p, Plant: o.Plant})
		steps := max(r.Steps, worldStepsMin)
		if r.Breach == nil {
			return nil, steps
		}
		return &plan.Broken{Invariant: r.Breach.Invariant, Text: r.Breach.Text, At: r.Breach.At, Of: r.Breach}, steps
	}
	short, broken := plan.Shrinking{Steps: o.Steps, Plant: o.Plant, Each: o.Each, Live: live}.Run(ctx, p)
	if broken == nil {
		return short, nil
	}
	return short, broken.Of.(*Breach)
}
