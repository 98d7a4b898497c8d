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

// giveUp is a verb that gives a peer up: forget is for one that is gone, `sites remove` for one
// that lives.
type giveUp struct {
	act string // "forgotten"
	ask func(c *cobra.Command, at, site string, only bool) (*engine.ForgetReport, error)
	// refuses says why it is not done, if what it would cost shows that; nil = never.
	refuses func(*engine.ForgetReport) error
	yes     string // the next step where nobody can be asked, of a site
}

// giveUpVerb makes the verb.
func (a *app) giveUpVerb(g *giveUp, use, short string) *cobra.Command {
	var (
		o    *output
		addr func() (string, error)
		yes  bool
	)
	run := func(c *cobra.Command, args []string) error {
		at, err := addr()
		if err != nil {
			return err
		}
		report, err := g.ask(c, at, args[0], true)
		if err != nil {
			return giveUpFailure(err)
		}
		if g.refuses != nil {
			if err := g.refuses(report); err != nil {
				return err
			}
		}
		if !yes {
			if err := a.confirm(report, fmt.Sprintf(g.yes, report.Site)); err != nil {
				return err
			}
		}
		if report, err = g.ask(c, at, args[0], false); err != nil {
			return giveUpFailure(err)
		}
		if !o.people() {
			return o.object(report)
		}
		_, err = fmt.Fprintf(a.stdout, "%s: %s; %s\n", g.act, report.Site, lossText(report))
		return err
	}
	c := verb(use, short, Lossy, 1, 1, run)
	o = a.outputFlags(c)
	addr = adminFlag(c)
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return c
}

func (a *app) replicationForget() *cobra.Command {
	gone := false
	g := giveUp{
		act: "forgotten",
		ask: func(c *cobra.Command, at, site string, only bool) (*engine.ForgetReport, error) {
			return remote.Forget(c.Context(), at, site, engine.ForgetOptions{Only: only, Gone: gone})
		},
		refuses: func(r *engine.ForgetReport) error {
			if !r.Heard || gone {
				return nil
			}
			return failure(ExitRefused, fmt.Errorf("not done: site %s has answered before, and may come back; %s",
				r.Site, lossText(r)), "bring it back, or add --gone if it never comes")
		},
		yes: "add --yes if no site of the name %s will ever come",
	}
	c := a.giveUpVerb(&g, "forget SITE [--gone] [--yes] [--admin ADDR] [-o FORMAT]",
		"give up a peer that never comes, and what is kept for it")
	c.Long = `Gives up a peer that never answered, such as a name that was mistyped once: nothing is kept for it any
more, its word is not waited for, and it is not dialed until the node starts with its name again. A site
that has answered before wants --gone; the primary, and a site that is linked now, are not forgotten: exit
code 3. It shows first what is given up. On a terminal it asks for the site's name; elsewhere it wants
--yes. Leave the site out of --peer from then on. A site that lives is removed: ` + "`sites remove`" + `.`
	c.Example = `  cfs admin replication forget site-bb
  cfs admin replication forget site-c --gone --yes`
	c.Flags().BoolVar(&gone, "gone", false, "the site has answered before, and is gone for good")
	return c
}

// lossText words what a site that is given up could not be given any more.
func lossText(r *engine.ForgetReport) string {
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

// confirm asks for the site's name.
func (a *app) confirm(r *engine.ForgetReport, next string) error {
	in, ok := a.stdin.(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		return failure(ExitRefused, fmt.Errorf("not done: site %s: %s", r.Site, lossText(r)), next)
	}
	fmt.Fprintf(a.stderr, "site %s: %s.\nType its name to go on: ", r.Site, lossText(r))
	line, err := bufio.NewReader(io.LimitReader(in, 4096)).ReadString('\n')
	if err != nil || strings.TrimSpace(line) != r.Site {
		return failure(ExitRefused, errors.New("not done: that is not its name"), "")
	}
	return nil
}

func giveUpFailure(err error) error {
	switch {
	case errors.Is(err, remote.ErrRefused):
		return failure(ExitRefused, err, "a site that is gone is forgotten, a living one removed, the primary neither")
	case errors.Is(err, remote.ErrQuestion):
		return failure(ExitUsage, err, "cfs admin replication status names the peers")
	}
	return err
}
