package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/tools/cli/remote"
	"github.com/claudefs/repl/tools/cli/tty"
	"github.com/claudefs/repl/wire"
)

func (a *app) replicationOrphans() *cobra.Command {
	return branch("orphans", "entries that did not survive a failover",
		a.orphansList(), a.orphansShow(), a.orphansDiscard())
}

func (a *app) orphansList() *cobra.Command {
	var (
		o    *output
		addr func() (string, error)
	)
	run := func(c *cobra.Command, _ []string) error {
		at, err := addr()
		if err != nil {
			return err
		}
		report, err := remote.Orphans(c.Context(), at, engine.OrphansOptions{})
		if err != nil {
			return err
		}
		switch o.format {
		case FormatJSON:
			return o.object(report)
		case FormatJSONL:
			return eachObject(o, report.Logs)
		}
		t := newTable(a.stdout, "SITE", "SHARD", "EPOCH", "SEQS", "ENTRIES")
		for _, l := range report.Logs {
			t.row(l.Site, strconv.Itoa(l.Shard), wire.Epoch(l.Epoch).String(),
				fmt.Sprintf("%d-%d", l.FirstSeq, l.LastSeq), strconv.FormatInt(l.Entries, 10))
		}
		return t.flush()
	}
	c := verb("list [--admin ADDR] [-o FORMAT]", "how many orphans a site keeps, by log and epoch", Read, 0, 0, run)
	c.Long = `Lists the entries that did not survive a failover and are kept at the site that is asked: by the site that
wrote them, shard and epoch. They are in files below DATA/repl/orphans and change nothing there or elsewhere.`
	c.Example = "  cfs admin replication orphans list"
	o = a.outputFlags(c)
	addr = adminFlag(c)
	return c
}

// eachObject prints one object a line.
func eachObject[T any](o *output, all []T) error {
	for i := range all {
		if err := o.object(&all[i]); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) orphansShow() *cobra.Command {
	var (
		o     *output
		addr  func() (string, error)
		shard int
	)
	run := func(c *cobra.Command, refs []string) error {
		options := engine.OrphansOptions{Refs: refs}
		switch {
		case (shard < 0) == (len(refs) == 0):
			return usage("name refs, or --shard N", "either refs or one shard are shown")
		case shard >= 0:
			options.Shards = []int{shard}
		}
		at, err := addr()
		if err != nil {
			return err
		}
		report, err := remote.Orphans(c.Context(), at, options)
		if err != nil {
			return orphansFailure(err)
		}
		switch o.format {
		case FormatJSON:
			return o.object(report)
		case FormatJSONL:
			return eachObject(o, report.Shown)
		}
		return orphansTable(a.stdout, report)
	}
	c := verb("show REF...|--shard N [--admin ADDR] [-o FORMAT]", "what single orphans are", Read, 0, 1000, run)
	c.Long = `Shows orphans of one shard, or single ones, the first 1000: ref, op, keys, bytes of the payload and the
request id of the client that asked for it. A client that asks again under that id has it done at the site that
writes now, once.`
	c.Example = "  cfs admin replication orphans show --shard 17"
	o = a.outputFlags(c)
	addr = adminFlag(c)
	c.Flags().IntVar(&shard, "shard", -1, "show those of shard `N`")
	return c
}

func orphansTable(w io.Writer, r *engine.OrphansReport) error {
	t := newTable(w, "REF", "OP", "PAYLOAD", "REQUEST", "KEYS")
	for _, e := range r.Shown {
		var keys []string
		for _, key := range e.Keys {
			keys = append(keys, strconv.Quote(string(key)))
		}
		t.row(e.Ref, strconv.Itoa(e.Op), humanBytes(int64(e.PayloadBytes)), orNone(e.Request), strings.Join(keys, " "))
	}
	if err := t.flush(); err != nil {
		return err
	}
	if r.ShownAll {
		return nil
	}
	_, err := fmt.Fprintf(w, "… and more: these are the first %d\n", len(r.Shown))
	return err
}

func (a *app) orphansDiscard() *cobra.Command {
	var (
		o        *output
		addr     func() (string, error)
		all, yes bool
	)
	run := func(c *cobra.Command, refs []string) error {
		if all == (len(refs) > 0) {
			return usage("name refs, or --all", "either refs or all orphans are discarded")
		}
		at, err := addr()
		if err != nil {
			return err
		}
		report, err := remote.Orphans(c.Context(), at, engine.OrphansOptions{Refs: refs})
		if err != nil {
			return orphansFailure(err)
		}
		count := report.Entries
		if !all {
			count = int64(len(report.Shown))
		}
		if !yes && count > 0 {
			if err := a.confirmDiscard(count, report.Site); err != nil {
				return err
			}
		}
		if report, err = remote.DiscardOrphans(c.Context(), at, refs); err != nil {
			return orphansFailure(err)
		}
		if !o.people() {
			return o.object(report)
		}
		_, err = fmt.Fprintf(a.stdout, "discarded: %s of site %s\n",
			plural(report.Entries, "orphan", "orphans"), tty.Plain(report.Site))
		return err
	}
	c := verb("discard REF...|--all [--yes] [--admin ADDR] [-o FORMAT]", "give orphans up permanently",
		Lossy, 0, 1000, run)
	c.Long = `Takes orphans off the list of the site that is asked, and removes their files: all, or those named. On a
terminal it asks for the site's name; elsewhere it wants --yes. The audit trail keeps how many.`
	c.Example = "  cfs admin replication orphans discard --all --yes"
	o = a.outputFlags(c)
	addr = adminFlag(c)
	c.Flags().BoolVar(&all, "all", false, "discard all that are listed")
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return c
}

// confirmDiscard asks for the site's name.
func (a *app) confirmDiscard(count int64, site string) error {
	what := fmt.Sprintf("%s of site %s would be given up permanently", plural(count, "entry", "entries"), site)
	in, ok := a.stdin.(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		return failure(ExitRefused, fmt.Errorf("not done: %s", what), "add --yes to do it")
	}
	fmt.Fprintf(a.stderr, "%s.\nType the name of that site, to go on: ", what)
	line, err := bufio.NewReader(io.LimitReader(in, 4096)).ReadString('\n')
	if err != nil || strings.TrimSpace(line) != site {
		return failure(ExitRefused, errors.New("not done: that is not its name"), "")
	}
	return nil
}

func orphansFailure(err error) error {
	switch {
	case errors.Is(err, remote.ErrRefused):
		return failure(ExitRefused, err, "")
	case errors.Is(err, remote.ErrQuestion):
		return failure(ExitUsage, err, "cfs admin replication orphans show --shard N prints refs")
	}
	return err
}

// orphansText is the line of a status; "" where there are none.
func orphansText(o *engine.OrphanStatus) string {
	switch {
	case o.Reason != "":
		return fmt.Sprintf("orphans %d of %d logs; not all are saved: %s", o.Entries, o.Logs, o.Reason)
	case o.Entries > 0:
		return fmt.Sprintf("orphans %d of %d logs: cfs admin replication orphans list", o.Entries, o.Logs)
	}
	return ""
}
