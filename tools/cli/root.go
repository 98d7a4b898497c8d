package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/claudefs/repl/tools/cli/tty"
)

// Impact is what a verb may do to a node's data.
type Impact string

const (
	Read   Impact = "read"   // changes nothing that was there before
	Change Impact = "change" // changes data, loses nothing that was acknowledged
	Lossy  Impact = "lossy"  // may lose acknowledged data
)

// impactKey is the annotation that carries a verb's impact.
const impactKey = "impact"

// monitorKey is the annotation of a verb whose exit codes are those of monitoring.
const monitorKey = "monitor"

// Groups of the root's help, in order.
const (
	groupProve   = "prove"
	groupRun     = "run"
	groupOperate = "operate"
	groupAbout   = "about"
)

// app is what all verbs share: where they read and write.
type app struct {
	stdin  io.Reader
	stdout *tty.Writer
	stderr *tty.Writer
}

// Main runs cfs with these arguments, the program's name not among them, and
// returns the exit code. SIGINT and SIGTERM end the verb's context; a second
// one ends the process at once.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)

	a := &app{stdin: stdin, stdout: tty.New(stdout), stderr: tty.New(stderr)}
	tty.Pair(a.stdout, a.stderr)
	root := a.root()
	root.SetArgs(append([]string{}, args...)) // nil would mean the arguments of this process
	root.SetIn(stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	c, err := root.ExecuteContextC(ctx)
	if lost := a.stdout.Close(); lost != nil {
		code := ExitFailed
		if c.Annotations[monitorKey] != "" { // whatever it found, nobody saw it
			err, code = nil, checkUnknown
		}
		if err == nil || errors.Is(err, lost) {
			err = lostOutput(code, lost)
		}
	}
	return report(a.stderr, err)
}

// lostOutput is the failure of a verb whose data did not reach stdout.
func lostOutput(code int, err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		err = e.Err
	}
	return failure(code, fmt.Errorf("cannot write to standard output: %w", err),
		"send the output to a file or pipe that takes it, then run it again")
}

// root builds the whole tree of verbs.
func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "cfs",
		Short:         "ClaudeFS replication: one journal, carried to every site, exactly once",
		Args:          cobra.ArbitraryArgs,
		RunE:          group,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.Flags().Bool("version", false, "the same as cfs version")
	root.CompletionOptions.HiddenDefaultCmd = true
	root.DisableFlagParsing = true // as every group's; root runs as one
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		next := "run: " + c.CommandPath() + " --help"
		if bad, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
			if _, ok := errors.AsType[*strconv.NumError](err); ok {
				return usage(next, "--%s %q is not a valid value", bad.GetFlag().Name, bad.GetValue())
			}
		}
		return usage(next, "%w", err)
	})
	root.AddGroup(
		&cobra.Group{ID: groupProve, Title: "See it work"},
		&cobra.Group{ID: groupRun, Title: "Run it"},
		&cobra.Group{ID: groupOperate, Title: "Look after it"},
		&cobra.Group{ID: groupAbout, Title: "About cfs"},
	)
	root.SetHelpCommandGroupID(groupAbout)
	root.SetHelpCommand(help())
	add := func(id string, verbs ...*cobra.Command) {
		for _, v := range verbs {
			v.GroupID = id
			root.AddCommand(v)
		}
	}
	add(groupProve, a.demo(), a.crash(), a.failoverDrill(), a.sim(), a.bench())
	add(groupRun, a.server(), a.fs())
	add(groupOperate, a.admin(), a.dump())
	add(groupAbout, a.version(), a.commands())
	root.AddCommand(topics()...)
	a.helpOf(root)
	complete(root)
	return root
}

// helpOf makes the help of all verbs fit the terminal; elsewhere a flag is one line.
func (a *app) helpOf(root *cobra.Command) {
	columns, _ := a.stdout.Size()
	root.SetUsageTemplate(fmt.Sprintf(usageTemplate, columns))
	root.SetHelpTemplate(helpTemplate)
	plain := root.HelpFunc()
	root.SetHelpFunc(func(c *cobra.Command, args []string) {
		if columns > 0 {
			c.Long = tty.Flow(c.Long)
		}
		var b bytes.Buffer
		c.SetOut(&b)
		plain(c, args)
		fmt.Fprint(a.stdout, tty.Fit(a.stdout, b.String()))
	})
}

