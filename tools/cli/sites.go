package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/tools/cli/remote"
	"github.com/claudefs/repl/tools/cli/tty"
)

func (a *app) replicationSites() *cobra.Command {
	return branch("sites", "take sites in and remove them while the node runs",
		a.sitesAdd(), a.sitesRemove(), a.sitesList())
}

func (a *app) sitesAdd() *cobra.Command {
	var (
		o     *output
		addr  func() (string, error)
		addrs []string
	)
	run := func(c *cobra.Command, args []string) error {
		at, err := addr()
		if err != nil {
			return err
		}
		if len(addrs) == 0 {
			return usage("add --addr HOST:PORT, where site "+args[0]+" listens", "no address of site %s", args[0])
		}
		report, err := remote.AddSite(c.Context(), at, engine.Peer{Site: args[0], Addrs: addrs})
		if err != nil {
			return siteFailure(err)
		}
		if !o.people() {
			return o.object(report)
		}
		_, err = fmt.Fprintf(a.stdout, "%s\n", tty.Plain(addedText(report)))
		return err
	}
	c := verb("add SITE --addr ADDR [--addr ADDR ...] [--admin ADDR] [-o FORMAT]",
		"take a site in, or change its addresses", Change, 1, 1, run)
	c.Long = `Takes a site in while the node runs: it is dialed at these addresses, and its sessions are accepted, also
if it was removed before. The node keeps that: a later start needs no --peer for it. A new site is a
learner: it counts in no durable or applied acknowledgement until it holds everything; status shows what
it is missing and how long that takes. Of a site that is a peer already only the addresses change.
Do the same at every other site, and start the new one with a --peer for each of them.`
	c.Example = `  cfs admin replication sites add site-c --addr 10.0.1.60:9500`
	o = a.outputFlags(c)
	addr = adminFlag(c)
	c.Flags().StringArrayVar(&addrs, "addr", nil, "`ADDR` that the site listens at; several are tried together")
	return c
}

func addedText(r *engine.AddReport) string {
	at := strings.Join(r.Addrs, ", ")
	switch {
	case r.Known && !r.Learner:
		return fmt.Sprintf("known: %s; it is dialed at %s from now on", r.Site, at)
	case r.Learner:
		return fmt.Sprintf("taken in: %s at %s, as a learner: it counts for nothing until it holds everything; "+
			"do the same at every other site", r.Site, at)
	}
	return fmt.Sprintf("taken in: %s at %s; do the same at every other site", r.Site, at)
}

func (a *app) sitesRemove() *cobra.Command {
	g := giveUp{
		act: "removed",
		ask: func(c *cobra.Command, at, site string, only bool) (*engine.ForgetReport, error) {
			return remote.RemoveSite(c.Context(), at, site, engine.RemoveOptions{Only: only})
		},
		yes: "add --yes if site %s is to be refused from now on",
	}
	c := a.giveUpVerb(&g, "remove SITE [--yes] [--admin ADDR] [-o FORMAT]",
		"give a living site up: it is refused from now on")
	c.Long = `Gives a site up that is there, or may come: its links are closed, and it is refused with the reason from
then on, also after restarts and whatever --peer says, until ` + "`sites add`" + ` takes it in again. Nothing is
kept for it, and nothing that it confirmed counts any more. It shows first what only that site has. On a
terminal it asks for the site's name; elsewhere it wants --yes. The primary is not removed: exit code 3.
Do the same at every other site. A site that is gone already is forgotten: ` + "`forget`" + `.`
	c.Example = `  cfs admin replication sites remove site-c
  cfs admin replication sites remove site-c --yes`
	return c
}

func (a *app) sitesList() *cobra.Command {
	var (
		o    *output
		addr func() (string, error)
	)
	run := func(c *cobra.Command, _ []string) error {
		at, err := addr()
		if err != nil {
			return err
		}
		report, err := remote.Sites(c.Context(), at)
		if err != nil {
			return err
		}
		switch o.format {
		case FormatJSON:
			return o.object(report)
		case FormatJSONL:
			for _, p := range report.Peers {
				if err := o.object(p); err != nil {
					return err
				}
			}
			for _, p := range report.Removed {
				if err := o.object(p); err != nil {
					return err
				}
			}
			return nil
		}
		return sitesTable(a.stdout, report)
	}
	c := verb("list [--admin ADDR] [-o FORMAT]", "the peers of a site, and those that were removed", Read, 0, 0, run)
	o = a.outputFlags(c)
	addr = adminFlag(c)
	return c
}

// peerSources are the words for where a site has a peer from.
var peerSources = map[string]string{
	engine.PeerByOptions: "--peer", engine.PeerOnRecord: "sites add", engine.PeerRegistered: "not configured",
}

func sitesTable(w io.Writer, r *engine.PeersReport) error {
	t := newTable(w, "SITE", "STATE", "LINK", "FROM", "ADDRESS")
	for _, p := range r.Peers {
		state := "full"
		if p.Learner {
			state = "learner"
		}
		t.row(p.Site, state, p.Link, peerSources[p.Source], orNone(strings.Join(p.Addrs, ", ")))
	}
	for _, p := range r.Removed {
		t.row(p.Site, "removed", "refused", p.By, p.At.Format("2006-01-02T15:04:05Z"))
	}
	return t.flush()
}

// siteFailure says what to do where a site is not taken in.
func siteFailure(err error) error {
	switch {
	case errors.Is(err, remote.ErrRefused):
		return failure(ExitRefused, err, "see the audit trail's directory")
	case errors.Is(err, remote.ErrQuestion):
		return failure(ExitUsage, err, "cfs admin replication sites list names the peers")
	}
	return err
}
