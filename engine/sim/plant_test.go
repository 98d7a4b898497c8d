package sim

import (
	"fmt"
	"testing"

	"github.com/claudefs/repl/engine/sim/plan"
)

// plantSeedsMax is within how many seeds each planted bug must be found.
const plantSeedsMax = 60

// TestPlantedBugsAreFound tests the simulator: each mistake of Plants must turn
// a campaign red. TestMuseum does the same with the engine's own mistakes.
func TestPlantedBugsAreFound(t *testing.T) {
	for _, plant := range plan.Plants {
		r := (&Campaign{First: 1, Seeds: plantSeedsMax, Jobs: 1, Plant: plant}).Run(t.Context())
		if len(r.Broken) == 0 {
			t.Errorf("sim-red: plant=%s not found in %d seeds", plant, r.Seeds)
			continue
		}
		found := r.Broken[0]
		fmt.Printf("sim-red: plant=%s found seed=%d steps=%d invariant=%s\n", plant,
			found.Seed, found.Step, found.Invariant)
	}
}
