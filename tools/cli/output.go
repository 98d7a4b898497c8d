package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/claudefs/repl/tools/cli/tty"
)

// Format is how a reading verb prints.
type Format string

const (
	FormatTable Format = "table"
	FormatWide  Format = "wide"
	FormatJSON  Format = "json"
	FormatJSONL Format = "jsonl"
)

var formatMeanings = []struct {
	format  Format
	meaning string
}{
	{FormatTable, "for people; may change with any release"},
	{FormatWide, "table with more columns or lines"},
	{FormatJSON, "one object; schema 1; also --json"},
	{FormatJSONL, "one object per line; the rows of a list one by one"},
}

// output is the -o flag of a reading verb.
type output struct {
	format  Format
	asJSON  bool
	noColor bool
	stdout  io.Writer
}

// outputFlags gives c the flags of a reading verb. Wide is refused where it
// would be the table again.
func (a *app) outputFlags(c *cobra.Command) *output {
	o := &output{format: FormatTable, stdout: a.stdout}
	c.Flags().VarP(&o.format, "output", "o", "table, wide, json or jsonl")
	c.Flags().BoolVar(&o.asJSON, "json", false, "same as -o json")
	c.Flags().BoolVar(&o.noColor, "no-color", os.Getenv("NO_COLOR") != "", "plain text on a terminal")
	c.PreRun = func(*cobra.Command, []string) {
		if o.asJSON {
			o.format = FormatJSON
		}
	}
	return o
}

// String is pflag.Value's.
func (f *Format) String() string { return string(*f) }

// Type is pflag.Value's.
func (f *Format) Type() string { return "FORMAT" }

// Set is pflag.Value's.
func (f *Format) Set(s string) error {
	for _, known := range formatMeanings {
		if string(known.format) == s {
			*f = known.format
			return nil
		}
	}
	return fmt.Errorf("%q is not table, wide, json or jsonl", s)
}

// people says whether the output is meant for people.
func (o *output) people() bool { return o.format == FormatTable || o.format == FormatWide }

// wide says whether more columns were asked for.
func (o *output) wide() bool { return o.format == FormatWide }

// object prints v as JSON: indented, or on one line.
func (o *output) object(v any) error {
	encoder := json.NewEncoder(o.stdout)
	encoder.SetEscapeHTML(false)
	if o.format == FormatJSON {
		encoder.SetIndent("", "  ")
	}
	return encoder.Encode(v)
}

// color wraps s in a terminal colour for a health word, where that is wanted.
func (o *output) color(word, s string) string {
	if o.noColor || !isTerminal(o.stdout) {
		return s
	}
	switch word {
	case "OK":
		return tty.Green + s + tty.Reset
	case "DEGRADED":
		return tty.Yellow + s + tty.Reset
	case "FAILED":
		return tty.Red + s + tty.Reset
	}
	return s
}

// table prints rows in columns. A cell may be foreign text: see tty.Writer.Text.
type table struct {
	out *tty.Writer
	w   *tabwriter.Writer
}

func newTable(w io.Writer, columns ...string) *table {
	t := &table{tty.Of(w), tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)}
	t.row(columns...)
	return t
}

func (t *table) row(cells ...string) {
	for i, cell := range cells {
		cells[i] = t.out.Text(cell)
	}
	fmt.Fprintln(t.w, strings.Join(cells, "\t"))
}

func (t *table) flush() error { return t.w.Flush() }
