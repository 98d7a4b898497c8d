package sim

import (
	"fmt"
	"testing"
)

// plantSeedsMax is within how many seeds each planted bug must be found.
const plantSeedsMax = 60

// TestPlantedBugsAreFound tests the simulator: each mistake of Plants must turn
// a campaign red.
func TestPlantedBugsAreFound(t *testing.T) {
	for _, plant := range Plants {
		var found *Breach
		tried := 0
		campaign(1, plantSeedsMax, 1, Options{Plant: plant}, func(r Result) bool {
			tried++
			found = r.Breach
			return found == nil
		})
		if found == nil {
			t.Errorf("sim-red: plant=%s not found in %d seeds", plant, tried)
			continue
		}
		fmt.Printf("sim-red: plant=%s found seed=%d steps=%d invariant=%s\n", plant,
			found.Seed, found.Step, found.Invariant)
	}
}
