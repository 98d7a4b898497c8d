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
	"github.com/claudefs/repl/tools/cli/remote"
)

func (a *app) replicationForget() *cobra.Command {
	var (
		o    *output
		addr func() (string, error)
		yes  bool
		gone bool
	)
	run := func(c *cobra.Command, args []string) error {
		at, err := addr()
		if err != nil {
			return err
		}
		report, err := remote.Forget(c.Context(), at, args[0], engine.ForgetOptions{Only: true})
		if err != nil {
			return forgetFailure(err)
		}
		if report.Heard && !gone {
			return failure(ExitRefused, fmt.Errorf("not done: site %s has answered before, and may come back; %s",
				report.Site, forgetLoss(report)), "bring it back, or add --gone if it never comes")
		}
		if !yes {
			if err := a.confirmForget(report); err != nil {
				return err
			}
		}
		if report, err = remote.Forget(c.Context(), at, args[0], engine.ForgetOptions{Gone: gone}); err != nil {
			return forgetFailure(err)
		}
		if !o.people() {
			return o.object(report)
		}
		_, err = fmt.Fprintf(a.stdout, "forgotten: %s; %s\n", report.Site, forgetLoss(report))
		return err
	}
	c := verb("forget SITE [--gone] [--yes] [--admin ADDR] [-o FORMAT]",
		"give up a peer that never comes, and what is kept for it", Lossy, 1, 1, run)
	c.Long = `Gives up a peer that never answered, such as a name that was mistyped once: nothing is kept for it any
more, its word is not waited for, and it is not dialed until the node starts with its name again. A site
that has answered before wants --gone; the primary, and a site that is linked now, are not forgotten: exit
code 3. It shows first what is given up. On a terminal it asks for the site's name; elsewhere it wants
--yes. Leave the site out of --peer from then on.`
	c.Example = `  cfs admin replication forget site-bb
  cfs admin replication forget site-c --gone --yes`
	o = a.outputFlags(c)
	addr = adminFlag(c)
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	c.Flags().BoolVar(&gone, "gone", false, "the site has answered before, and is gone for good")
	return c
}

// forgetLoss words what a site that is forgotten could not be given any more.
func forgetLoss(r *engine.ForgetReport) string {
	text := "it is missing nothing"
	if r.Entries > 0 {
		text = fmt.Sprintf("should it come, it would need a copy of the whole: %s of %s are not kept for it "+
			"(the journal has %s now)", plural(r.Entries, "entry", "entries"), plural(r.Shards, "shard", "shards"),
			humanBytes(r.JournalBytes))
	}
	if r.LastEntries > 0 {
		text += fmt.Sprintf("; %s that it alone is known to have are lost", plural(r.LastEntries, "entry", "entries"))
	}
	return text
}

// confirmForget asks for the site's name.
func (a *app) confirmForget(r *engine.ForgetReport) error {
	in, ok := a.stdin.(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		return failure(ExitRefused, fmt.Errorf("not done: site %s: %s", r.Site, forgetLoss(r)),
			"add --yes if no site of that name will ever come")
	}
	fmt.Fprintf(a.stderr, "site %s: %s.\nType its name to go on: ", r.Site, forgetLoss(r))
	line, err := bufio.NewReader(io.LimitReader(in, 4096)).ReadString('\n')
	if err != nil || strings.TrimSpace(line) != r.Site {
		return failure(ExitRefused, errors.New("not done: that is not its name"), "")
	}
	return nil
}

func forgetFailure(err error) error {
	switch {
	case errors.Is(err, remote.ErrRefused):
		return failure(ExitRefused, err, "only a site that is gone is forgotten: stop it first, if it is to go")
	case errors.Is(err, remote.ErrQuestion):
		return failure(ExitUsage, err, "cfs admin replication status names the peers")
	}
	return err
}