// help is "cfs help VERB": as "cfs VERB --help", and it refuses what is not a verb.
func help() *cobra.Command {
	return &cobra.Command{
		Use: "help [VERB]", Short: "help on a verb or a topic",
		RunE: func(c *cobra.Command, args []string) error {
			found, rest, err := c.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return usage("run: cfs --help", "there is no help on %q", strings.Join(args, " "))
			}
			found.InitDefaultHelpFlag()
			return found.Help()
		},
	}
}

// branch is a verb that only holds further verbs. The flags behind a mistyped verb
// are not its own, and must not be what the complaint is about.
func branch(use, short string, verbs ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{
		Use: use, Short: short, Args: cobra.ArbitraryArgs, RunE: group, DisableFlagParsing: true,
	}
	c.AddCommand(verbs...)
	return c
}

// group runs a command that only holds others: its help, or the complaint that
// there is no such verb.
func group(c *cobra.Command, args []string) error {
	if len(args) == 0 || args[0] == "--help" || args[0] == "-h" {
		return c.Help()
	}
	if !c.HasParent() && len(args) == 1 && args[0] == "--version" {
		c.SetArgs([]string{"version"})
		return c.ExecuteContext(c.Context())
	}
	next := "run: " + c.CommandPath() + " --help"
	if strings.HasPrefix(args[0], "-") {
		return usage(next, "unknown flag: %s", args[0])
	}
	c.SuggestionsMinimumDistance = 2
	if near := c.SuggestionsFor(args[0]); len(near) > 0 {
		next = "did you mean: " + c.CommandPath() + " " + strings.Join(near, ", ")
	}
	return usage(next, "%s has no verb %q", c.CommandPath(), args[0])
}

// verbFunc is what a verb does with its arguments.
type verbFunc = func(*cobra.Command, []string) error

// verb makes a leaf of the tree. Its arguments are counted before run is
// called.
func verb(use, short string, impact Impact, argsMin, argsMax int, run verbFunc) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short,
		Annotations:           map[string]string{impactKey: string(impact)},
		DisableFlagsInUseLine: true,
		Args: func(c *cobra.Command, args []string) error {
			if n := len(args); n < argsMin || n > argsMax {
				return usage("write: "+c.Parent().CommandPath()+" "+use, "%s takes %s, got %d",
					c.CommandPath(), argumentCount(argsMin, argsMax), n)
			}
			return nil
		},
		RunE: run,
	}
}

func argumentCount(lo, hi int) string {
	noun := func(n int) string {
		if n == 1 {
			return "1 argument"
		}
		return fmt.Sprintf("%d arguments", n)
	}
	switch {
	case hi == 0:
		return "no arguments"
	case lo == hi:
		return noun(lo)
	}
	return fmt.Sprintf("%d to %s", lo, noun(hi))
}

// isTerminal says whether w is a terminal that may be redrawn.
func isTerminal(w io.Writer) bool { return tty.Of(w).Terminal() }

const usageTemplate = `usage: {{if .Runnable}}{{if .HasParent}}` +
	`{{if and .HasAvailableSubCommands (not (index .Annotations "impact"))}}{{.CommandPath}} VERB` +
	`{{else}}{{.UseLine}}{{end}}{{else}}cfs VERB{{end}}{{end}}
{{- with index .Annotations "impact"}}
impact: {{.}}{{end}}
{{- if .HasExample}}

{{.Example}}{{end}}
{{- if .HasAvailableSubCommands}}{{$all := .Commands}}{{range $g := .Groups}}

{{.Title}}{{range $all}}{{if and (eq .GroupID $g.ID) .IsAvailableCommand}}
  {{rpad .Name .NamePadding}}  {{.Short}}{{end}}{{end}}{{end}}
{{- if not .Groups}}
{{range $all}}{{if .IsAvailableCommand}}
  {{rpad .Name .NamePadding}}  {{.Short}}{{end}}{{end}}{{end}}{{end}}
{{- if and .HasParent .HasAvailableLocalFlags}}

flags
{{.LocalFlags.FlagUsagesWrapped %d | trimTrailingWhitespaces}}{{end}}
{{- if not .HasParent}}

cfs VERB --help for one verb, cfs help exit-codes | formats | glossary for the rules.{{end}}
`

const helpTemplate = `{{with or .Long .Short}}{{. | trimTrailingWhitespaces}}

{{end}}{{if or .Runnable .HasSubCommands}}{{.UsageString}}{{end}}`
