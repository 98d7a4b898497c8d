package cli

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/claudefs/repl/tools/cli/progress"
	"github.com/claudefs/repl/tools/cli/tty"
	"github.com/claudefs/repl/tools/fsapi"
	"github.com/claudefs/repl/tools/fsclient"
)

// importFlags are the flags of "cfs fs import".
type importFlags struct {
	id       string
	to       string
	ackLog   string
	retryFor time.Duration
	parallel int
	remove   bool
}

// importReport is "cfs fs import -o json".
type importReport struct {
	Schema   int    `json:"schema"`
	Kind     string `json:"kind"`
	Dir      string `json:"dir"`
	ImportID string `json:"import_id"`
	Delete   bool   `json:"delete"`
	fsclient.Report
}

// ackRow is one line of --ack-log.
type ackRow struct {
	Schema      int    `json:"schema"`
	Kind        string `json:"kind"`
	Path        string `json:"path"`
	PathB64     []byte `json:"path_b64,omitempty"` // of a path that is not UTF-8
	Site        string `json:"site_id"`
	Shard       uint32 `json:"shard"`
	Incarnation string `json:"incarnation"`
	Seq         uint64 `json:"seq"`
	Repeated    bool   `json:"repeated"`
}

func (a *app) fsImport() *cobra.Command {
	var (
		f      importFlags
		o      *output
		client func() (*fsclient.Client, error)
	)
	run := func(c *cobra.Command, args []string) error {
		if f.parallel < 1 || f.parallel > 16 {
			return usage("omit --parallel for 4", "--parallel %d: want 1 to 16", f.parallel)
		}
		if f.retryFor <= 0 {
			return usage("omit --retry-for for 2m", "--retry-for %s: want more than 0", f.retryFor)
		}
		node, err := client()
		if err != nil {
			return err
		}
		info, err := os.Stat(args[0])
		switch {
		case err != nil:
			return failure(ExitFailed, err, "name a directory that can be read")
		case !info.IsDir():
			return failure(ExitFailed, fmt.Errorf("%s is not a directory", args[0]), "name the directory that it is in")
		}
		if f.remove && strings.Trim(f.to, "/") == "" {
			return usage("add --to PATH: what else is in / is not of DIR", "--delete without --to PATH")
		}
		return a.runImport(c.Context(), o, &f, node, args[0])
	}
	c := verb("import DIR [--to PATH] [-o FORMAT]", "copy a real directory tree into the site", Change, 1, 1, run)
	c.Long = `Makes PATH at the site equal to DIR: names, content, holes, hard links, symlinks, modes, owners, times and
extended attributes. It compares first and sends only what differs, so a repeated or resumed import sends
only what is new. Names that only the site has are kept and counted; --delete removes them.

It follows no symlink in DIR. Files that cannot be read or kept, or changed while being read, are listed on
stderr; the exit code is then 5. / itself has fixed attributes: use --to PATH to keep those of DIR.`
	c.Example = `  cfs fs import /home --to /home
  cfs fs import /home --to /home --delete --import-id nightly`
	o, client = a.outputFlags(c), clientFlag(c)
	fs := c.Flags()
	fs.StringVar(&f.id, "import-id", "", "`NAME` of this import; reuse it to resume (default random)")
	fs.BoolVar(&f.remove, "delete", false, "remove names below --to PATH that are not in DIR")
	fs.StringVar(&f.to, "to", "/", "directory `PATH` at the site, made if absent")
	fs.StringVar(&f.ackLog, "ack-log", "", "append every acknowledged entry to this `FILE` as JSON lines")
	fs.DurationVar(&f.retryFor, "retry-for", 2*time.Minute,
		"`TIME` that a server may leave a request unanswered before the import ends")
	fs.IntVar(&f.parallel, "parallel", 4, "`N` top-level names at a time")
	return c
}

func (a *app) runImport(ctx context.Context, o *output, f *importFlags, node *fsclient.Client, dir string) error {
	if f.id == "" {
		// Not made of DIR: its files may change, and a request that was done before is
		// not looked at again.
		f.id = rand.Text()
	}
	acks, err := openAckLog(f.ackLog)
	if err != nil {
		return failure(ExitFailed, fmt.Errorf("--ack-log: %w", err), "name a file that can be written")
	}
	line := progress.New(a.stderr)
	problem := func(text string) { fmt.Fprintf(a.stderr, "left out: %s\n", tty.Plain(text)) }
	report, err := node.Import(ctx, dir, fsclient.ImportOptions{
		ID: f.id, To: f.to, Delete: f.remove, Parallel: f.parallel, AckLog: acks.add, Problem: problem,
		SilenceMax: f.retryFor,
		Progress:   func(p fsclient.Progress) { line.Show(func() string { return importText(&p) }) },
	})
	if err = errors.Join(err, acks.close()); err != nil {
		line.Say("%s: %s", dir, importText(&report.Progress))
		return importFailure(err, "run it again with --import-id "+f.id+": what is done is not repeated")
	}
	if report.Errors == nil {
		report.Errors = []string{} // a list is never null
	}
	return a.showImport(o, &importReport{
		Schema: 1, Kind: "import", Dir: dir, ImportID: f.id, Delete: f.remove, Report: report,
	})
}

