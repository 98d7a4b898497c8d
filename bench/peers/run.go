package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"strings"
	"time"
)

// runner runs rows, one process pair at a time.
type runner struct {
	self     string // this program
	procs    int    // GOMAXPROCS of every child
	disk     string // directories of this run
	memory   string
	duration time.Duration
	warm     time.Duration
	profiles string
	progress io.Writer
}

// run fills r row by row; contenders take turns within a round.
func (r *runner) run(ctx context.Context, all *results) error {
	for i := range all.rows {
		row := &all.rows[i]
		busy, err := busyShare(200 * time.Millisecond)
		if err != nil {
			return err
		}
		all.noise[row.name] = busy
		if err := r.runRow(ctx, all, row); err != nil {
			return err
		}
	}
	return nil
}

// runRow runs one row, beside its spinners.
func (r *runner) runRow(ctx context.Context, all *results, row *row) error {
	calm, err := r.spinners(ctx, row.spinners)
	if err != nil {
		return err
	}
	defer calm()
	for _, pin := range row.pins() {
		for round := range all.rounds {
			for _, name := range row.contenders {
				r.once(ctx, all, row, cell{pin, row.name, name}, round)
				if ctx.Err() != nil {
					return ctx.Err()
				}
			}
		}
		for _, name := range row.contenders {
			fmt.Fprintf(r.progress, "%-14s %-9s %-18s %s\n", row.name, pin, name,
				all.short(cell{pin, row.name, name}, row.mode))
		}
	}
	return nil
}

// spinners starts n processes that spin until calm is called.
func (r *runner) spinners(ctx context.Context, n int) (calm func(), err error) {
	var all []*process
	calm = func() {
		for _, p := range all {
			p.stdin.Close()
			_ = p.cmd.Wait()
		}
	}
	for range n {
		p, err := r.start(ctx, "spin", spec{}, -1)
		if err != nil {
			calm()
			return nil, err
		}
		all = append(all, p)
	}
	return calm, nil
}

// once is one run of one contender. One that failed twice in a row is not tried again, so
// that what does not run costs a complete run some minutes at most.
func (r *runner) once(ctx context.Context, all *results, row *row, at cell, round int) {
	if all.failures[at] != "" {
		all.measures[at] = append(all.measures[at], nil)
		return
	}
	s := row.spec(at.contender)
	s.Duration, s.Warm, s.Profiles = r.duration, r.warm, r.profiles
	if row.mode == modeOpen {
		s.Rate = all.rate(at.pin, row)
	}
	m, retried, err := r.often(ctx, at.pin, s)
	if retried {
		all.retried++
	}
	for len(all.measures[at]) <= round {
		all.measures[at] = append(all.measures[at], nil)
	}
	if err != nil {
		text, _, _ := strings.Cut(err.Error(), "\n")
		all.failures[at] = text
		return
	}
	all.measures[at][round] = m
}

// rateDefault serves a run without the row that says what the peaks are.
const rateDefault = 50_000

// rate of an open loop: a share of the peak of the slowest of its contenders.
func (r *results) rate(pin pinning, row *row) int {
	slowest := math.Inf(1)
	for _, name := range row.contenders {
		if peak := medianOf(r.of(pin, "stream-256B", name), (*measure).PerSecond); peak < slowest {
			slowest = peak
		}
	}
	if math.IsInf(slowest, 1) {
		return rateDefault
	}
	return max(1, int(slowest*row.share))
}

// short is a line of progress.
func (r *results) short(at cell, mode mode) string {
	all := r.of(at.pin, at.row, at.contender)
	text := figure(all, byRate, "%.0f") + " MB/s"
	if mode == modeTrip || mode == modeOpen {
		text = figure(all, byMicros, "%.1f") + " µs"
	}
	if len(values(all, byRate)) == 0 {
		text = ""
	}
	if failed, ok := r.failures[at]; ok {
		text += " FAILED: " + failed
	}
	return text
}

func byMicros(m *measure) float64 { return byTime(m) / 1e3 }
