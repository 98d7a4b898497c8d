package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/tools/cli/remote"
	"github.com/claudefs/repl/tools/cli/tty"
)

// adminEnv names the admin address when no flag does.
const adminEnv = "CFS_ADMIN"

// watchEvery is how often --watch asks again: what a reader's eye can follow.
const watchEvery = time.Second

func (a *app) admin() *cobra.Command {
	return branch("admin", "replication: health, lag, what a failover would lose",
		branch("replication", "replication: health, lag, what a failover would lose",
			a.replicationStatus(), a.replicationLag(), a.replicationCheck(), a.replicationVerify(),
			a.replicationWait(), a.replicationSites(), a.replicationForget(), a.replicationMend(),
			a.replicationFailover(), a.replicationSwitchover(), a.replicationOrphans(), a.replicationAuditTrail(),
			a.replicationAuditCheck()))
}

// adminFlag gives c the address of the node that it talks to.
func adminFlag(c *cobra.Command) func() (string, error) {
	addr := c.Flags().String("admin", "", "admin `ADDR` of the node (default $"+adminEnv+")")
	return func() (string, error) { return adminAddr(*addr) }
}

// adminAddr is the admin address that a flag or the environment names, of several the first.
func adminAddr(given string) (string, error) {
	if given == "" {
		given = os.Getenv(adminEnv)
	}
	given, _, _ = strings.Cut(given, ",")
	if given == "" {
		return "", usage("add --admin ADDR, or set "+adminEnv, "no admin address")
	}
	return given, checkAddr(given)
}

func (a *app) replicationStatus() *cobra.Command {
	return a.statusVerb("status", "health, peers, lag, and what a failover would lose now",
		func(w io.Writer, o *output, s *engine.Status) error {
			if !o.people() {
				return o.object(s)
			}
			return statusScreen(s, o).show(w)
		})
}

func (a *app) replicationLag() *cobra.Command {
	return a.statusVerb("lag", "how far each peer is behind: time, bytes, entries, or unknown",
		func(w io.Writer, o *output, s *engine.Status) error {
			switch o.format {
			case FormatJSON:
				return o.object(lagReportOf(s))
			case FormatJSONL:
				for _, row := range lagReportOf(s).Peers {
					if err := o.object(row); err != nil {
						return err
					}
				}
				return nil
			}
			return lagTable(w, o, s)
		})
}

// showStatus prints something of a node's status.
type showStatus func(io.Writer, *output, *engine.Status) error

// statusVerb is a verb that prints something of a node's status, once or again
// and again.
func (a *app) statusVerb(name, short string, show showStatus) *cobra.Command {
	var (
		o     *output
		addr  func() (string, error)
		watch bool
	)
	run := func(c *cobra.Command, _ []string) error {
		at, err := addr()
		if err != nil {
			return err
		}
		if watch {
			return a.watch(c.Context(), at, o, show)
		}
		status, err := remote.Status(c.Context(), at)
		if err != nil {
			return err
		}
		return show(a.stdout, o, status)
	}
	c := verb(name+" [--admin ADDR] [-o FORMAT] [--watch]", short, Read, 0, 0, run)
	o = a.outputFlags(c)
	addr = adminFlag(c)
	c.Flags().BoolVarP(&watch, "watch", "w", false, "show it again every second, until interrupted")
	return c
}

// watch shows the status every second until ctx ends. A node that does not answer for a
// while is reported and asked again: it may be restarting. A terminal is redrawn, with
// as much as fits it.
func (a *app) watch(ctx context.Context, addr string, o *output, show showStatus) error {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	for {
		status, err := remote.Status(ctx, addr)
		if ctx.Err() != nil {
			return nil
		}
		if o.people() && a.stdout.Terminal() {
			err = a.redraw(o, show, status, err)
		} else if errors.Is(err, remote.ErrUnreachable) {
			fmt.Fprintf(a.stderr, "%s\n", tty.Plain(err.Error()))
			err = nil
		} else if err == nil {
			err = show(a.stdout, o, status)
		}
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// redraw replaces what the terminal shows: by the status, or by why there is none.
func (a *app) redraw(o *output, show showStatus, status *engine.Status, err error) error {
	var text bytes.Buffer
	switch {
	case errors.Is(err, remote.ErrUnreachable):
		fmt.Fprintln(&text, tty.Plain(err.Error()))
	case err != nil:
		return err
	default:
		if err := show(&text, o, status); err != nil {
			return err
		}
	}
	a.stdout.Clear()
	_, err = io.WriteString(a.stdout, tty.Fill(a.stdout, text.String()))
	return err
}
