package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/claudefs/repl/engine/sim"
	"github.com/claudefs/repl/engine/sim/plan"
	"github.com/claudefs/repl/tools/cli/progress"
	"github.com/spf13/cobra"
)

// simSeedsMax bounds a campaign: beyond it the seeds' statistics fill memory.
const simSeedsMax = 100_000_000

func (a *app) sim() *cobra.Command {
	return branch("sim", "simulated worlds: run, replay, shrink, ledger",
		a.simRun(), a.simReplay(), a.simPlan(), a.simShrink(), a.simLedger())
}

// simFlags are what a campaign takes.
type simFlags struct {
	seeds string
	jobs  int
	plant string
}

func (f *simFlags) add(c *cobra.Command) {
	fs := c.Flags()
	fs.SortFlags = false
	fs.StringVar(&f.seeds, "seeds", "1-2000", "the seeds, `FIRST-LAST`, or one")
	fs.IntVar(&f.jobs, "jobs", runtime.NumCPU(), "`N` worlds at a time")
	simPlantFlag(c, &f.plant)
}

func simPlantFlag(c *cobra.Command, plant *string) {
	c.Flags().StringVar(plant, "plant", "", "make this `MISTAKE` on purpose: the simulator must find it")
}

func simPlant(name string) error {
	if err := plan.Plant(name).Check(); err != nil {
		return usage("omit --plant", "--plant: %w", err)
	}
	return nil
}

// campaign is what the flags ask for.
func (f *simFlags) campaign() (*sim.Campaign, error) {
	first, last, err := parseSeeds(f.seeds)
	if err != nil {
		return nil, err
	}
	if f.jobs < 1 || f.jobs > 1024 {
		return nil, usage("omit --jobs for one per processor", "--jobs %d: want 1 to 1024", f.jobs)
	}
	if err := simPlant(f.plant); err != nil {
		return nil, err
	}
	return &sim.Campaign{
		First: first, Seeds: int(last - first + 1), Jobs: f.jobs, Plant: plan.Plant(f.plant), Broken: 3,
	}, nil
}

func parseSeeds(s string) (first, last uint64, err error) {
	lo, hi, several := strings.Cut(s, "-")
	first, err = strconv.ParseUint(lo, 10, 64)
	if last = first; several && err == nil {
		last, err = strconv.ParseUint(hi, 10, 64)
	}
	const next = "write for example --seeds 1-2000"
	switch {
	case errors.Is(err, strconv.ErrRange):
		return 0, 0, usage(next, "--seeds %q: a seed is a number up to %d", s, uint64(math.MaxUint64))
	case err != nil:
		return 0, 0, usage(next, "--seeds %q is not FIRST-LAST", s)
	case last < first:
		return 0, 0, usage(next, "--seeds %q: the last seed comes before the first", s)
	case last-first >= simSeedsMax:
		return 0, 0, usage(next, "--seeds %q: %d seeds at most", s, simSeedsMax)
	}
	return first, last, nil
}

func (a *app) simRun() *cobra.Command {
	var (
		f      simFlags
		asJSON *bool
	)
	c := verb("run [--seeds FIRST-LAST] [--jobs N]", "many worlds, all faults on, one verdict", Read, 0, 0,
		func(c *cobra.Command, _ []string) error {
			campaign, err := f.campaign()
			if err != nil {
				return err
			}
			return a.simConclude(a.simCampaign(c.Context(), campaign), *asJSON)
		})
	c.Long = `Runs worlds of two or three sites, each decided by its seed alone, and checks the numbered promises after
every event. The first line is the verdict. For each broken world it prints the command that runs it again.
A campaign is invalid (exit code 1) if it proves too little, or if it has 1000 seeds or more and misses a mark.`
	f.add(c)
	asJSON = verdictOutput(c)
	return c
}

// simCampaign runs a campaign and shows how far it is.
func (a *app) simCampaign(ctx context.Context, c *sim.Campaign) *sim.Report {
	line, done, broken, steps := progress.New(a.stderr), 0, 0, 0
	c.Each = func(r sim.Result) {
		done, steps = done+1, steps+r.Steps
		if r.Breach != nil {
			broken++
			line.Say("%s", r.Breach.Error())
		}
		line.Show(func() string {
			return fmt.Sprintf("sim: %d of %d seeds, %d steps, %d broken", done, c.Seeds, steps, broken)
		})
	}
	return c.Run(ctx)
}

