package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/tools/cli/remote"
	"github.com/claudefs/repl/tools/cli/tty"
	"github.com/claudefs/repl/tools/fsapi"
	"github.com/claudefs/repl/tools/fsclient"
	"github.com/claudefs/repl/tools/namespace"
)

func (a *app) fs() *cobra.Command {
	return a.warned(branch("fs", "use a site's file system: import, put, get, ls, cat, rm and more",
		a.fsImport(), a.fsPut(), a.fsGet(), a.fsList(), a.fsStat(), a.fsCat(), a.fsMakeDir(), a.fsRemoveDir(),
		a.fsLink(), a.fsMove(), a.fsRemove(), a.fsMode(), a.fsOwner(), a.fsTouch(), a.fsTruncate(), a.fsXattr(),
		a.fsDigest()))
}

// warned has every verb below that changes something say first that the node is FAILED:
// what it writes may be at no other site, and the verb itself may well succeed.
func (a *app) warned(c *cobra.Command) *cobra.Command {
	for _, sub := range c.Commands() {
		a.warned(sub)
	}
	if run := c.RunE; c.Annotations[impactKey] == string(Change) {
		c.RunE = func(c *cobra.Command, args []string) error {
			a.warnFailed(c)
			return run(c, args)
		}
	}
	return c
}

// warnWait is how long a verb waits for a status that it only warns by.
const warnWait = 2 * time.Second

// warnFailed says nothing where it cannot know: the verb itself tells what is wrong then.
func (a *app) warnFailed(c *cobra.Command) {
	addr, err := adminAddr(c.Flag("admin").Value.String())
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(c.Context(), warnWait)
	defer cancel()
	s, err := remote.Status(ctx, addr)
	if err != nil || s.Health != engine.HealthFailed {
		return
	}
	text := fmt.Sprintf("warning: %s is FAILED: %s; what is written now may be at this site alone\n",
		tty.Plain(s.Site), tty.Plain(oneLine(s.Reason)))
	fmt.Fprint(a.stderr, tty.Fit(a.stderr, text))
}

// addrList is a flag of addresses: repeated, or with commas between them.
type addrList []string

// String is pflag.Value's.
func (l *addrList) String() string { return strings.Join(*l, ",") }

// Type is pflag.Value's.
func (l *addrList) Type() string { return "ADDR" }

// Set is pflag.Value's.
func (l *addrList) Set(text string) error {
	*l = append(*l, strings.Split(text, ",")...)
	return nil
}

// clientFlag gives c the nodes that it talks to.
func clientFlag(c *cobra.Command) func() (*fsclient.Client, error) {
	var addrs addrList
	c.Flags().Var(&addrs, "admin",
		"admin `ADDR` of the node; repeat it for further sites: it goes to the one that writes (default $"+adminEnv+")")
	return func() (*fsclient.Client, error) {
		var given addrList
		for _, text := range []string{addrs.String(), os.Getenv(adminEnv)} {
			if len(given) == 0 {
				given = strings.FieldsFunc(text, func(r rune) bool { return r == ',' })
			}
		}
		if len(given) == 0 {
			given = addrList{""}
		}
		for _, addr := range given {
			if _, err := adminAddr(addr); err != nil {
				return nil, err
			}
		}
		return fsclient.New(given...), nil
	}
}

// retryDefault is how long a verb tries again that has more than one address to go to.
const retryDefault = 30 * time.Second

// retryingClient is clientFlag for verbs that do one thing.
func retryingClient(c *cobra.Command) func() (*fsclient.Client, error) {
	client := clientFlag(c)
	wait := c.Flags().Duration("retry-for", 0,
		"`TIME` to try again while no site can do it (default 30s with several addresses, else 0s)")
	return func() (*fsclient.Client, error) {
		node, err := client()
		if err != nil {
			return nil, err
		}
		switch {
		case *wait < 0:
			return nil, usage("omit --retry-for", "--retry-for %s: want 0s or more", *wait)
		case c.Flags().Changed("retry-for"):
			node.RetryFor = *wait
		case node.Several():
			node.RetryFor = retryDefault
		}
		return node, nil
	}
}

// listReport is "cfs fs ls -o json"; -o jsonl prints its names.
type listReport struct {
	Schema int          `json:"schema"`
	Kind   string       `json:"kind"`
	Path   string       `json:"path"`
	Names  []listedName `json:"names"`
}

func (a *app) fsList() *cobra.Command {
	var (
		o         *output
		client    func() (*fsclient.Client, error)
		recursive bool
	)
	run := func(c *cobra.Command, args []string) error {
		node, err := client()
		if err != nil {
			return err
		}
		path := "/"
		if len(args) == 1 {
			path = args[0]
		}
		return explain(a.list(c.Context(), o, node, path, recursive), nil)
	}
	c := verb("ls [-R] [PATH] [-o FORMAT]", "the names in a directory; -o wide adds what they are", Read, 0, 1, run)
	c.Long = `The names in a directory, in byte order. With -R those in the directories below it as well, each as its
path from PATH on, a directory before what is in it. On a terminal a name that would act on it is quoted.`
	c.Example = `  cfs fs ls -o wide /home
  cfs fs ls -R -o jsonl /home | jq -r .path`
	o, client = a.outputFlags(c), retryingClient(c)
	c.Flags().BoolVarP(&recursive, "recursive", "R", false, "the directories below as well")
	return c
}

