package sim

import (
	"flag"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/claudefs/repl/engine/sim/plan"
	"github.com/stretchr/testify/require"
)

var (
	seedsFlag    = flag.Int("seeds", 0, "worlds to run; 0 = a few, for every change")
	seed0Flag    = flag.Uint64("seed0", 1, "first seed")
	parallelFlag = flag.Int("parallel", runtime.NumCPU(), "worlds at a time")
	traceFlag    = flag.Bool("trace", false, "print every event of each world")
	plantFlag    = flag.String("plant", "", "make this mistake on purpose")
)

// How many worlds every change lives through.
const (
	seedsDefault = 30
	seedsRace    = 6
)

// TestCampaign lives many worlds with all faults on: the invariants that doc.go
// lists hold in each.
func TestCampaign(t *testing.T) {
	c := Campaign{
		First: *seed0Flag, Seeds: *seedsFlag, Jobs: *parallelFlag, Broken: 3,
		Plant: plan.Plant(*plantFlag), Trace: *traceFlag,
		Each: func(r Result) {
			if *traceFlag {
				fmt.Print(r.Trace)
			}
		},
	}
	switch {
	case c.Seeds == 0 && raceEnabled:
		c.Seeds = seedsRace
	case c.Seeds == 0:
		c.Seeds = seedsDefault
	}
	r := c.Run(t.Context())
	fmt.Printf("sim: faults by kind:%s\n", counts(r.Kinds))
	fmt.Printf("sim: worlds that reached:%s\n", counts(r.Marks))
	fmt.Println(r.Line())
	fmt.Println(r.Pace())
	for _, b := range r.Broken {
		t.Error(b)
	}
	if why := r.Invalid(); why != "" && len(r.Broken) == 0 {
		t.Errorf("invalid campaign: %s", why)
	}
}

func counts(m map[string]int) string {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(m)) {
		fmt.Fprintf(&b, " %s=%d", strings.ReplaceAll(k, " ", "-"), m[k])
	}
	return b.String()
}

// TestSameSeedGivesTheSameTrace: the world has no clock, no map order, no
// scheduler of its own.
func TestSameSeedGivesTheSameTrace(t *testing.T) {
	a, b := Run(Options{Seed: 7}), Run(Options{Seed: 7})
	require.Equal(t, a.Hash, b.Hash)
	require.Equal(t, a.Steps, b.Steps)
	require.NotEqual(t, a.Hash, Run(Options{Seed: 8}).Hash)
}
