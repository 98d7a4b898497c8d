package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/tools/cli/progress"
	"github.com/claudefs/repl/tools/cli/remote"
)

func (a *app) replicationMend() *cobra.Command {
	var (
		o    *output
		addr func() (string, error)
		m    engine.MendOptions
		yes  bool
	)
	run := func(c *cobra.Command, args []string) (err error) {
		at, err := addr()
		if err != nil {
			return err
		}
		if m.From == "" {
			return usage("add --from SITE: a peer that has what this site should have", "no --from")
		}
		if args[0] != "all" {
			if m.Lo, m.Hi, err = shardRange(args[0]); err != nil {
				return usage("name one shard, a range such as 0-15, or all", "%q is not a shard", args[0])
			}
		}
		line := progress.New(a.stderr)
		if o.people() && isTerminal(a.stderr) {
			m.Progress = func(p engine.MendProgress) { line.Show(func() string { return mendProgressText(&p) }) }
		}
		report, err := remote.Mend(c.Context(), at, m)
		line.Clear()
		if errors.Is(err, remote.ErrRefused) && strings.Contains(err.Error(), engine.ErrLoses.Error()) && !m.Only {
			if err = a.confirmLoss(err, yes); err != nil {
				return err
			}
			m.Lose = true
			report, err = remote.Mend(c.Context(), at, m)
			line.Clear()
		}
		if err != nil {
			return mendFailure(err)
		}
		if err := a.showMend(o, report); err != nil {
			return err
		}
		return mendVerdict(report)
	}
	c := verb("mend SHARD|all --from SITE [--dry-run] [--yes] [--admin ADDR] [-o FORMAT]",
		"make shards of this site equal to those of another site", Lossy, 1, 1, run)
	c.Long = `Makes shards of the site that is asked equal to those of another site, one after another: at one view of
each, by digests of parts, so that only what differs is sent. It ends logs that are stopped because what follows is
not kept any more, because a Store or a whole directory was lost, or because an entry could not be applied. Everything
is in one file before the shard changes; from then on it is finished, also after a restart. Where entries that only
this site has would be lost, it says how many, and asks for the source's name on a terminal; elsewhere it wants --yes.
--dry-run compares only. Exit codes: 0 all shards are equal, 10 with --dry-run: some differ, 5 some could not be
mended, 3 refused.`
	c.Example = `  cfs admin replication mend all --from site-a --dry-run
  cfs admin replication mend 17 --from site-a`
	o = a.outputFlags(c)
	addr = adminFlag(c)
	c.Flags().StringVar(&m.From, "from", "", "the `SITE` whose state it gets")
	c.Flags().BoolVar(&m.Only, "dry-run", false, "compare only, and say what would be fetched and lost")
	c.Flags().BoolVar(&yes, "yes", false, "lose entries that only this site has, and do not ask")
	return c
}

// confirmLoss asks for the word that entries may be lost.
func (a *app) confirmLoss(why error, yes bool) error {
	if yes {
		return nil
	}
	in, ok := a.stdin.(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		return failure(ExitRefused, fmt.Errorf("not done: %w", why), "add --yes if these entries may be lost")
	}
	fmt.Fprintf(a.stderr, "%v.\nType lose to go on: ", why)
	line, err := bufio.NewReader(io.LimitReader(in, 4096)).ReadString('\n')
	if err != nil || strings.TrimSpace(line) != "lose" {
		return failure(ExitRefused, errors.New("not done"), "")
	}
	return nil
}

func mendFailure(err error) error {
	switch {
	case errors.Is(err, remote.ErrRefused):
		return failure(ExitRefused, err, "cfs admin replication status says what is under way, and what this site has")
	case errors.Is(err, remote.ErrQuestion):
		return failure(ExitUsage, err, "cfs admin replication status names the peers and counts the shards")
	case errors.Is(err, remote.ErrFailed):
		return failure(ExitFailed, err, "look at the node's log, and at cfs admin replication status")
	}
	return err
}

// showMend prints a report.
func (a *app) showMend(o *output, r *engine.MendReport) error {
	if !o.people() {
		return o.object(r)
	}
	b := new(screen)
	for i := range r.Shards {
		s := &r.Shards[i]
		text := fmt.Sprintf("shard %d: %s", s.Shard, s.State)
		if s.State != engine.MendFailed {
			text += fmt.Sprintf(", %s of %s differ", humanCount(s.DifferRows), plural(s.Rows, "row", "rows"))
		}
		if s.LostEntries > 0 {
			text += ", " + plural(s.LostEntries, "entry", "entries") + " that only this site has"
		}
		if s.Reason != "" {
			text += ": " + s.Reason
		}
		b.line("%s", text)
	}
	b.line("%s from %s: %d equal, %d mended, %d differ, %d failed; %s fetched in %s",
		plural(r.Equal+r.Mended+r.Differs+r.Failed, "shard", "shards"), r.From, r.Equal, r.Mended, r.Differs, r.Failed,
		humanBytes(r.FetchedBytes), humanSeconds(r.Seconds))
	return b.show(a.stdout)
}

func mendVerdict(r *engine.MendReport) error {
	switch {
	case r.Failed > 0:
		reason := ""
		for i := range r.Shards {
			if s := &r.Shards[i]; s.State == engine.MendFailed && reason == "" {
				reason = fmt.Sprintf("shard %d: %s", s.Shard, s.Reason)
			}
		}
		return failure(ExitPartly, fmt.Errorf("%s not mended: %s", plural(r.Failed, "shard", "shards"), reason),
			"fix the cause, then run it again: what is equal costs a comparison only")
	case r.Differs > 0:
		differ := plural(r.Differs, "shard differs", "shards differ")
		return failure(ExitDifference, fmt.Errorf("%s from site %s", differ, r.From), "omit --dry-run to mend them")
	}
	return nil
}

// mendProgressText is one line for a terminal.
func mendProgressText(p *engine.MendProgress) string {
	return fmt.Sprintf("%d of %s  %s", p.Shards, plural(p.ShardsOf, "shard", "shards"), mendingText(&p.Mending))
}

// mendingText says what is mended, and how far it is.
func mendingText(m *engine.MendingStatus) string {
	text := fmt.Sprintf("mending %s", m.State)
	if m.From != "" {
		text += fmt.Sprintf("  shard %d from %s: %s compared, %s differ, %s and %s fetched, %s applied", m.Shard,
			m.From, plural(m.Rows, "row", "rows"), humanCount(m.DifferRows), humanCount(m.FetchedRows),
			humanBytes(m.FetchedBytes), humanBytes(m.AppliedBytes))
	}
	if m.ETASeconds != nil {
		text += ", done in " + humanSeconds(*m.ETASeconds)
	}
	if m.Reason != "" {
		text += ": " + m.Reason
	}
	if m.Torn > 0 {
		text += fmt.Sprintf("  (%s not complete)", plural(m.Torn, "shard is", "shards are"))
	}
	return text
}
