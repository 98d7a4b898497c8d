package cli

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/tools/cli/remote"
)

// auditReport is "cfs admin replication audit-trail -o json".
type auditReport struct {
	Schema  int                  `json:"schema"`
	Kind    string               `json:"kind"`
	Site    string               `json:"site"`
	Since   *time.Time           `json:"since"` // null = from the beginning
	Records []engine.AuditRecord `json:"records"`
}

func (a *app) replicationAuditTrail() *cobra.Command {
	var (
		o     *output
		addr  func() (string, error)
		since string
		kinds []string
	)
	run := func(c *cobra.Command, _ []string) error {
		at, err := addr()
		if err != nil {
			return err
		}
		var from time.Time
		if since != "" {
			if from, err = parseWhen(since, time.Now()); err != nil {
				return usage("give --since a moment in the past", "--since: %w", err)
			}
		}
		report := auditReport{Schema: 1, Kind: "audit", Records: []engine.AuditRecord{}}
		if !from.IsZero() {
			report.Since = &from
		}
		end, err := remote.AuditTrail(c.Context(), at, from, func(r *engine.AuditRecord) error {
			if len(kinds) > 0 && !slices.Contains(kinds, r.Kind) {
				return nil
			}
			if o.format == FormatJSONL { // as it comes
				return o.object(r)
			}
			report.Records = append(report.Records, *r)
			return nil
		})
		if end != nil {
			report.Site = end.Site
		}
		switch {
		case err != nil && !errors.Is(err, remote.ErrTrail):
			return err
		case o.format == FormatJSON:
			err = errors.Join(err, o.object(report))
		case o.people():
			err = errors.Join(err, a.auditTable(o, report.Records))
		}
		if err != nil {
			return failure(ExitPartly, err, "cfs admin replication audit-check names the place")
		}
		return nil
	}
	c := verb("audit-trail [--since WHEN] [--kind KIND] [--admin ADDR] [-o FORMAT]",
		"operator verbs, refusals, lost and restored data, from the site's audit trail", Read, 0, 0, run)
	c.Long = `Prints the audit trail of a site, oldest first: verbs of operators with their outcome, refused peers, logs
that stopped, data that was lost or restored. --since takes "1 hour ago", "90m", "yesterday",
"2026-11-30 12:00" or a time in RFC 3339. The trail is JSON lines in DATA/repl/audit, each with the hash of the
line before it: audit-check finds edits. A verb is written before it acts ("begun") and after it.`
	o = a.outputFlags(c)
	addr = adminFlag(c)
	c.Flags().StringVar(&since, "since", "", "only from `WHEN` on")
	c.Flags().StringSliceVar(&kinds, "kind", nil, "only records of this `KIND`; may be repeated")
	return c
}

// auditTable prints a line for each record.
func (a *app) auditTable(o *output, records []engine.AuditRecord) error {
	columns := []string{"AT", "KIND", "OUTCOME", "PEER", "SHARD", "WHAT"}
	if o.wide() {
		columns = append([]string{"SEQ"}, append(columns, "ACTOR", "HASH")...)
	}
	t := newTable(a.stdout, columns...)
	for i := range records {
		r := &records[i]
		shard, actor := "-", "-"
		if r.Shard != nil {
			shard = fmt.Sprint(*r.Shard)
		}
		if r.Actor != nil {
			actor = r.Actor.How + " " + r.Actor.Name
		}
		row := []string{
			r.At.Local().Format("2006-01-02 15:04:05"), r.Kind, string(r.Outcome), orNothing(r.Peer), shard, r.What,
		}
		if o.wide() {
			row = append([]string{fmt.Sprint(r.Seq)}, append(row, actor, r.Hash[:min(12, len(r.Hash))])...)
		}
		t.row(row...)
	}
	return t.flush()
}

func (a *app) replicationAuditCheck() *cobra.Command {
	var (
		o    *output
		addr func() (string, error)
	)
	run := func(c *cobra.Command, _ []string) error {
		at, err := addr()
		if err != nil {
			return err
		}
		report, err := remote.AuditCheck(c.Context(), at)
		if err != nil {
			return err
		}
		if !o.people() {
			err = o.object(report)
		} else {
			err = a.auditChecked(report)
		}
		if err == nil && len(report.Places) > 0 {
			err = failure(ExitDifference, nil, "")
		}
		return err
	}
	c := verb("audit-check [--admin ADDR] [-o FORMAT]",
		"whether lines of the audit trail were edited", Read, 0, 0, run)
	c.Long = `Reads the whole audit trail of a site and names each place that was edited, removed or reordered,
by file, line and rule: exit code 10. It cannot see that the newest lines were cut off: keep the hash that it
prints, or ship the lines elsewhere with audit-trail -o jsonl.`
	o = a.outputFlags(c)
	addr = adminFlag(c)
	return c
}

func (a *app) auditChecked(r *engine.AuditReport) error {
	for _, p := range r.Places {
		_, err := fmt.Fprintf(a.stdout, "%s:%d: seq %d: %s: %s\n",
			a.stdout.Text(p.File), p.Line, p.Seq, p.Rule, a.stdout.Text(p.Text))
		if err != nil {
			return err
		}
	}
	if r.Unstated > 0 {
		fmt.Fprintf(a.stdout, "and %s more\n", plural(r.Unstated, "place", "places"))
	}
	what := "nothing was edited"
	if len(r.Places) > 0 {
		what = plural(len(r.Places)+r.Unstated, "place breaks", "places break") + " the chain"
	}
	_, err := fmt.Fprintf(a.stdout, "%s in %s, seq %d to %d: %s\n", plural(r.Lines, "line", "lines"),
		plural(r.Files, "file", "files"), r.First, r.Last, what)
	if err == nil && r.Lines > 0 {
		_, err = fmt.Fprintf(a.stdout, "last hash: %s\n", r.LastHash)
	}
	return err
}
