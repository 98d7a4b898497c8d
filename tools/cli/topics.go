package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// topics are the pages of "cfs help NAME" that belong to no verb.
func topics() []*cobra.Command {
	return []*cobra.Command{
		{Use: "exit-codes", Short: "what the exit codes mean", Long: exitCodesPage()},
		{Use: "formats", Short: "the rules of -o table|wide|json|jsonl", Long: formatsPage()},
		{Use: "glossary", Short: "one word per idea", Long: glossaryPage()},
	}
}

func exitCodesPage() string {
	var b strings.Builder
	b.WriteString("Exit codes of every verb:\n\n")
	for _, e := range exitMeanings {
		fmt.Fprintf(&b, "  %3d  %s\n", e.code, e.meaning)
	}
	b.WriteString("\nAn error is two lines on stderr: what and why, then the next step.\n")
	return b.String()
}

func formatsPage() string {
	var b strings.Builder
	b.WriteString("Formats of every reading verb, chosen with -o:\n\n")
	for _, f := range formatMeanings {
		fmt.Fprintf(&b, "  %-5s  %s\n", f.format, f.meaning)
	}
	b.WriteString(`
  stdout carries data only; logs, progress and prompts go to stderr.
  JSON objects have schema, kind and, from a node, site and at (RFC 3339).
  Units are in the keys: lag_seconds, lag_bytes, sent_bytes_total. Counters are integers.
  What is unknown is null, next to a state: "lag_seconds": null, "lag_state": "unknown".
  Keys are added, never changed: ignore those you do not know.
  Colour appears on a terminal only; NO_COLOR or --no-color turns it off.
`)
	return b.String()
}

// glossary holds the words that the output uses.
var glossary = [][2]string{
	{"site", "one place with its own storage; sites of a cluster replicate one another"},
	{"shard", "unit of order, ownership and cursor; a key lives in the same shard at every site"},
	{"log", "the ordered entries that one site writes for one shard"},
	{"incarnation", "random identity of a log; a restored or re-added log takes a new one"},
	{"term", "counts the openings of a journal"},
	{"epoch", "fencing token of whoever may write"},
	{"seq", "1, 2, 3 … within a log"},
	{"entry", "one operation: op, 1 to 8 keys, payload"},
	{"batch", "contiguous entries of one log, closed once; unit of checksum and position"},
	{"chain", "running hash over batches; equal seq and chain mean equal history"},
	{"journal", "segment files with one flush; own holds this site's logs, mirror other sites'"},
	{"segment", "one file of a journal"},
	{"flush unit", "what one write to a segment makes durable"},
	{"frame", "what a link carries: whole batches or one control message"},
	{"cursor", "a position that a peer has confirmed, at a level"},
	{"durable", "flushed to the journal"},
	{"applied", "shown by the store"},
	{"lag", "how far a peer is behind: time, bytes, entries, or unknown"},
	{"orphan", "an entry that a failover left behind"},
	{"suspect", "a log whose end nothing proves after damage"},
}

func glossaryPage() string {
	var b strings.Builder
	b.WriteString("Words, one per idea:\n\n")
	for _, g := range glossary {
		fmt.Fprintf(&b, "  %-12s %s\n", g[0], g[1])
	}
	return b.String()
}
