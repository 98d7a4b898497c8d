package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/claudefs/repl/tools/cli/progress"
	"github.com/claudefs/repl/tools/loadtest"
)

// benchFlags are the flags of "cfs bench".
type benchFlags struct {
	config         loadtest.Config
	size           size
	bandwidth      bitRate
	duration, warm time.Duration
	rtt            time.Duration
	to, dir        string
	failIf         []string
	thresholds     []loadtest.Threshold
	compare        bool
	rounds         int
}

const (
	benchClients = 16
	benchWarm    = 2 * time.Second
	// benchWarmTrips is how many round trips a warm-up takes that nobody chose.
	benchWarmTrips = 20
)

const benchLong = `Loads two engines, one in this process and one in another. Reports how long a caller waited
and what it cost at both ends. With --clients (closed loop) each client waits for its answer before its next
entry. With --rate (open loop) entries are due at fixed times, and their latency counts from then. So a stall
counts for every entry that it delays.

A result that means little is marked invalid, with the reasons. The exit code reports only failures and
--fail-if. Its metrics:`

func (a *app) bench() *cobra.Command {
	f := &benchFlags{}
	var o *output
	c := verb("bench [flags]", "measure latency, throughput and cost of two engines", Read, 0, 0,
		func(c *cobra.Command, _ []string) error {
			if err := f.check(c); err != nil {
				return err
			}
			return a.runBench(c.Context(), f, o)
		})
	var about strings.Builder
	about.WriteString(benchLong)
	for _, m := range loadtest.Metrics() {
		fmt.Fprintf(&about, "  %-10s  %s (%s)\n", m.Name, m.About, m.Unit)
	}
	c.Long = about.String()
	c.Example = `examples
  cfs bench --level durable --clients 64 --size 4KiB
  cfs bench --rate 10000 --fail-if 'p99>5ms' --fail-if 'invalid>0'
  cfs bench --rtt 50ms --bandwidth 1Gbit --rate 2000
  cfs bench --compare --size 64KiB                     io_uring and portable, side by side
  cfs bench --level link --link rdma --size 64KiB      a build with -tags rdma, and a device
  cfs bench serve --listen :9600                       on another host, and here:
  cfs bench --to HOST:9600`
	f.flags(c)
	o = a.outputFlags(c)
	c.AddCommand(a.benchServe(), a.benchPath())
	return c
}

func (f *benchFlags) flags(c *cobra.Command) {
	f.size = 256
	fs := c.Flags()
	fs.SortFlags = false
	fs.StringVar(&f.config.Level, "level", loadtest.LevelDurable,
		"`LEVEL` to wait for: async, local, durable or applied at the far end; link = no engine")
	fs.IntVar(&f.config.Clients, "clients", 0, "closed loop of `N` clients (default 16, without --rate)")
	fs.Float64Var(&f.config.Rate, "rate", 0, "open loop of `N` entries a second")
	fs.Var(&f.size, "size", "payload of an entry")
	fs.IntVar(&f.config.Shards, "shards", 256, "shard count, `N`, loaded in turn")
	fs.DurationVar(&f.duration, "duration", 10*time.Second, "`TIME` that is measured")
	fs.DurationVar(&f.warm, "warm", 0, "`TIME` of load before that (default 2s, at least 20 round trips of --rtt)")
	fs.StringVar(&f.config.Link, "link", ioAuto,
		"`HOW` links and journals are carried: auto, rdma, io_uring or portable")
	fs.StringVar(&f.dir, "dir", "", "`DIR` on the disk to measure, for the journals (default a temporary one)")
	fs.BoolVar(&f.config.Memory, "memory", false, "journals on a memory file system: no disk is measured")
	fs.DurationVar(&f.rtt, "rtt", 0, "round trip `TIME` that a proxy adds to the way")
	fs.Var(&f.bandwidth, "bandwidth", "what the proxy lets through, each way, as 1Gbit (default no limit)")
	fs.StringVar(&f.to, "to", "", "`ADDR` of a far end that runs cfs bench serve (default a process of its own here)")
	fs.StringArrayVar(&f.failIf, "fail-if", nil,
		"end with 99 if `METRIC>LIMIT` holds, or METRIC<LIMIT; repeat for more")
	fs.BoolVar(&f.compare, "compare", false, "io_uring and portable side by side, in rounds")
	fs.IntVar(&f.rounds, "rounds", loadtest.RoundsMin, "`N` rounds of --compare")
}

