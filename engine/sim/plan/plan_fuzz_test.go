package plan

import (
	"errors"
	"reflect"
	"testing"
)

// FuzzPlan: a text is refused as no plan, or prints as a text that is the same plan:
// what a failure prints can be run again. No world is run.
func FuzzPlan(f *testing.F) {
	p := Of(1)
	p.Items = p.Items[:20] // a whole one is long, and the fuzzer slow
	f.Add(p.String())
	f.Add("sim plan 1\nseed 7\nplant none\n")
	f.Add("# by hand\nsim plan 1\nsites 3\nshards 0x10\n\n1.5h kill site-b span=90s phase=mid-write draw=8")
	f.Add("sim plan 1\nsite-a.sometimes ,\nsite-b.drift-ppm -3\n2s burst count=4\n1s flap site-a count=2 # first")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := Parse(text)
		if err != nil {
			if !errors.Is(err, ErrPlan) {
				t.Fatal(err)
			}
			return
		}
		again, err := Parse(p.String())
		if err != nil {
			t.Fatalf("%q prints as %q: %v", text, p, err)
		}
		if !reflect.DeepEqual(again, p) || again.String() != p.String() {
			t.Fatalf("%q prints as %q, which is the plan %q", text, p, again)
		}
	})
}
