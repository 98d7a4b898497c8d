package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/tools/cli/remote"
	"github.com/claudefs/repl/wire"
)

// opensWithin is how long a promotion is watched until the site takes appends.
const opensWithin = time.Minute

func (a *app) replicationFailover() *cobra.Command {
	c := a.failoverVerb("failover --to SITE [--dry-run] [--plan ID | --yes] [--timeout 10s] [--admin ADDR] [-o FORMAT]",
		"make another site the writer: without loss, or where the writer is gone", false)
	c.Long = `Makes SITE the writer, in a new epoch. Asked of the site that writes, it hands over and loses nothing:
appends wait until SITE has everything, at most --timeout; else they go on as before, exit code 3. Asked of
SITE itself, that takes over: what the writer had and SITE never received is lost. It shows first what is
known of that. On a terminal it asks for the site's name; elsewhere it wants --yes, or the --plan that a
--dry-run printed, and then acts only if nothing of that has changed. The former writer follows as soon as
a link tells it; until then it may take appends that do not survive. A site whose Store is past the end of
a log, or half mended, is refused: mend it first.`
	c.Example = `  cfs admin replication failover --to site-b --dry-run
  cfs admin replication failover --to site-b --plan 1f0a77c2-e3b0c442-9c56cc51
  cfs admin replication failover --to site-b --yes`
	return c
}

func (a *app) replicationSwitchover() *cobra.Command {
	c := a.failoverVerb("switchover --to SITE [--dry-run] [--timeout 10s] [--admin ADDR] [-o FORMAT]",
		"hand the writing over to another site, without loss", true)
	c.Long = `Asked of the site that writes: hands over to SITE, in a new epoch. Appends wait until SITE has everything
durably and applied, at most --timeout; else they go on as before, and it is exit code 3. Nothing is lost,
so it does not ask.`
	c.Example = "  cfs admin replication switchover --to site-b"
	return c
}

func (a *app) failoverVerb(use, short string, lossless bool) *cobra.Command {
	var (
		o       *output
		addr    func() (string, error)
		to      string
		dry     bool
		yes     = lossless
		options = engine.FailoverOptions{Lossless: lossless}
	)
	run := func(c *cobra.Command, _ []string) error {
		switch {
		case to == "":
			return usage("name the site that is to write: --to SITE", "--to SITE is missing")
		case options.Timeout <= 0:
			return usage("write it like 10s", "--timeout %s is not above zero", options.Timeout)
		}
		at, err := addr()
		if err != nil {
			return err
		}
		ask := options
		ask.Only = true
		report, err := remote.Failover(c.Context(), at, to, ask)
		if err != nil {
			return failoverFailure(err)
		}
		if !dry {
			if report, err = a.failover(c.Context(), at, report, yes, options); err != nil {
				return err
			}
		}
		if !o.people() {
			return o.object(report)
		}
		if _, err = fmt.Fprintln(a.stdout, failoverText(report)); err == nil && !report.Done {
			err = planTable(a.stdout, report)
		}
		return err
	}
	c := verb(use, short, Lossy, 0, 0, run)
	o = a.outputFlags(c)
	addr = adminFlag(c)
	c.Flags().StringVar(&to, "to", "", "the `site` that is to write")
	c.Flags().BoolVar(&dry, "dry-run", false, "say what it would cost, and change nothing")
	c.Flags().DurationVar(&options.Timeout, "timeout", 10*time.Second, "how long appends may wait for a handover")
	if !lossless {
		c.Flags().BoolVar(&yes, "yes", false, "do not ask")
		c.Flags().StringVar(&options.Plan, "plan", "", "act only if a --dry-run would print this `ID` now; do not ask")
	}
	return c
}

// failover does what was planned, once that is confirmed.
func (a *app) failover(ctx context.Context, at string, plan *engine.FailoverReport, yes bool,
	o engine.FailoverOptions) (*engine.FailoverReport, error) {
	if !yes && o.Plan == "" && plan.Confirm {
		if err := a.confirmFailover(plan); err != nil {
			return nil, err
		}
	}
	began := time.Now()
	report, err := remote.Failover(ctx, at, plan.Site, o)
	if err != nil {
		return nil, failoverFailure(err)
	}
	if report.How == engine.FailoverPromotion {
		a.awaitOpen(ctx, at, began)
	}
	return report, nil
}

// awaitOpen watches until the site takes appends, and says so.
func (a *app) awaitOpen(ctx context.Context, at string, began time.Time) {
	for time.Since(began) < opensWithin && ctx.Err() == nil {
		s, err := remote.Status(ctx, at)
		switch {
		case err != nil:
			return // what was asked for is done; status says the rest
		case s.Appends.State == engine.AppendsOpen:
			fmt.Fprintf(a.stderr, "appends are open after %.1f s\n", time.Since(began).Seconds())
			return
		case s.Appends.State == engine.AppendsRefused:
			fmt.Fprintf(a.stderr, "appends are refused: %s\n", s.Appends.Reason)
			return
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
		}
	}
	fmt.Fprintln(a.stderr, "appends are not open yet: cfs admin replication status says what they wait for")
}