// check validates the flags, all of them, before anything is touched.
func (f *benchFlags) check(c *cobra.Command) error {
	f.config.SizeBytes, f.config.Bandwidth = int(f.size), int64(f.bandwidth)
	f.config.Duration, f.config.RTT = loadtest.Seconds(f.duration), loadtest.Seconds(f.rtt)
	given := c.Flags().Changed
	if !given("warm") {
		f.warm = max(benchWarm, benchWarmTrips*f.rtt)
	}
	f.config.Warm = loadtest.Seconds(f.warm)
	if !given("clients") && !given("rate") {
		f.config.Clients = benchClients
	}
	switch {
	case given("clients") && given("rate"):
		return usage("--clients for a closed loop, --rate for an open one",
			"--clients and --rate are mutually exclusive")
	case f.compare && given("link"):
		return usage("omit --link", "--compare takes both links")
	case given("rounds") && !f.compare:
		return usage("add --compare", "--rounds are those of --compare")
	case f.rounds < loadtest.RoundsMin || f.rounds > loadtest.RoundsMax:
		return usage("omit --rounds for "+strconv.Itoa(loadtest.RoundsMin), "--rounds %d: want %d to %d",
			f.rounds, loadtest.RoundsMin, loadtest.RoundsMax)
	case f.config.Memory && f.dir != "":
		return usage("leave one of them out", "--memory and --dir are mutually exclusive")
	}
	if f.to != "" {
		if err := checkAddr(f.to); err != nil {
			return err
		}
	}
	if err := f.config.Validate(); err != nil {
		return usage("run: cfs bench --help", "%s", faultsOf(err))
	}
	for _, text := range f.failIf {
		t, err := loadtest.ParseThreshold(text)
		if err != nil {
			next := "write METRIC>LIMIT or METRIC<LIMIT, as p99>5ms or rate<10000; metrics: "
			return usage(next+loadtest.MetricNames(), "--fail-if: %w", err)
		}
		f.thresholds = append(f.thresholds, t)
	}
	return nil
}

// faultsOf is a configuration's faults as people read a list.
func faultsOf(err error) string {
	return strings.ReplaceAll(strings.ReplaceAll(err.Error(), loadtest.ErrConfig.Error()+": ", ""), "\n", "; ")
}

// runBench measures and prints. What was measured before an interrupt, or before
// the far end went, is printed as well.
func (a *app) runBench(ctx context.Context, f *benchFlags, o *output) error {
	binary, err := os.Executable()
	if err != nil {
		return err
	}
	line := progress.New(a.stderr)
	session, err := loadtest.OpenSession(ctx, loadtest.Options{
		To: f.to, Dir: f.dir, Memory: f.config.Memory, Binary: binary,
		Progress: func(p loadtest.Progress) { line.Show(func() string { return progressText(p) }) },
	})
	if err != nil {
		return benchFailure(ctx, err)
	}
	var missed []string
	if f.compare {
		missed, err = a.compareLinks(ctx, session, f, o, line)
	} else {
		missed, err = a.benchOnce(ctx, session, f, o, line)
	}
	err = errors.Join(err, session.Close())
	switch {
	case err != nil:
		return benchFailure(ctx, err)
	case len(missed) > 0:
		return failure(ExitThreshold, fmt.Errorf("threshold missed: %s", strings.Join(missed, "; ")), "")
	}
	return nil
}

