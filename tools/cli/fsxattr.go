package cli

import (
	"context"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/tools/fsapi"
	"github.com/claudefs/repl/tools/fsclient"
	"github.com/claudefs/repl/tools/namespace"
)

func (a *app) fsXattr() *cobra.Command {
	return branch("xattr", "extended attributes: ls, get, set, rm",
		a.xattrList(), a.xattrGet(), a.xattrSet(), a.xattrRemove())
}

// xattrReport is "cfs fs xattr ls -o json"; -o jsonl prints its attributes.
type xattrReport struct {
	Schema int           `json:"schema"`
	Kind   string        `json:"kind"`
	Path   string        `json:"path"`
	Xattrs []fsapi.Xattr `json:"xattrs"`
}

func (a *app) xattrList() *cobra.Command {
	var (
		o      *output
		client func() (*fsclient.Client, error)
	)
	c := verb("ls PATH [-o FORMAT]", "the extended attributes of a path", Read, 1, 1,
		func(c *cobra.Command, args []string) error {
			node, err := client()
			if err != nil {
				return err
			}
			report := xattrReport{Schema: 1, Kind: "xattr", Path: args[0], Xattrs: []fsapi.Xattr{}}
			err = node.Xattrs(c.Context(), args[0], func(x fsapi.Xattr) error {
				switch o.format {
				case FormatJSONL:
					return o.object(x)
				case FormatTable:
					_, err := fmt.Fprintln(a.stdout, a.stdout.Text(x.Name))
					return err
				}
				report.Xattrs = append(report.Xattrs, x)
				return nil
			})
			if err != nil || o.format == FormatJSONL || o.format == FormatTable {
				return explain(err, nil)
			}
			if o.format == FormatJSON {
				return o.object(report)
			}
			t := newTable(a.stdout, "BYTES", "NAME")
			for _, x := range report.Xattrs {
				t.row(fmt.Sprint(len(x.Value)), x.Name)
			}
			return t.flush()
		})
	c.Example = "  cfs fs xattr ls -o wide /home/alice/report"
	o, client = a.outputFlags(c), retryingClient(c)
	return c
}

func (a *app) xattrGet() *cobra.Command {
	var client func() (*fsclient.Client, error)
	c := verb("get PATH NAME", "the value of an extended attribute, as it is", Read, 2, 2,
		func(c *cobra.Command, args []string) error {
			node, err := client()
			if err != nil {
				return err
			}
			var value []byte
			err = node.Xattrs(c.Context(), args[0], func(x fsapi.Xattr) error {
				if x.Name == args[1] {
					value = append([]byte{}, x.Value...)
				}
				return nil
			})
			if err == nil && value == nil {
				err = &fs.PathError{Op: "getxattr " + args[1], Path: args[0], Err: syscall.ENODATA}
			}
			if err == nil {
				_, err = a.stdout.Raw().Write(value)
			}
			return explain(err, nil)
		})
	c.Example = "  cfs fs xattr get /home/alice/report user.colour"
	client = retryingClient(c)
	return c
}

func (a *app) xattrSet() *cobra.Command {
	next := pathSteps{syscall.EINVAL: "write the path from / on, and a name that is not empty"}
	return a.change("set PATH NAME VALUE", "set an extended attribute",
		"cfs fs xattr set /home/alice/report user.colour blue", 3, 3, next,
		func(ctx context.Context, node *fsclient.Client, args []string) (string, int, error) {
			return once(ctx, node, args[0], namespace.Operation{
				Op: engine.OpSetXattr, Path: args[0], Target: args[1], Data: []byte(args[2]),
			})
		})
}

func (a *app) xattrRemove() *cobra.Command {
	return a.change("rm PATH NAME", "remove an extended attribute",
		"cfs fs xattr rm /home/alice/report user.colour", 2, 2, nil,
		func(ctx context.Context, node *fsclient.Client, args []string) (string, int, error) {
			return once(ctx, node, args[0], namespace.Operation{
				Op: engine.OpRemoveXattr, Path: args[0], Target: args[1],
			})
		})
}
