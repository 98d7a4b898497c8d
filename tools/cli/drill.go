package cli

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/claudefs/repl/tools/demo"
)

func (a *app) failoverDrill() *cobra.Command {
	var (
		o      demo.DrillOptions
		asJSON *bool
	)
	c := verb("failover-drill [--only NAME]", "move the writer through disasters, count what was lost", Read, 0, 0,
		func(c *cobra.Command, _ []string) error {
			if err := needIO(o.IO); err != nil {
				return err
			}
			if o.StallMax < 0 {
				return usage("omit --stall-max for 2s", "--stall-max %s is negative", o.StallMax)
			}
			var err error
			if o.Binary, err = os.Executable(); err != nil {
				return err
			}
			o.Progress = a.stderr
			if !*asJSON {
				o.Each = func(l *demo.DrillLine) { fmt.Fprintln(a.stdout, l.Line()) }
			}
			v, err := demo.Drill(c.Context(), o)
			switch {
			case errors.Is(err, demo.ErrNoScenario):
				return usage("run: cfs failover-drill --help", "--only %w", err)
			case err != nil:
				return runFailure(err)
			}
			return a.conclude(v, v.OK, *asJSON)
		})
	c.Long = `Plays disasters on two or three servers under load, each on new directories, and ends them with
the verbs of an operator: switchover, failover, mend, sites add. It prints one line for each, then how many
went well. The exit code is 0 if all did, otherwise 1. A scenario goes well if, in the end, one site writes,
all sites are equal by verify and by digest, no request was done twice, and nothing is gone that every site
had durably. Orphans are entries of a journal that did not survive. What else was acknowledged and is gone
must be among them. rto_ms is the longest time in which no append was acknowledged. Scenarios:
  ` + strings.Join(demo.DrillScenarios(), "\n  ")
	fs := c.Flags()
	fs.SortFlags = false
	fs.StringSliceVar(&o.Only, "only", nil, "play this scenario, `NAME`; repeat for several (default all)")
	fs.DurationVar(&o.StallMax, "stall-max", 2*time.Second,
		"`TIME` that appends may stand still in a switchover; 0 = any")
	fs.Uint64Var(&o.Seed, "seed", 0, "`N` that the operations are drawn from (default random)")
	fs.StringVar(&o.IO, "io", ioAuto, "`HOW` the servers carry links and journals: auto, rdma, io_uring or portable")
	fs.StringVar(&o.Dir, "dir", "", "empty `DIR` for the sites' data and logs (default a temporary one)")
	fs.BoolVar(&o.Keep, "keep", false, "leave the data and logs; they always stay after a failure")
	asJSON = verdictOutput(c)
	return c
}
