// Package plan decides a whole world of the simulator before it begins: the same seed gives
// the same [Plan], and the same plan the same world, on every machine.
//
//	seed ──Of──▶ Plan ──String──▶ text ──Parse──▶ the same Plan
//	              │
//	              ├──▶ the world that lives it (engine/sim)
//	              └──Shrinking──▶ the shortest plan found that breaks the same promise
//
// A plan has parameters, and items in the order of their times. Each item chooses by a draw
// of its own, so one that is left out changes nothing for those that stay. A plan is text,
// one parameter or item per line; defaults are omitted:
//
//	sim plan 1
//	seed 9
//	sites 3
//	13ms burst count=4 span=20ms draw=8
//	15ms cut-both site-b span=5ms draw=17
//	1.2s power site-a span=1s phase=sync draw=5
//
// The first line is the version of this text. Saved plans in testdata/sim are read by every
// later release, so names of parameters, kinds, phases and points are never used again for
// something else.
//
// # Invariants
//
//   - Parse(p.String()) equals p (FuzzPlan). A text that no world could live is ErrPlan, with
//     the number of the line.
//   - Draws of a seed come from named streams. A new consumer takes a new name, so it shifts
//     nobody else's draws.
//   - A shrunk plan breaks the invariant that the plan breaks which came in.
//
// # What it does not do
//
// Live a plan, or know what a promise is: Shrinking is given a function that lives one and
// says what broke. What strikes how is the world's, by kind.
package plan