func (a *app) benchOnce(ctx context.Context, s *loadtest.Session, f *benchFlags, o *output,
	line *progress.Line) (missed []string, err error) {
	r, err := s.Run(ctx, f.config)
	if r == nil {
		return nil, err
	}
	for _, t := range f.thresholds {
		v := t.Judge(r)
		r.Thresholds = append(r.Thresholds, v)
		if v.Missed {
			missed = append(missed, v.Said)
		}
	}
	line.Say("%s", doneText(r.Invalid))
	if err == nil && r.Errors > 0 && len(missed) == 0 {
		err = entriesFailure(r)
	}
	if o.people() {
		return missed, errors.Join(printBench(o, r), err)
	}
	return missed, errors.Join(o.object(r), err)
}

func (a *app) compareLinks(ctx context.Context, s *loadtest.Session, f *benchFlags, o *output,
	line *progress.Line) (missed []string, err error) {
	x, err := s.Compare(ctx, f.config, f.rounds, f.thresholds, func(round int, link string) {
		line.Say("round %d of %d: %s", round, f.rounds, link)
	})
	if x == nil {
		return nil, err
	}
	for _, v := range x.Thresholds {
		if v.Missed {
			missed = append(missed, v.Said)
		}
	}
	line.Say("%s", doneText(x.Invalid))
	if o.people() {
		return missed, errors.Join(printComparison(o, x), err)
	}
	return missed, errors.Join(o.object(x), err)
}

// entriesFailure is the failure of a run whose entries failed, or some of them.
func entriesFailure(r *loadtest.Result) error {
	code := ExitPartly
	if r.Entries == 0 {
		code = ExitFailed
	}
	return failure(code, fmt.Errorf("%s failed: %s", plural(r.Errors, "entry", "entries"), r.ErrorTexts[0]),
		"look at the errors in -o wide")
}

func doneText(invalid bool) string {
	if invalid {
		return "done: the result is marked invalid"
	}
	return "done"
}

// benchFailure says what to do about a run that could not be, or be completed.
func benchFailure(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		return failure(ExitFailed, errors.New("interrupted"), "")
	case errors.Is(err, loadtest.ErrUnreachable):
		return failure(ExitUnreachable, err, "start the far end there: cfs bench serve --listen :PORT")
	case errors.Is(err, loadtest.ErrBusy):
		return failure(ExitRefused, err, "wait for the other run's end, or serve at another port")
	case errors.Is(err, loadtest.ErrLink):
		return failure(ExitRefused, err, "omit --link and --compare, or use --link portable")
	case errors.Is(err, loadtest.ErrRelease):
		return failure(ExitFailed, err, "run the same release of cfs at both ends")
	case errors.Is(err, loadtest.ErrNoMemory):
		return failure(ExitFailed, err, "name a directory with --dir")
	case errors.Is(err, loadtest.ErrLost):
		return failure(ExitFailed, err, "look at the far end, then run again")
	case errors.Is(err, syscall.ENOSPC):
		return failure(ExitFailed, err, "make room there, or name a directory with --dir")
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EROFS), errors.Is(err, syscall.ENOTDIR):
		return failure(ExitFailed, err, "name a directory that this user can write with --dir")
	}
	return err
}

// bitRates are the units of a bandwidth, the largest first.
var bitRates = []struct {
	name string
	bits int64
}{{"Gbit", 1e9}, {"Mbit", 1e6}, {"kbit", 1e3}, {"bit", 1}}

// bitRate is a flag that takes bits a second.
type bitRate int64

// String is pflag.Value's.
func (b *bitRate) String() string {
	for _, u := range bitRates {
		if *b > 0 && int64(*b)%u.bits == 0 {
			return strconv.FormatInt(int64(*b)/u.bits, 10) + u.name
		}
	}
	return ""
}

// Type is pflag.Value's.
func (b *bitRate) Type() string { return "BITS" }

// Set is pflag.Value's.
func (b *bitRate) Set(text string) error {
	for _, u := range bitRates {
		digits, ok := strings.CutSuffix(text, u.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseFloat(digits, 64)
		if err != nil || !(n >= 0 && n*float64(u.bits) <= 1e15) {
			break
		}
		*b = bitRate(n * float64(u.bits))
		return nil
	}
	return fmt.Errorf("%q is not a bandwidth: write 1Gbit, 100Mbit or 500kbit", text)
}