// simVerdict is "cfs sim run --json".
type simVerdict struct {
	Schema         int              `json:"schema"`
	Kind           string           `json:"kind"`
	OK             bool             `json:"ok"`
	Invalid        *string          `json:"invalid"` // why the campaign proves nothing; null = it does
	Seeds          int              `json:"seeds"`
	Steps          int              `json:"steps"`
	Faults         int              `json:"faults"`
	StepsMedian    int              `json:"steps_median"`
	FaultsMedian   int              `json:"faults_median"`
	StepsPerSecond int              `json:"steps_per_cpu_second"`
	Acked          int              `json:"acked"`
	VirtualSeconds float64          `json:"virtual_seconds"`
	WallSeconds    float64          `json:"wall_seconds"`
	MarksReached   int              `json:"marks_reached"`
	MarksWanted    int              `json:"marks_wanted"`
	FaultsByKind   map[string]int   `json:"faults_by_kind"`
	WorldsByMark   map[string]int   `json:"worlds_by_mark"`
	Broken         []simBrokenWorld `json:"broken"`
}

type simBrokenWorld struct {
	Seed      uint64 `json:"seed"`
	Invariant string `json:"invariant"`
	Text      string `json:"text"`
	Replay    string `json:"replay"`
}

func newSimVerdict(r *sim.Report) *simVerdict {
	v := &simVerdict{
		Schema: 1, Kind: "sim", OK: len(r.Broken) == 0 && r.Invalid() == "",
		Seeds: r.Seeds, Steps: r.Steps, Faults: r.Faults,
		StepsMedian: r.StepsMedian, FaultsMedian: r.FaultsMedian, StepsPerSecond: r.StepsPerSecond(), Acked: r.Acked,
		VirtualSeconds: r.Virtual.Seconds(), WallSeconds: r.Wall.Seconds(),
		MarksReached: r.MarksReached(), MarksWanted: len(sim.Marks), FaultsByKind: r.Kinds, WorldsByMark: r.Marks,
		Broken: []simBrokenWorld{},
	}
	if why := r.Invalid(); why != "" {
		v.Invalid = &why
	}
	for _, b := range r.Broken {
		v.Broken = append(v.Broken, simBrokenWorld{b.Seed, b.Invariant, b.Text, b.Replay()})
	}
	return v
}

// simConclude prints the verdict.
func (a *app) simConclude(r *sim.Report, asJSON bool) error {
	if asJSON {
		if err := (&output{format: FormatJSON, stdout: a.stdout}).object(newSimVerdict(r)); err != nil {
			return err
		}
	} else {
		fmt.Fprintln(a.stdout, r.Line())
		fmt.Fprintln(a.stdout, r.Pace())
	}
	switch {
	case len(r.Broken) > 0:
		return simBroken(r.Broken[0])
	case r.Invalid() != "":
		return failure(ExitFailed, fmt.Errorf("invalid campaign: %s", r.Invalid()), "run more seeds")
	}
	return nil
}

// simBroken is a broken world as a failure; its plan and last events are shown already.
func simBroken(b *sim.Breach) error {
	return failure(ExitFailed, errors.New(b.Head()), cmp.Or(b.Shrink(), b.Replay()))
}

// simRead takes a seed, or a file with a plan, and a mistake to plant.
func simRead(arg, plant string) (o sim.Options, err error) {
	if err := simPlant(plant); err != nil {
		return o, err
	}
	o.Plant = plan.Plant(plant)
	seed, err := strconv.ParseUint(arg, 10, 64)
	if err == nil {
		o.Plan = plan.Of(seed)
		return o, nil
	}
	const next = "name a seed, or a file with a plan: cfs sim plan SEED > FILE"
	if errors.Is(err, strconv.ErrRange) {
		return o, usage(next, "seed %s: a seed is a number up to %d", arg, uint64(math.MaxUint64))
	}
	text, err := os.ReadFile(arg)
	if err != nil {
		return o, failure(ExitUsage, err, next)
	}
	o.File = arg
	if o.Plan, err = plan.Parse(string(text)); err != nil {
		return o, failure(ExitUsage, fmt.Errorf("%s: %w", arg, err), "compare with: cfs sim plan 1")
	}
	return o, nil
}