// failoverText words a plan, or what was done.
func failoverText(r *engine.FailoverReport) string {
	verb := "would write"
	if r.Done {
		verb = "writes"
	}
	text := fmt.Sprintf("site %s %s in epoch %s, by %s from site %s; ", r.Site, verb, wire.Epoch(r.Epoch), r.How, r.Was)
	if r.How == engine.FailoverHandover {
		if r.Done {
			return text + fmt.Sprintf("nothing is lost, appends waited %.0f ms", r.StallMs)
		}
		return text + "nothing is lost, appends wait for what it is missing: " + failoverBehind(r)
	}
	return text + failoverLoss(r)
}

// planTable shows what a plan was made from.
func planTable(w io.Writer, r *engine.FailoverReport) error {
	t := newTable(w, "SITE", "LINK", "HEARD", "REPORTED", "MAY WRITE", "NOT CONFIRMED")
	for _, p := range r.Peers {
		heard, missing := "never", "unknown"
		if p.HeardAt != nil {
			heard = humanSeconds(max(0, time.Since(*p.HeardAt).Seconds())) + " ago"
		}
		if p.AtLeastEntries != nil {
			missing = plural(*p.AtLeastEntries, "entry", "entries")
		}
		t.row(p.Site, p.Link, heard, yesNo(p.Reported), yesNo(p.MayWrite), missing)
	}
	if err := t.flush(); err != nil {
		return err
	}
	if r.MissingEntries != nil && *r.MissingEntries > 0 {
		text := fmt.Sprintf("site %s has yet to apply %s", r.Site, plural(*r.MissingEntries, "entry", "entries"))
		before := "; the most in"
		for _, s := range r.WorstShards {
			text += fmt.Sprintf("%s shard %d: %d", before, s.Shard, s.Entries)
			before = ","
		}
		if _, err := fmt.Fprintln(w, text); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "plan %s\n", r.Plan)
	return err
}

func yesNo(is bool) string {
	if is {
		return "yes"
	}
	return "no"
}

// failoverLoss words what a promotion costs.
func failoverLoss(r *engine.FailoverReport) string {
	text := fmt.Sprintf("what site %s had alone is lost", r.Was)
	if r.HeardAt != nil {
		text += fmt.Sprintf(" (last heard %s ago, %s)", time.Since(*r.HeardAt).Round(time.Second), failoverBehind(r))
	} else {
		text += " (it was not heard since this site opened)"
	}
	if r.MayStillWrite {
		text += "; until it learns of the epoch it may take appends that do not survive"
	}
	if len(r.Unheard) > 0 {
		text += "; not heard since this site opened: " + strings.Join(r.Unheard, ", ")
	}
	return text
}

func failoverBehind(r *engine.FailoverReport) string {
	switch b := r.Behind; {
	case b == nil:
		return "how far it is behind is not known"
	case b.State == engine.LagKnown && b.Seconds != nil && *b.Seconds == 0:
		return "it had everything then"
	case b.State == engine.LagKnown && b.Seconds != nil:
		return fmt.Sprintf("it was %.1f s behind", *b.Seconds)
	case b.AtLeastSeconds != nil && *b.AtLeastSeconds > 0:
		return fmt.Sprintf("it was at least %.1f s behind", *b.AtLeastSeconds)
	}
	return "how far it is behind is not known"
}

// confirmFailover asks for the site's name.
func (a *app) confirmFailover(r *engine.FailoverReport) error {
	in, ok := a.stdin.(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		return failure(ExitRefused, fmt.Errorf("not done: %s", failoverText(r)),
			"add --yes to do it, or --plan "+r.Plan+" to do it only if nothing of this changes")
	}
	fmt.Fprintf(a.stderr, "%s.\nType the name of the site that is to write, to go on: ", failoverText(r))
	line, err := bufio.NewReader(io.LimitReader(in, 4096)).ReadString('\n')
	if err != nil || strings.TrimSpace(line) != r.Site {
		return failure(ExitRefused, errors.New("not done: that is not its name"), "")
	}
	return nil
}

func failoverFailure(err error) error {
	switch {
	case errors.Is(err, remote.ErrRefused):
		return failure(ExitRefused, err, "")
	case errors.Is(err, remote.ErrQuestion):
		return failure(ExitUsage, err, "cfs admin replication status names the sites, and who writes")
	}
	return err
}