// importText is the progress line.
func importText(p *fsclient.Progress) string {
	text := fmt.Sprintf("%s, %s sent; %s acknowledged, %s/s", plural(names(p), "name", "names"), humanBytes(p.Bytes),
		plural(p.Entries, "entry", "entries"), humanCount(int64(float64(p.Entries)/max(p.Seconds, 0.001))))
	if p.Reconnects > 0 {
		text += fmt.Sprintf("; connection lost %s", plural(p.Reconnects, "time", "times"))
	}
	return text
}

// names is how many names an import has sent.
func names(p *fsclient.Progress) int64 { return p.Files + p.Dirs + p.Symlinks + p.Links }

func importFailure(err error, again string) error {
	if silent, ok := errors.AsType[*fsclient.SilentError](err); ok {
		if silent.Here && silent.Cause == nil {
			return failure(ExitTimeout, err, "cfs admin replication status says what its appends wait for; then "+again)
		}
		return failure(ExitUnreachable, err, "start the server, then "+again)
	}
	_, ofPath := errors.AsType[syscall.Errno](err)
	_, told := errors.AsType[*fsclient.AnswerError](err)
	if errors.Is(err, fsclient.ErrRefused) && !ofPath && !told {
		if errors.Is(err, fsclient.ErrElsewhere) {
			return failure(ExitRefused, err, elsewhereNext+"; "+again)
		}
		return failure(ExitRefused, err, refusedNext+"; once that is over, "+again)
	}
	if ofPath || errors.Is(err, fsclient.ErrRefused) || errors.Is(err, fsclient.ErrAnswer) {
		return explain(err, nil)
	}
	return failure(classify(err).Code, err, again)
}

// showImport prints the summary. What was left out makes it a partial success.
func (a *app) showImport(o *output, r *importReport) error {
	if !o.people() {
		if err := o.object(r); err != nil {
			return err
		}
	} else {
		p := &r.Progress
		extra := "only at the site: --delete removes"
		if r.Delete {
			extra = "removed: only at the site"
		}
		fmt.Fprintf(a.stdout, "imported %s, %s in %s: %s, %s/s\n", plural(names(p), "name", "names"),
			humanBytes(p.Bytes), humanSeconds(p.Seconds), plural(p.Entries, "entry", "entries"),
			humanCount(int64(float64(p.Entries)/max(p.Seconds, 0.001))))
		for _, c := range []struct {
			count int64
			what  string
		}{
			{p.Same, "unchanged"}, {p.Repeated, "done before"},
			{p.Skipped, "skipped: devices, sockets, fifos"}, {p.LinksSplit, "copied instead of hard-linked"},
			{p.Extra, extra}, {p.Unreadable, "unreadable"}, {p.Refused, "refused"},
			{p.Changed, "changed while read"}, {p.TimesLimited, "with other times than at the source"},
			{p.Reconnects, "reconnected"},
		} {
			if c.count > 0 {
				fmt.Fprintf(a.stdout, "  %s %s\n", humanCount(c.count), c.what)
			}
		}
	}
	if !r.Partly() {
		return nil
	}
	return failure(ExitPartly, errors.New("the site is not equal to "+r.Dir),
		"fix what the lines above report, then import again")
}

// ackLog is the file of --ack-log; without a name it takes everything and
// keeps nothing.
type ackLog struct {
	file *os.File
	w    *bufio.Writer
}

func openAckLog(name string) (*ackLog, error) {
	if name == "" {
		return &ackLog{}, nil
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	return &ackLog{f, bufio.NewWriter(f)}, nil
}

func (l *ackLog) add(a fsclient.Ack) error {
	if l.file == nil {
		return nil
	}
	line, err := json.Marshal(ackRow{
		Schema: 1, Kind: "ack", Path: a.Path, PathB64: fsapi.Raw(a.Path),
		Site:  fmt.Sprintf("%08x", uint32(a.Ref.Log.Site)),
		Shard: uint32(a.Ref.Log.Shard), Incarnation: a.Ref.Incarnation.String(), Seq: uint64(a.Ref.Seq),
		Repeated: a.Repeated,
	})
	if err == nil {
		_, err = l.w.Write(append(line, '\n'))
	}
	return err
}

func (l *ackLog) close() error {
	if l.file == nil {
		return nil
	}
	return errors.Join(l.w.Flush(), l.file.Close())
}
