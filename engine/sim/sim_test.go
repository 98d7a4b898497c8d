package sim

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var (
	seedsFlag    = flag.Int("seeds", 0, "worlds to run; 0 = a few, for every change")
	seed0Flag    = flag.Uint64("seed0", 1, "first seed")
	parallelFlag = flag.Int("parallel", runtime.NumCPU(), "worlds at a time")
	traceFlag    = flag.Bool("trace", false, "print every event of each world")
	plantFlag    = flag.String("plant", "", "make this mistake on purpose")
)

// A campaign whose worlds are thinner than this proves nothing.
const (
	stepsMedianMin  = 5000
	faultsMedianMin = 50
	seedsDefault    = 30
	twiceEvery      = 100 // 1 % of the seeds run twice
	marksSeedsMin   = 1000
)

// marks are situations that a campaign of marksSeedsMin seeds must reach: else
// it has not tried what it claims to.
var marks = []string{
	"torn tail cut", "power cut with unsynced bytes", "journal poisoned", "store went back", "half a frame",
	"batch with a wrong digest", "admitted unverified", "own batches fetched back", "damage found at open",
	"feed met damage", "mirror repaired", "suspect log", "suspect log cleared", "segment given back",
	"fetch answered", "writer full",
}

// campaign runs worlds in parallel, each on its own, and stops at the first
// breach. each is called from one goroutine at a time.
func campaign(seed0 uint64, seeds, parallel int, o Options, each func(Result) bool) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	next, stop := 0, false
	for range max(1, min(parallel, seeds)) {
		wg.Add(1)
		go func() { // ends when no seed is left
			defer wg.Done()
			for {
				mu.Lock()
				n := next
				next++
				over := stop || n >= seeds
				mu.Unlock()
				if over {
					return
				}
				mine := o
				mine.Seed = seed0 + uint64(n)
				r := Run(mine)
				if mine.Seed%twiceEvery == 0 && r.Breach == nil {
					if again := Run(mine); again.Hash != r.Hash {
						r.Breach = &Breach{Seed: mine.Seed, Invariant: "determinism",
							Text: fmt.Sprintf("two runs have the trace hashes %016x and %016x\n", r.Hash, again.Hash)}
					}
				}
				mu.Lock()
				stop = !each(r) || stop
				mu.Unlock()
			}
		}()
	}
	wg.Wait()
}

// TestCampaign lives many worlds with all faults on: I1–I4, I7, I9 and I14 hold
// in each.
func TestCampaign(t *testing.T) {
	seeds := *seedsFlag
	if seeds == 0 {
		seeds = seedsDefault
	}
	begun := time.Now()
	var steps, faults []int
	kinds, reached := map[string]int{}, map[string]int{}
	broken, acked, virtual := 0, 0, time.Duration(0)
	o := Options{Trace: *traceFlag, Plant: Plant(*plantFlag)}
	campaign(*seed0Flag, seeds, *parallelFlag, o, func(r Result) bool {
		if *traceFlag {
			fmt.Print(r.Trace)
		}
		steps, faults = append(steps, r.Steps), append(faults, r.Faults)
		virtual += r.Time
		acked += r.Acked
		for k, n := range r.Kinds {
			kinds[k] += n
		}
		for m := range r.Marks {
			reached[m]++
		}
		if r.Breach != nil {
			broken++
			t.Error(r.Breach)
		}
		return broken < 3
	})
	fmt.Printf("sim: faults by kind:%s\n", counts(kinds))
	fmt.Printf("sim: worlds that reached:%s\n", counts(reached))
	fmt.Printf("sim: median steps=%d faults=%d a seed; acked=%d, %s virtual in %s\n", median(steps), median(faults),
		acked, virtual.Round(time.Second), time.Since(begun).Round(time.Millisecond))
	for _, mark := range marks {
		if broken == 0 && seeds >= marksSeedsMin && reached[mark] == 0 {
			t.Errorf("invalid campaign: no world reached %q", mark)
		}
	}
	fmt.Printf("sim: seeds=%d steps=%d faults=%d broken=%d\n", len(steps), sum(steps), sum(faults), broken)
	if broken == 0 && (median(steps) < stepsMedianMin || median(faults) < faultsMedianMin) {
		t.Errorf("invalid campaign: median of %d steps and %d faults a seed, want %d and %d",
			median(steps), median(faults), stepsMedianMin, faultsMedianMin)
	}
}

func counts(m map[string]int) string {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(m)) {
		fmt.Fprintf(&b, " %s=%d", strings.ReplaceAll(k, " ", "-"), m[k])
	}
	return b.String()
}

func median(n []int) int {
	if len(n) == 0 {
		return 0
	}
	slices.Sort(n)
	return n[len(n)/2]
}

func sum(n []int) (total int) {
	for _, v := range n {
		total += v
	}
	return total
}

// TestSameSeedGivesTheSameTrace: the world has no clock, no map order, no
// scheduler of its own.
func TestSameSeedGivesTheSameTrace(t *testing.T) {
	a, b := Run(Options{Seed: 7}), Run(Options{Seed: 7})
	require.Equal(t, a.Hash, b.Hash)
	require.Equal(t, a.Steps, b.Steps)
	require.NotEqual(t, a.Hash, Run(Options{Seed: 8}).Hash)
}

// TestRegressionSeedsHold replays every seed that once found a bug.
func TestRegressionSeedsHold(t *testing.T) {
	b, err := os.ReadFile("testdata/regression.seeds")
	require.NoError(t, err)
	for line := range strings.Lines(string(b)) {
		text, _, _ := strings.Cut(line, "#")
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		seed, err := strconv.ParseUint(text, 10, 64)
		require.NoError(t, err, line)
		if r := Run(Options{Seed: seed}); r.Breach != nil {
			t.Error(r.Breach)
		}
	}
}
