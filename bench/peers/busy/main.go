package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// state is one state of the machine.
type state struct {
	name    string
	env     []string
	nice    int
	spin    bool // a process per processor spins
	engines bool // two more engines are at work, by the same links
}

var states = []state{
	{name: "quiet"},
	{name: "spin", spin: true},
	{name: "engines", engines: true},
	{name: "procs-1", env: []string{"GOMAXPROCS=1"}},
	{name: "procs-8", env: []string{"GOMAXPROCS=8"}},
	{name: "nice+10", nice: 10, spin: true},
	{name: "nice-5", nice: -5, spin: true},
}

type options struct {
	cfs      string
	duration time.Duration
	rounds   int
	least    float64
	only     string
	clients  string
	size     string
}

func main() {
	var o options
	flag.StringVar(&o.cfs, "cfs", "bin/cfs", "the binary that is measured")
	flag.DurationVar(&o.duration, "duration", 1500*time.Millisecond, "of one run")
	flag.IntVar(&o.rounds, "rounds", 7, "pairs of runs")
	flag.Float64Var(&o.least, "least", 0.95, "least ratio of io_uring to portable")
	flag.StringVar(&o.only, "only", "", "states, separated by commas; empty = all")
	flag.StringVar(&o.clients, "clients", "1,16", "numbers of clients")
	flag.StringVar(&o.size, "size", "256", "of an entry")
	spin := flag.Bool("spin", false, "nothing but spin")
	flag.Parse()
	if *spin {
		for { // until it is interrupted
		}
	}
	short, err := run(&o)
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, "busy:", err)
		os.Exit(1)
	case short > 0:
		fmt.Printf("busy: %d short of %.2f\n", short, o.least)
		os.Exit(99)
	}
}

func run(o *options) (short int, err error) {
	for _, s := range states {
		if o.only != "" && !slices.Contains(strings.Split(o.only, ","), s.name) {
			continue
		}
		if s.nice < 0 && os.Geteuid() != 0 {
			fmt.Printf("busy %s left out: a priority above the usual one needs root\n", s.name)
			continue
		}
		for _, clients := range strings.Split(o.clients, ",") {
			ok, err := o.compare(&s, clients)
			if err != nil {
				return short, fmt.Errorf("%s: %w", s.name, err)
			}
			if !ok {
				short++
			}
		}
	}
	return short, nil
}

// compare runs the pairs of one state and prints their line.
func (o *options) compare(s *state, clients string) (ok bool, err error) {
	var ratios, ring, portable []float64
	for i := range o.rounds {
		links := []string{"io_uring", "portable"}
		if i%2 == 1 {
			slices.Reverse(links)
		}
		rates := map[string]float64{}
		for _, l := range links {
			if rates[l], err = o.measure(s, l, clients); err != nil {
				return false, err
			}
		}
		ring, portable = append(ring, rates["io_uring"]), append(portable, rates["portable"])
		ratios = append(ratios, rates["io_uring"]/rates["portable"])
	}
	ok = quantile(ratios, 2) >= o.least
	word := "ok"
	if !ok {
		word = "short"
	}
	fmt.Printf("busy %s clients=%s io_uring %.0f/s portable %.0f/s ratio %.2f (%.2f to %.2f) %s\n", s.name, clients,
		quantile(ring, 2), quantile(portable, 2), quantile(ratios, 2), quantile(ratios, 1), quantile(ratios, 3), word)
	return ok, nil
}

// quantile is the n-th quarter of some figures.
func quantile(figures []float64, n int) float64 {
	sorted := slices.Sorted(slices.Values(figures))
	return sorted[(len(sorted)-1)*n/4]
}

// measure is one run, tried again once; the answer is entries per second.
func (o *options) measure(s *state, link, clients string) (rate float64, err error) {
	if rate, err = o.once(s, link, clients); err != nil {
		fmt.Fprintf(os.Stderr, "busy: %s: tried again: %v\n", s.name, err)
		rate, err = o.once(s, link, clients)
	}
	return rate, err
}

// patience is what a run may take beyond its duration; then it is killed.
const patience = 30 * time.Second

func (o *options) once(s *state, link, clients string) (rate float64, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), o.duration+patience)
	defer cancel()
	beside := besides{ctx: ctx}
	defer beside.end()
	if s.spin {
		self, err := os.Executable()
		if err != nil {
			return 0, err
		}
		for range runtime.NumCPU() {
			if err := beside.start([]string{"GOMAXPROCS=1"}, self, "-spin"); err != nil {
				return 0, err
			}
		}
	}
	if s.engines {
		if err := beside.start(nil, o.cfs, o.args(link, "4", o.duration+2*patience)...); err != nil {
			return 0, err
		}
		time.Sleep(time.Second) // they open
	}
	args := append([]string{"-n", strconv.Itoa(s.nice), o.cfs}, o.args(link, clients, o.duration)...)
	c := exec.CommandContext(ctx, "nice", args...)
	c.Env = append(os.Environ(), s.env...)
	c.WaitDelay = patience / 6
	out, err := c.Output()
	if err != nil {
		if failed, is := errors.AsType[*exec.ExitError](err); is {
			err = fmt.Errorf("%w: %s", err, failed.Stderr)
		}
		return 0, fmt.Errorf("%s bench --link %s: %w", o.cfs, link, err)
	}
	var result struct {
		Rate float64 `json:"rate_per_second"`
	}
	if err := json.Unmarshal(out, &result); err != nil {
		return 0, err
	}
	return result.Rate, nil
}

// besides are the processes that keep the machine busy during a run.
type besides struct {
	ctx context.Context
	all []*exec.Cmd
}

func (b *besides) start(env []string, name string, args ...string) error {
	c := exec.CommandContext(b.ctx, name, args...)
	c.Env = append(os.Environ(), env...)
	err := c.Start()
	if err == nil {
		b.all = append(b.all, c)
	}
	return err
}

// end interrupts them, and kills who does not go before the context ends.
func (b *besides) end() {
	for _, c := range b.all {
		_ = c.Process.Signal(os.Interrupt) // it may have ended
		_ = c.Wait()                       // as interrupted
	}
}

func (o *options) args(link, clients string, d time.Duration) []string {
	return []string{"bench", "--link", link, "--clients", clients, "--size", o.size, "--duration", d.String(),
		"--warm", "500ms", "--json"}
}
