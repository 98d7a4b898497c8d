package cli

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/claudefs/repl/tools/demo"
)

// verdict is how a run that proves something ended.
type verdict interface{ Line() string }

// verdictOutput is the --json flag of a verb that closes with one line.
func verdictOutput(c *cobra.Command) *bool {
	return c.Flags().Bool("json", false, "close with the verdict as JSON instead of a line")
}

func (a *app) demo() *cobra.Command {
	var (
		o      demo.Options
		asJSON *bool
	)
	c := verb("demo [--tree DIR] [--kills N]", "two sites, a real tree, SIGKILLs, one verdict", Read, 0, 0,
		func(c *cobra.Command, _ []string) error {
			if err := needIO(o.IO); err != nil {
				return err
			}
			if o.Kills < 0 || o.Kills > 1000 {
				return usage("omit --kills for 6", "--kills %d: want 0 to 1000", o.Kills)
			}
			var err error
			if o.Binary, err = os.Executable(); err != nil {
				return err
			}
			o.Progress = a.stderr
			v, err := demo.Demo(c.Context(), o)
			switch {
			case errors.Is(err, demo.ErrNoTree):
				return failure(ExitFailed, err, "name a tree with --tree DIR")
			case err != nil:
				return runFailure(err)
			}
			return a.conclude(v, v.OK, *asJSON)
		})
	c.Long = `Starts two servers on loopback, imports a real tree at site-a, kills each server with SIGKILL
at random moments of the import and starts it again, waits until site-b has everything, and compares.
The last line is the verdict: exit code 0 if nothing was lost, repeated or different, else 1.`
	fs := c.Flags()
	fs.SortFlags = false
	fs.StringVar(&o.Tree, "tree", "", "the tree, `DIR` (default /usr/share, or the Go tree)")
	fs.IntVar(&o.Kills, "kills", 6, "`N` SIGKILLs in all, half of them for each site")
	fs.Uint64Var(&o.Seed, "seed", 0, "`N` that the moments are drawn from (default random)")
	fs.StringVar(&o.IO, "io", ioAuto, "`HOW` the servers carry links and journals: auto, rdma, io_uring or portable")
	fs.StringVar(&o.Dir, "dir", "", "empty `DIR` for the sites' data and logs (default a temporary one)")
	fs.BoolVar(&o.Keep, "keep", false, "leave the data and logs; they always stay after a failure")
	asJSON = verdictOutput(c)
	return c
}

// runFailure is why a run of servers came to no verdict.
func runFailure(err error) error {
	switch {
	case errors.Is(err, demo.ErrNotEmpty), isNotMade(err):
		return failure(ExitFailed, err, "name a new or empty directory with --dir, or leave it out")
	case errors.Is(err, context.Canceled):
		return failure(ExitFailed, errors.New("interrupted"), "run it again: nothing is left of it without --keep")
	}
	return failure(ExitFailed, err, "read site-a.log and site-b.log in the run's directory")
}

func (a *app) crash() *cobra.Command {
	var (
		o      demo.CrashOptions
		asJSON *bool
	)
	c := verb("crash [--cycles N]", "kill servers under load, count what was lost", Read, 0, 0,
		func(c *cobra.Command, _ []string) error {
			if err := needIO(o.IO); err != nil {
				return err
			}
			if o.Cycles < 1 || o.Cycles > 1_000_000 {
				return usage("omit --cycles for 300", "--cycles %d: want 1 to 1000000", o.Cycles)
			}
			if o.For < 0 || o.Copies && o.Failpoints {
				return usage("omit --for, or one of --copies and --failpoints",
					"--for must not be negative, and --copies does not go with --failpoints")
			}
			var err error
			if o.Binary, err = os.Executable(); err != nil {
				return err
			}
			o.Progress = a.stderr
			v, err := demo.Crash(c.Context(), o)
			if err != nil {
				return runFailure(err)
			}
			return a.conclude(v, v.OK, *asJSON)
		})
	c.Long = `Loads site-a of two servers from several clients, kills either server or both with SIGKILL, again and
again, and compares both sites with every acknowledged entry. The last line is the verdict. The exit code is 0
if nothing was lost, repeated or different, otherwise 1.

With --failpoints the servers end at chosen moments instead: before and after the n-th create, write, flush,
rename, remove or directory flush, for n = 1, 2, 3, … of each server's journals.

With --copies each cycle also copies the directory of a running server with cp -r and opens the copy without
its peer. The copy must show a prefix of each log, or refuse to start and give the reason.`
	fs := c.Flags()
	fs.SortFlags = false
	fs.IntVar(&o.Cycles, "cycles", 300, "`N` rounds of load, kill and restart")
	fs.BoolVar(&o.Failpoints, "failpoints", false, "end servers at each call to their disks in turn, not at random")
	fs.BoolVar(&o.Copies, "copies", false, "copy a running site's directory in each cycle, and open the copy")
	fs.DurationVar(&o.For, "for", 0, "`TIME` after which it ends although cycles are left")
	fs.Uint64Var(&o.Seed, "seed", 0, "`N` that the moments and operations are drawn from (default random)")
	fs.StringVar(&o.IO, "io", ioAuto, "`HOW` the servers carry links and journals: auto, rdma, io_uring or portable")
	fs.StringVar(&o.Dir, "dir", "", "empty `DIR` for the sites' data and logs (default a temporary one)")
	fs.BoolVar(&o.Keep, "keep", false, "leave the data and logs; they always stay after a failure")
	asJSON = verdictOutput(c)
	return c
}

// conclude prints a verdict as the only data on stdout.
func (a *app) conclude(v verdict, ok, asJSON bool) error {
	if asJSON {
		if err := (&output{format: FormatJSON, stdout: a.stdout}).object(v); err != nil {
			return err
		}
	} else {
		fmt.Fprintln(a.stdout, v.Line())
	}
	if !ok {
		return failure(ExitFailed, errors.New("a difference was found, see the verdict"),
			"the run's directory has the data of both sites and their logs")
	}
	return nil
}
