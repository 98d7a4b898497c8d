package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Exit codes.
const (
	exitDone   = 0
	exitFailed = 1 // a contender did not run, or the report was not written
	exitUsage  = 2
	exitShort  = 99 // -gate: a goal is short or invalid
)

func main() {
	if role := os.Getenv(envRole); role != "" {
		if child(role, os.Getenv(envSpec)) != nil {
			os.Exit(exitFailed)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := command(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// options of the command.
type options struct {
	rounds   int
	duration time.Duration
	warm     time.Duration
	only     *regexp.Regexp
	quick    bool
	gate     bool
	out      string
	dir      string
	procs    int
	profiles string
	busy     bool
}

func parse(args []string, stderr io.Writer) (o options, err error) {
	flags := flag.NewFlagSet("peers", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.IntVar(&o.rounds, "rounds", 5, "rounds of every row; ratios need 5")
	flags.DurationVar(&o.duration, "duration", 500*time.Millisecond, "of one run of one contender, without its warm-up")
	flags.DurationVar(&o.warm, "warm", 400*time.Millisecond,
		"warm-up before it: logs and journals begin to reuse their files")
	only := flags.String("only", "", "`REGEXP` of row/contender; no report then")
	flags.BoolVar(&o.quick, "quick", false, "one round of 200 ms: does everything run? No report then")
	flags.BoolVar(&o.gate, "gate", false, "exit with 99 when a goal is short or invalid")
	flags.StringVar(&o.out, "out", "", "report `FILE`; default bench/RESULTS.md for complete runs, none for others")
	flags.StringVar(&o.dir, "dir", os.TempDir(), "`DIRECTORY` on a real disk, for the durable rows")
	flags.IntVar(&o.procs, "procs", runtime.NumCPU(), "GOMAXPROCS of every process, pinned or not")
	flags.BoolVar(&o.busy, "busy", false, "judge although something else runs; no report then")
	flags.StringVar(&o.profiles, "profiles", "", "`DIRECTORY` for a CPU profile of each process; no report then")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if o.only, err = regexp.Compile(*only); err != nil {
		return o, fmt.Errorf("-only: %w", err)
	}
	if o.quick {
		o.rounds, o.duration, o.warm = 1, 200*time.Millisecond, 50*time.Millisecond
	}
	complete := *only == "" && !o.quick && !o.busy && o.profiles == "" && o.rounds >= roundsMin
	if o.out == "" && complete {
		o.out = filepath.Join("bench", "RESULTS.md")
	}
	switch memory, err := inMemory(o.dir); {
	case flags.NArg() > 0:
		return o, fmt.Errorf("unknown argument %q", flags.Arg(0))
	case o.rounds < 1 || o.duration < time.Millisecond || o.warm < time.Millisecond || o.procs < 1:
		return o, errors.New("-rounds, -duration, -warm and -procs are at least 1, 1ms, 1ms and 1")
	case err != nil:
		return o, fmt.Errorf("-dir: %w", err)
	case memory:
		return o, fmt.Errorf("-dir: %s is in memory: name a directory on a disk", o.dir)
	case runtime.NumCPU() < 2:
		return o, errors.New("one processor: sender and receiver need one each")
	}
	if o.profiles != "" {
		if o.profiles, err = filepath.Abs(o.profiles); err != nil {
			return o, err
		}
		if err := os.MkdirAll(o.profiles, 0o755); err != nil {
			return o, fmt.Errorf("-profiles: %w", err)
		}
	}
	if o.out != "" { // Before the work, not after it.
		if _, err := os.Stat(filepath.Dir(o.out)); err != nil {
			return o, fmt.Errorf("-out: %w; run it from the top of the repository, or name a file", err)
		}
	}
	return o, nil
}

// chosen leaves out what -only does not match.
func (o *options) chosen() (some []row, everything bool) {
	everything = true
	for _, r := range rows() {
		kept := slices.DeleteFunc(slices.Clone(r.contenders), func(name string) bool {
			return !o.only.MatchString(r.name + "/" + name)
		})
		everything = everything && len(kept) == len(r.contenders)
		if r.contenders = kept; len(kept) > 0 {
			some = append(some, r)
		}
	}
	return some, everything
}

func command(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return exitDone
	}
	if err != nil {
		fmt.Fprintf(stderr, "peers: %v\n", err)
		return exitUsage
	}
	chosen, everything := o.chosen()
	if len(chosen) == 0 {
		fmt.Fprintln(stderr, "peers: -only matches no row/contender")
		return exitUsage
	}
	all, started := newResults(o.rounds, chosen, everything), time.Now()
	all.busy = o.busy
	if err := measureAll(ctx, &o, all, stderr); err != nil {
		fmt.Fprintf(stderr, "peers: %v\n", err)
		return exitFailed
	}
	return conclude(&o, all, started, stdout, stderr)
}

// measureAll runs the rows in directories of their own, which go in the end.
func measureAll(ctx context.Context, o *options, all *results, stderr io.Writer) (err error) {
	r := &runner{procs: o.procs, duration: o.duration, warm: o.warm, profiles: o.profiles, progress: stderr}
	if r.self, err = os.Executable(); err != nil {
		return err
	}
	if r.disk, err = os.MkdirTemp(o.dir, "bench-peers-"); err != nil {
		return err
	}
	defer os.RemoveAll(r.disk)
	if r.memory, err = os.MkdirTemp("/dev/shm", "bench-peers-"); err != nil {
		return err
	}
	defer os.RemoveAll(r.memory)
	if memory, err := inMemory(r.memory); err != nil || !memory {
		return fmt.Errorf("/dev/shm is not in memory (%v)", err)
	}
	return r.run(ctx, all)
}

// conclude prints the goals, writes the report and says how it went.
func conclude(o *options, all *results, started time.Time, stdout, stderr io.Writer) int {
	verdicts := all.verdicts()
	code := exitDone
	for i := range verdicts {
		v := &verdicts[i]
		fmt.Fprintln(stdout, v)
		if o.gate && v.word() != "ok" {
			code = exitShort
		}
	}
	fmt.Fprintln(stderr, all.quietness())
	if o.out != "" {
		var text strings.Builder
		all.write(&text, machine(o.dir, o.procs), started, o.duration, verdicts)
		if err := os.WriteFile(o.out, []byte(text.String()), 0o644); err != nil {
			fmt.Fprintf(stderr, "peers: %v\n", err)
			return exitFailed
		}
	}
	for at, text := range all.failures {
		if !strings.Contains(text, errMissing.Error()) {
			fmt.Fprintf(stderr, "peers: %s %s %s: %s\n", at.row, at.pin, at.contender, text)
			code = exitFailed
		} else {
			fmt.Fprintf(stderr, "peers: left out: %s %s: %s\n", at.row, at.contender, text)
		}
	}
	return code
}
