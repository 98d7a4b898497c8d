package sim

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/claudefs/repl/engine/internal/plant"
	"github.com/claudefs/repl/engine/sim/plan"
)

// A campaign whose worlds are thinner than this proves nothing.
const (
	stepsMedianMin  = 5000
	faultsMedianMin = 50
	twiceEvery      = 100 // 1 % of the seeds run twice
	// invariantTrace is broken where two runs of a seed differ: one run shows nothing.
	invariantTrace = "determinism"
	// MarksSeedsMin is how many seeds a campaign needs before a mark that none of
	// them reached makes it invalid.
	MarksSeedsMin = 1000
)

// Campaign is many worlds, each from its own seed.
type Campaign struct {
	First  uint64 // the first seed
	Seeds  int
	Jobs   int // worlds at a time; default one per processor
	Plant  plan.Plant
	Trace  bool
	Broken int          // stop after so many broken worlds; default 1
	Each   func(Result) // told of every world, one at a time, in no order; nil = nobody
}

// Report is what came of a campaign.
type Report struct {
	Seeds        int
	Steps        int
	Faults       int
	StepsMedian  int // per seed
	FaultsMedian int
	Kinds        map[string]int // faults by kind
	Marks        map[string]int // worlds that reached a mark
	Acked        int            // entries acknowledged as local
	Virtual      time.Duration
	Wall         time.Duration
	CPU          time.Duration // processor time of the whole process meanwhile
	Broken       []*Breach
	Whole        bool // every seed was run
}

// Run lives the campaign's worlds in parallel, each on a goroutine of its own,
// until they are done, ctx ends, or enough are broken.
func (c *Campaign) Run(ctx context.Context) *Report {
	jobs := c.Jobs
	if jobs <= 0 {
		jobs = runtime.GOMAXPROCS(0)
	}
	run := &campaignRun{
		c: c, report: &Report{Kinds: map[string]int{}, Marks: map[string]int{}},
	}
	begun, cpu := time.Now(), cpuSpent()
	var all sync.WaitGroup
	for range max(1, min(jobs, c.Seeds)) {
		all.Go(func() { run.work(ctx) }) // ends when no seed is left
	}
	all.Wait()
	r := run.report
	r.Wall, r.CPU = time.Since(begun), cpuSpent()-cpu
	r.Whole = r.Seeds == c.Seeds
	r.StepsMedian, r.FaultsMedian = median(run.steps), median(run.faults)
	return r
}

// campaignRun is a campaign under way.
type campaignRun struct {
	c      *Campaign
	mu     sync.Mutex // guards the rest
	next   int
	steps  []int
	faults []int
	report *Report
}

func (r *campaignRun) work(ctx context.Context) {
	for {
		r.mu.Lock()
		n := r.next
		r.next++
		over := n >= r.c.Seeds || ctx.Err() != nil || len(r.report.Broken) >= max(1, r.c.Broken)
		r.mu.Unlock()
		if over {
			return
		}
		o := Options{Seed: r.c.First + uint64(n), Plant: r.c.Plant, Trace: r.c.Trace}
		result := Run(o)
		if o.Seed%twiceEvery == 0 && result.Breach == nil {
			if again := Run(o); again.Hash != result.Hash {
				result.Breach = &Breach{
					Seed: o.Seed, Invariant: invariantTrace, Plant: o.Plant, Mistake: plant.Name,
					Plan: result.Plan.Summary(),
					Text: fmt.Sprintf("two runs have the trace hashes %016x and %016x", result.Hash, again.Hash),
				}
			}
		}
		r.add(result)
	}
}

func (r *campaignRun) add(result Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	sum := r.report
	r.steps, r.faults = append(r.steps, result.Steps), append(r.faults, result.Faults)
	sum.Seeds++
	sum.Steps += result.Steps
	sum.Faults += result.Faults
	sum.Acked += result.Acked
	sum.Virtual += result.Time
	for k, n := range result.Kinds {
		sum.Kinds[k] += n
	}
	for m := range result.Marks {
		sum.Marks[m]++
	}
	if result.Breach != nil {
		sum.Broken = append(sum.Broken, result.Breach)
	}
	if r.c.Each != nil {
		r.c.Each(result)
	}
}

func median(n []int) int {
	if len(n) == 0 {
		return 0
	}
	slices.Sort(n)
	return n[len(n)/2]
}

// MarksReached is how many of the wanted marks some world reached.
func (r *Report) MarksReached() int { return len(Marks) - len(r.MarksMissing()) }

// MarksMissing are the wanted marks that no world reached.
func (r *Report) MarksMissing() (missing []string) {
	for _, m := range Marks {
		if r.Marks[m] == 0 {
			missing = append(missing, m)
		}
	}
	return missing
}

// StepsPerSecond is how many steps one processor does in a second.
func (r *Report) StepsPerSecond() int {
	if r.CPU <= 0 {
		return 0
	}
	return int(float64(r.Steps) / r.CPU.Seconds())
}

// Invalid says why a campaign proves nothing although no world broke: thin
// traffic, or situations that it claims to have tried and did not reach. "" = it
// is valid.
func (r *Report) Invalid() string {
	switch {
	case !r.Whole:
		return fmt.Sprintf("it ended after %d seeds", r.Seeds)
	case r.StepsMedian < stepsMedianMin || r.FaultsMedian < faultsMedianMin:
		return fmt.Sprintf("the median seed has %d steps and %d faults, wanted are %d and %d",
			r.StepsMedian, r.FaultsMedian, stepsMedianMin, faultsMedianMin)
	case r.Seeds >= MarksSeedsMin && len(r.MarksMissing()) > 0:
		return "no world reached: " + strings.Join(r.MarksMissing(), ", ")
	}
	return ""
}

// Line is the verdict.
func (r *Report) Line() string {
	return fmt.Sprintf("sim: seeds=%d steps=%d faults=%d broken=%d marks=%d/%d",
		r.Seeds, r.Steps, r.Faults, len(r.Broken), r.MarksReached(), len(Marks))
}

// Pace is the line below the verdict.
func (r *Report) Pace() string {
	return fmt.Sprintf("sim: median steps=%d faults=%d a seed, %d steps/s per core; acked=%d, %s virtual in %s",
		r.StepsMedian, r.FaultsMedian, r.StepsPerSecond(), r.Acked,
		r.Virtual.Round(time.Second), r.Wall.Round(100*time.Millisecond))
}
