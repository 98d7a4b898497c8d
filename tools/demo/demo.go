package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/tools/cli/progress"
	"github.com/claudefs/repl/tools/fsclient"
)

const (
	// silenceMax is how long the import may stand still: a restart takes seconds.
	silenceMax = time.Minute
	// settleWait is how long site-b may take to catch up after the import.
	settleWait = 2 * time.Minute
)

// Options of a run of Demo.
type Options struct {
	Binary   string // of cfs
	Tree     string // "" = /usr/share, or the Go tree
	Kills    int    // SIGKILLs in all
	IO       string // of the servers, as cfs server --io
	Dir      string // for the sites' data; "" = a temporary one
	Keep     bool   // leave Dir as it is
	Seed     uint64 // of the moments and victims; 0 = random
	Progress io.Writer
}

// run is one demonstration under way.
type run struct {
	o     Options
	pair  *pair
	tree  tree
	line  *progress.Line
	plan  []kill
	acked ledger

	names  atomic.Int64 // sent so far
	done   atomic.Int64 // operations answered so far
	status atomic.Pointer[engine.Status]
}

// kill is one SIGKILL to come.
type kill struct {
	fraction float64 // of the import's names
	site     int
}

// Demo imports a tree at site-a of two sites, kills each while it goes on, and
// compares. An error means that the run could not be finished; a difference
// that was found is in the Verdict.
func Demo(ctx context.Context, o Options) (*Verdict, error) {
	t, err := chooseTree(ctx, o.Tree)
	if err != nil {
		return nil, err
	}
	if o.Seed == 0 {
		o.Seed = rand.Uint64()
	}
	w, err := openWorkspace(o.Dir)
	if err != nil {
		return nil, err
	}
	random := rand.New(rand.NewPCG(o.Seed, 0))
	p, err := newPair(o.Binary, w, random, ioFlag(o.IO)...)
	if err != nil {
		return nil, err
	}
	r := &run{o: o, pair: p, tree: t, line: progress.New(o.Progress), plan: planKills(random, o.Kills), acked: ledger{}}
	v := &Verdict{Schema: 1, Kind: "demo", Sites: len(siteNames), Tree: t.dir, Seed: o.Seed}
	r.line.Say("demo: %s: %d names, %d bytes; data in %s; seed %d", t.dir, t.names, t.bytes, w.dir, o.Seed)
	err = r.play(ctx, v)
	p.stop()
	if v.Dir, err = w.tidy(v.OK, o.Keep, err); v.Dir != "" {
		r.line.Say("demo: data and logs are left in %s", v.Dir)
	}
	return v, err
}

// planKills spreads n kills over the import, each site getting half.
func planKills(random *rand.Rand, n int) []kill {
	plan := make([]kill, n)
	for i, order := range random.Perm(n) {
		// One kill in each n-th part of the import, at a random place in it.
		plan[i] = kill{fraction: (float64(i) + 0.05 + 0.9*random.Float64()) / float64(n), site: order % 2}
	}
	return plan
}

// play runs the whole story and fills the verdict.
func (r *run) play(ctx context.Context, v *Verdict) error {
	if err := r.pair.start(ctx); err != nil {
		return err
	}
	r.line.Say("demo: two servers are up: site-a admin %s, site-b admin %s", r.pair.admins[0], r.pair.admins[1])
	began := time.Now()
	report, err := r.importTree(ctx)
	took := time.Since(began)
	v.ImportSeconds, v.Kills = took.Seconds(), r.pair.kills[0]+r.pair.kills[1]
	v.Acked = len(r.acked)
	if err != nil {
		return fmt.Errorf("import: %w", err)
	}
	v.Names, v.Bytes = names(&report.Progress), report.Bytes
	v.Skipped, v.Unreadable = report.Skipped, report.Unreadable
	r.line.Say("demo: imported %d names, %d bytes in %.1fs; waiting for lag 0", v.Names, v.Bytes, v.ImportSeconds)
	began = time.Now()
	if err := r.pair.settled(ctx, settleWait, r.show); err != nil {
		return err
	}
	v.SettleSeconds = time.Since(began).Seconds()
	r.line.Say("demo: lag 0 after %.1fs; comparing", v.SettleSeconds)
	f, err := r.pair.compare(ctx, r.acked)
	if err != nil {
		return err
	}
	if n := uint64(v.Names); f.names != n {
		f.note("%d names were imported, site-a has %d", n, f.names)
	}
	if report.Refused > 0 {
		f.note("site-a refused %d operations, the first: %s", report.Refused, report.Errors[0])
	}
	v.Entries, v.Lost, v.Duplicated, v.Digest, v.Difference = f.entries, f.lost, f.duplicated, f.digest, f.difference
	v.Rate = int64(float64(v.Entries) / took.Seconds())
	v.OK = f.difference == "" && f.lost == 0 && f.duplicated == 0
	return nil
}