// listedName is one row of ls. Path is from the listed directory on.
type listedName struct {
	Path    string `json:"path"`
	PathB64 []byte `json:"path_b64,omitempty"` // of a path that is not UTF-8
	fsapi.Name
}

// list prints the names as they come where the format allows it.
func (a *app) list(ctx context.Context, o *output, node *fsclient.Client, path string, recursive bool) error {
	report := listReport{Schema: 1, Kind: "ls", Path: path, Names: []listedName{}}
	attr := o.wide() || !o.people()
	err := walkNames(ctx, node, path, "", attr, recursive, func(n listedName) error {
		switch o.format {
		case FormatJSONL:
			return o.object(n)
		case FormatTable:
			_, err := fmt.Fprintln(a.stdout, a.stdout.Text(n.Path))
			return err
		}
		if report.Names = append(report.Names, n); n.Attr == nil {
			return fmt.Errorf("names without inodes: %w", fsclient.ErrAnswer) // of an earlier release
		}
		return nil
	})
	if err != nil || o.format == FormatJSONL || o.format == FormatTable {
		return err
	}
	if o.format == FormatJSON {
		return o.object(report)
	}
	t := newTable(a.stdout, "TYPE", "MODE", "UID", "GID", "LINKS", "BYTES", "MODIFIED", "INODE", "NAME")
	for _, n := range report.Names {
		t.row(append(attrCells(n.Type, &n.Attr.Attr), fmt.Sprint(n.Inode), arrow(n.Path, n.Attr.Target))...)
	}
	return t.flush()
}

// walkNames visits the names in a directory, and if recursive those below.
func walkNames(ctx context.Context, node *fsclient.Client, dir, prefix string, attr, recursive bool,
	visit func(listedName) error) error {
	return node.Ls(ctx, dir, attr, func(n fsapi.Name) error {
		row := listedName{Path: prefix + n.Name, Name: n}
		row.PathB64 = fsapi.Raw(row.Path)
		if err := visit(row); err != nil || !recursive || n.Type != namespace.TypeDir.String() {
			return err
		}
		below := strings.TrimRight(dir, "/") + "/" + n.Name
		err := walkNames(ctx, node, below, row.Path+"/", attr, true, visit)
		if errors.Is(err, syscall.ENOENT) {
			return nil // it went meanwhile
		}
		return err
	})
}

func attrCells(kind string, attr *namespace.Attr) []string {
	return []string{
		kind, fmt.Sprintf("%04o", attr.Mode), fmt.Sprint(attr.UID), fmt.Sprint(attr.GID), fmt.Sprint(attr.Nlink),
		fmt.Sprint(attr.Size), time.Unix(0, attr.Mtime).UTC().Format(time.RFC3339),
	}
}

// arrow is a name and, of a symlink, where it leads.
func arrow(name, target string) string {
	if target == "" {
		return name
	}
	return name + " -> " + target
}

// statReport is "cfs fs stat -o json".
type statReport struct {
	fsapi.Stat
	Kind       string    `json:"kind"`
	ModifiedAt time.Time `json:"modified_at"`
}

func (a *app) fsStat() *cobra.Command {
	var (
		o      *output
		client func() (*fsclient.Client, error)
	)
	c := verb("stat PATH [-o FORMAT]", "what a path is; a symlink is not followed", Read, 1, 1,
		func(c *cobra.Command, args []string) error {
			node, err := client()
			if err != nil {
				return err
			}
			attr, err := node.Stat(c.Context(), args[0])
			if err != nil {
				return explain(err, nil)
			}
			if !o.people() {
				return o.object(statReport{attr, "stat", time.Unix(0, attr.Mtime).UTC()})
			}
			t := newTable(a.stdout, "TYPE", "MODE", "UID", "GID", "LINKS", "BYTES", "MODIFIED", "PATH")
			t.row(append(attrCells(attr.Type, &attr.Attr.Attr), arrow(args[0], attr.Target))...)
			return t.flush()
		})
	o, client = a.outputFlags(c), retryingClient(c)
	return c
}

func (a *app) fsCat() *cobra.Command {
	var (
		client func() (*fsclient.Client, error)
		piece  piece
	)
	c := verb("cat PATH", "a file's content", Read, 1, 1, func(c *cobra.Command, args []string) error {
		node, err := client()
		if err != nil {
			return err
		}
		return explain(node.Cat(c.Context(), args[0], uint64(piece.offset), piece.bytes(), a.stdout.Raw()), nil)
	})
	c.Example = "  cfs fs cat /home/log --offset 1MiB --length 4KiB"
	client = retryingClient(c)
	piece.flags(c)
	return c
}

// digestReport is "cfs fs digest -o json".
type digestReport struct {
	fsapi.Digest
	Kind string `json:"kind"`
}

func (a *app) fsDigest() *cobra.Command {
	var (
		o      *output
		client func() (*fsclient.Client, error)
	)
	run := func(c *cobra.Command, _ []string) error {
		node, err := client()
		if err != nil {
			return err
		}
		d, err := node.Digest(c.Context())
		if err != nil {
			return explain(err, nil)
		}
		if !o.people() {
			return o.object(digestReport{d, "digest"})
		}
		fmt.Fprintf(a.stdout, "%s  %s, %s\n", a.stdout.Text(d.Hash),
			plural(d.Names, "name", "names"), humanBytes(int64(d.Bytes)))
		return nil
	}
	c := verb("digest [-o FORMAT]", "one hash over namespace and content, equal at equal sites", Read, 0, 0, run)
	o, client = a.outputFlags(c), retryingClient(c)
	return c
}