func (a *app) simReplay() *cobra.Command {
	var (
		trace bool
		plant string
	)
	c := verb("replay SEED|FILE [--trace]", "one world again, event by event if you like", Read, 1, 1,
		func(c *cobra.Command, args []string) error {
			o, err := simRead(args[0], plant)
			if err != nil {
				return err
			}
			o.Trace = trace
			r := sim.Run(o)
			fmt.Fprint(a.stdout, r.Trace)
			fmt.Fprintln(a.stdout, r.Line())
			if r.Breach != nil {
				fmt.Fprintln(a.stderr, r.Breach.Error())
				return simBroken(r.Breach)
			}
			return nil
		})
	c.Long = `Lives the world of a seed, or of a plan in a file, once more: the same plan always gives the same
events. The last line on stdout is what came of it; exit code 1 if a promise is broken.`
	c.Flags().BoolVar(&trace, "trace", false, "print every event")
	simPlantFlag(c, &plant)
	return c
}

func (a *app) simPlan() *cobra.Command {
	c := verb("plan SEED|FILE", "what a seed decides, a line for each item", Read, 1, 1,
		func(_ *cobra.Command, args []string) error {
			o, err := simRead(args[0], "")
			if err == nil {
				fmt.Fprint(a.stdout, o.Plan)
			}
			return err
		})
	c.Long = `Prints the whole plan of a world: its parameters, unless they are the simple ones, then faults,
appends and operators' actions in the order of their times. cfs sim replay and shrink read it from a file.`
	return c
}

func (a *app) simShrink() *cobra.Command {
	var (
		out, plant string
		steps      int
	)
	c := verb("shrink SEED|FILE [--out FILE]", "the shortest plan that breaks the same promise", Read, 1, 1,
		func(c *cobra.Command, args []string) error {
			if steps < 1 {
				return usage(fmt.Sprintf("omit --steps for %d", plan.StepsDefault), "--steps %d: at least 1", steps)
			}
			o, err := simRead(args[0], plant)
			if err == nil {
				err = simWritable(out)
			}
			if err != nil {
				return err
			}
			line, before := progress.New(a.stderr), o.Plan.Lines()
			shrinking := sim.Shrinking{Plant: o.Plant, Steps: steps, Each: func(n, lines int) {
				line.Show(func() string { return fmt.Sprintf("sim: %d lines of %d after %d steps", lines, before, n) })
			}}
			short, breach := shrinking.Run(c.Context(), o.Plan)
			if breach == nil {
				return failure(ExitRefused, fmt.Errorf("%s breaks no promise", args[0]),
					"look for a seed that does: cfs sim run")
			}
			if out == "" {
				out = simFileName(breach)
			}
			if err := simWrite(out, short, breach); err != nil {
				fmt.Fprint(a.stdout, short) // minutes of work
				return err
			}
			fmt.Fprintf(a.stdout, "%s: %d lines of %d: %s\n", out, short.Lines(), before, breach.Head())
			return nil
		})
	c.Long = `Leaves out of a plan whatever is not needed to break the same promise, and writes what stays as a
file. It ends when nothing more can go, when --steps are lived (a seed's world has ten thousand; the
default takes some minutes), or when it is interrupted: what it has by then is written. Files in
testdata/sim are replayed by every go test: say in a comment what the plan shows.`
	c.Flags().StringVar(&out, "out", "", "`FILE` to write (default testdata/sim/INVARIANT-SEED.txt, or here)")
	c.Flags().IntVar(&steps, "steps", plan.StepsDefault, "`N` steps to live at most, in all the worlds it tries")
	simPlantFlag(c, &plant)
	return c
}

// simWritable refuses a file that no plan can be written to, before minutes are spent
// on the plan. What is in the file stays; "" is a name that is not known yet.
func simWritable(file string) error {
	if file == "" {
		return nil
	}
	_, missing := os.Stat(file)
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE, 0o644)
	if err == nil {
		err = f.Close()
	}
	if missing != nil && err == nil {
		err = os.Remove(file)
	}
	if err != nil {
		return failure(ExitUsage, err, "name a file that can be written: --out FILE")
	}
	return nil
}

// simWrite saves a plan, with what it breaks as a comment.
func simWrite(file string, plan *plan.Plan, b *sim.Breach) error {
	text := fmt.Sprintf("%s# %s\n", plan, strings.ReplaceAll(b.Head(), "\n", "\n# "))
	return os.WriteFile(file, []byte(text), 0o644)
}

// simFileName is where a shrunken plan goes unless somebody says.
func simFileName(b *sim.Breach) string {
	name := fmt.Sprintf("%s-%d.txt", strings.ToLower(b.Invariant), b.Seed)
	if s, err := os.Stat("testdata/sim"); err == nil && s.IsDir() {
		return filepath.Join("testdata/sim", name)
	}
	return name
}
