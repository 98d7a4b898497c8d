package cli

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/claudefs/repl/tools/fsapi"
	"github.com/claudefs/repl/tools/fsclient"
)

func (a *app) fs() *cobra.Command {
	return branch("fs", "use a site's file system: import, ls, stat, cat, mv, rm, digest",
		a.fsImport(), a.fsList(), a.fsStat(), a.fsCat(), a.fsMove(), a.fsRemove(), a.fsDigest())
}

// clientFlag gives c the node that it talks to.
func clientFlag(c *cobra.Command) func() (*fsclient.Client, error) {
	addr := adminFlag(c)
	return func() (*fsclient.Client, error) {
		at, err := addr()
		if err != nil {
			return nil, err
		}
		return fsclient.New(at), nil
	}
}

// listReport is "cfs fs ls -o json"; -o jsonl prints its names.
type listReport struct {
	Schema int          `json:"schema"`
	Kind   string       `json:"kind"`
	Path   string       `json:"path"`
	Names  []fsapi.Name `json:"names"`
}

func (a *app) fsList() *cobra.Command {
	var (
		o      *output
		client func() (*fsclient.Client, error)
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
		return explain(a.list(c.Context(), o, node, path))
	}
	c := verb("ls [PATH] [-o FORMAT]", "the names in a directory", Read, 0, 1, run)
	o, client = a.outputFlags(c), clientFlag(c)
	return c
}

// list prints the names as they come where the format allows it.
func (a *app) list(ctx context.Context, o *output, node *fsclient.Client, path string) error {
	report := listReport{Schema: 1, Kind: "ls", Path: path, Names: []fsapi.Name{}}
	err := node.Ls(ctx, path, func(n fsapi.Name) error {
		switch o.format {
		case FormatJSONL:
			return o.object(n)
		case FormatTable:
			_, err := fmt.Fprintln(a.stdout, a.stdout.Text(n.Name))
			return err
		}
		report.Names = append(report.Names, n)
		return nil
	})
	if err != nil || o.format == FormatJSONL || o.format == FormatTable {
		return err
	}
	if o.format == FormatJSON {
		return o.object(report)
	}
	t := newTable(a.stdout, "TYPE", "INODE", "NAME")
	for _, n := range report.Names {
		t.row(n.Type, fmt.Sprint(n.Inode), n.Name)
	}
	return t.flush()
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
				return explain(err)
			}
			if !o.people() {
				return o.object(statReport{attr, "stat", time.Unix(0, attr.Mtime).UTC()})
			}
			t := newTable(a.stdout, "TYPE", "MODE", "UID", "GID", "LINKS", "BYTES", "MODIFIED", "PATH")
			path := args[0]
			if attr.Target != "" {
				path += " -> " + attr.Target
			}
			modified := time.Unix(0, attr.Mtime).UTC().Format(time.RFC3339)
			t.row(attr.Type, fmt.Sprintf("%04o", attr.Mode), fmt.Sprint(attr.UID), fmt.Sprint(attr.GID),
				fmt.Sprint(attr.Nlink), fmt.Sprint(attr.Size), modified, path)
			return t.flush()
		})
	o, client = a.outputFlags(c), clientFlag(c)
	return c
}

func (a *app) fsCat() *cobra.Command {
	var client func() (*fsclient.Client, error)
	c := verb("cat PATH", "a file's content", Read, 1, 1, func(c *cobra.Command, args []string) error {
		node, err := client()
		if err != nil {
			return err
		}
		return explain(node.Cat(c.Context(), args[0], 0, -1, a.stdout.Raw()))
	})
	client = clientFlag(c)
	return c
}

// changeReport is what a verb that changed something prints as JSON.
type changeReport struct {
	Schema  int    `json:"schema"`
	Kind    string `json:"kind"` // "change"
	Path    string `json:"path"`
	Changed int    `json:"changed_count"`
}

func (a *app) fsMove() *cobra.Command {
	var (
		o      *output
		client func() (*fsclient.Client, error)
	)
	c := verb("mv FROM TO [-o FORMAT]", "rename within a top-level directory", Change, 2, 2,
		func(c *cobra.Command, args []string) error {
			node, err := client()
			if err != nil {
				return err
			}
			if err := node.Mv(c.Context(), args[0], args[1]); err != nil {
				return explain(err)
			}
			return a.showChange(o, args[1], 1)
		})
	o, client = a.outputFlags(c), clientFlag(c)
	return c
}

func (a *app) fsRemove() *cobra.Command {
	var (
		o         *output
		client    func() (*fsclient.Client, error)
		recursive bool
	)
	c := verb("rm [-r] PATH [-o FORMAT]", "remove a file, or with -r a whole tree", Change, 1, 1,
		func(c *cobra.Command, args []string) error {
			node, err := client()
			if err != nil {
				return err
			}
			n, err := node.Rm(c.Context(), args[0], recursive)
			if err != nil {
				return explain(err)
			}
			return a.showChange(o, args[0], n)
		})
	o, client = a.outputFlags(c), clientFlag(c)
	c.Flags().BoolVarP(&recursive, "recursive", "r", false, "a directory with everything in it")
	return c
}

// showChange prints nothing for people, as mv and rm do.
func (a *app) showChange(o *output, path string, changed int) error {
	if o.people() {
		return nil
	}
	return o.object(changeReport{1, "change", path, changed})
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
			return explain(err)
		}
		if !o.people() {
			return o.object(digestReport{d, "digest"})
		}
		fmt.Fprintf(a.stdout, "%s  %s, %s\n", a.stdout.Text(d.Hash),
			plural(d.Names, "name", "names"), humanBytes(int64(d.Bytes)))
		return nil
	}
	c := verb("digest [-o FORMAT]", "one hash over namespace and content, equal at equal sites", Read, 0, 0, run)
	o, client = a.outputFlags(c), clientFlag(c)
	return c
}

// pathNext is what to do about a path with which a change is not possible.
var pathNext = map[syscall.Errno]string{
	syscall.ENOENT:    "check the path with cfs fs ls",
	syscall.EEXIST:    "remove what is there first, or name another path",
	syscall.ENOTEMPTY: "add -r to remove everything in it",
	syscall.EISDIR:    "add -r to remove everything in it",
	syscall.EXDEV:     "name a place below the same top-level directory: a key stays in its shard",
	syscall.EINVAL:    "write the path from / on, as /dir/name",
}

// explain gives a client's error its exit code and next step.
func explain(err error) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*fsclient.AnswerError](err); ok {
		return failure(ExitFailed, errors.New(e.Body.Text), e.Body.Next)
	}
	if errno, ok := errors.AsType[syscall.Errno](err); ok && pathNext[errno] != "" {
		return failure(ExitFailed, err, pathNext[errno])
	}
	switch {
	case errors.Is(err, fsclient.ErrUnreachable):
		return failure(ExitUnreachable, err, unreachableNext)
	case errors.Is(err, fsclient.ErrAnswer):
		return failure(ExitFailed, err, answerNext)
	case errors.Is(err, fsclient.ErrRefused):
		return failure(ExitRefused, err, "`cfs admin replication status` there names the primary and its state")
	}
	return err
}