// importTree imports at site-a, and kills as planned while it goes on.
func (r *run) importTree(ctx context.Context) (*fsclient.Report, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go r.watch(ctx) // ends with ctx
	type outcome struct {
		report fsclient.Report
		err    error
	}
	ended := make(chan outcome, 1)
	go func() { // ends with the import, or when ctx does
		report, err := r.pair.clients[0].Import(ctx, r.tree.dir, fsclient.ImportOptions{
			ID: "demo",
			AckLog: func(a fsclient.Ack) error {
				r.acked[a.Ref] = 1 // an import may hear of it twice
				return nil
			},
			Progress: func(p fsclient.Progress) {
				r.names.Store(names(&p))
				r.done.Store(p.Entries + p.Unchanged + p.Refused)
			},
		})
		ended <- outcome{report, err}
	}()
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	var done int64
	moved := time.Now()
	for {
		err := r.pair.check()
		if n := r.done.Load(); n != done {
			done, moved = n, time.Now()
		} else if err == nil && time.Since(moved) > silenceMax {
			err = fmt.Errorf("site-a answers nothing for %s", silenceMax)
		}
		if err == nil {
			err = r.killDue()
		}
		if err != nil {
			cancel(err)
			<-ended
			return nil, err
		}
		r.line.Show(func() string { return r.text(r.status.Load()) })
		select {
		case o := <-ended:
			r.names.Store(int64(r.tree.names))
			return &o.report, errors.Join(o.err, r.killDue())
		case <-ticker.C:
		}
	}
}

// names is how many names of the tree an import has sent.
func names(p *fsclient.Progress) int64 { return p.Files + p.Dirs + p.Symlinks + p.Links }

// fraction is how much of the tree was imported.
func (r *run) fraction() float64 { return float64(r.names.Load()) / float64(max(1, r.tree.names)) }

// killDue kills and restarts what the plan wants by now.
func (r *run) killDue() error {
	for len(r.plan) > 0 && r.fraction() >= r.plan[0].fraction {
		victim := r.plan[0].site
		r.plan = slices.Delete(r.plan, 0, 1)
		r.line.Say("demo: %3.0f%% SIGKILL %s, and up again", 100*r.fraction(), siteNames[victim])
		if err := r.pair.restart(victim); err != nil {
			return err
		}
	}
	return nil
}

// watch keeps the latest status of site-a.
func (r *run) watch(ctx context.Context) {
	_ = poll(ctx, 200*time.Millisecond, func() (bool, error) {
		if s, err := r.pair.status(ctx, 0); err == nil {
			r.status.Store(s)
		}
		return false, nil
	})
}

func (r *run) show(s *engine.Status) { r.line.Show(func() string { return r.text(s) }) }

// text is the progress line: the import, then the peer's lag.
func (r *run) text(s *engine.Status) string {
	text := fmt.Sprintf("demo: %3.0f%% %d of %d names", 100*r.fraction(), r.names.Load(), r.tree.names)
	if s == nil || len(s.Peers) == 0 {
		return text
	}
	lag := &s.Peers[0].Applied
	if lag.State != "known" || lag.Seconds == nil || lag.Entries == nil || lag.Bytes == nil {
		return text + "  lag of site-b unknown"
	}
	return text + fmt.Sprintf("  lag of site-b %.1fs, %d bytes, %d entries", *lag.Seconds, *lag.Bytes, *lag.Entries)
}
