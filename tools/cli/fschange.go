package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/tools/cli/remote"
	"github.com/claudefs/repl/tools/fsclient"
	"github.com/claudefs/repl/tools/namespace"
)

// changeReport is what a verb that changed something prints as JSON.
type changeReport struct {
	Schema  int    `json:"schema"`
	Kind    string `json:"kind"` // "change"
	Path    string `json:"path"`
	Changed int    `json:"changed_count"`
}

// changing is a verb that changes the file system: what it did, at which path.
type changing func(ctx context.Context, node *fsclient.Client, args []string) (path string, changed int, err error)

// change makes a verb of it. For people it prints nothing, as mv and rm do.
func (a *app) change(use, short, example string, argsMin, argsMax int, next pathSteps, do changing) *cobra.Command {
	var (
		o      *output
		client func() (*fsclient.Client, error)
	)
	c := verb(use+" [-o FORMAT]", short, Change, argsMin, argsMax, func(c *cobra.Command, args []string) error {
		node, err := client()
		if err != nil {
			return err
		}
		at, changed, err := do(c.Context(), node, args)
		if err != nil {
			return explain(err, next)
		}
		if o.people() {
			return nil
		}
		return o.object(changeReport{1, "change", at, changed})
	})
	c.Example = "  " + example
	o, client = a.outputFlags(c), retryingClient(c)
	return c
}

// once is a change by one operation.
func once(ctx context.Context, node *fsclient.Client, at string, op namespace.Operation) (string, int, error) {
	return at, 1, node.Change(ctx, op)
}

// newOwner gives what is made the owner that it would have here.
func newOwner(op namespace.Operation) namespace.Operation {
	op.UID, op.GID = uint32(os.Geteuid()), uint32(os.Getegid())
	return op
}

// mode is a flag or argument of permission bits.
type mode uint32

// String is pflag.Value's.
func (m *mode) String() string { return fmt.Sprintf("%04o", uint32(*m)) }

// Type is pflag.Value's.
func (m *mode) Type() string { return "MODE" }

// Set is pflag.Value's.
func (m *mode) Set(text string) error {
	n, err := strconv.ParseUint(text, 8, 32)
	if err != nil || n > 0o7777 {
		return fmt.Errorf("%q is not a mode: write it as 0640", text)
	}
	*m = mode(n)
	return nil
}

func (a *app) fsMakeDir() *cobra.Command {
	bits, parents := mode(0o755), false
	c := a.change("mkdir [-p] PATH", "make a directory", "cfs fs mkdir -p /home/alice/mail", 1, 1, nil,
		func(ctx context.Context, node *fsclient.Client, args []string) (string, int, error) {
			op := newOwner(namespace.Operation{Op: engine.OpMkDir, Path: args[0], Mode: uint32(bits)})
			if !parents {
				return once(ctx, node, args[0], op)
			}
			clean, err := namespace.Clean(args[0])
			if err != nil {
				return "", 0, err
			}
			var ops []namespace.Operation
			for i := 1; i <= len(clean); i++ {
				if i == len(clean) || clean[i] == '/' {
					above := newOwner(namespace.Operation{Op: engine.OpMkDir, Path: clean[:i], Mode: 0o755})
					above.Flags = namespace.FlagOverwrite
					if i == len(clean) {
						above.Mode = uint32(bits)
					}
					ops = append(ops, above)
				}
			}
			made, err := node.Made(ctx, ops...)
			return args[0], made, err
		})
	c.Flags().BoolVarP(&parents, "parents", "p", false, "create missing parents; an existing directory is not an error")
	c.Flags().VarP(&bits, "mode", "m", "permission bits of the last one")
	return c
}

func (a *app) fsRemoveDir() *cobra.Command {
	next := pathSteps{
		syscall.ENOTEMPTY: "cfs fs rm -r removes it with everything in it",
		syscall.ENOTDIR:   "cfs fs rm removes files, cfs fs rmdir directories",
	}
	return a.change("rmdir PATH", "remove an empty directory", "cfs fs rmdir /home/alice", 1, 1, next,
		func(ctx context.Context, node *fsclient.Client, args []string) (string, int, error) {
			return once(ctx, node, args[0], namespace.Operation{
				Op: engine.OpUnlink, Path: args[0], Flags: namespace.FlagDir,
			})
		})
}

func (a *app) fsLink() *cobra.Command {
	symbolic := false
	next := pathSteps{syscall.EPERM: "a directory has one name only: make a symlink with -s"}
	c := a.change("ln [-s] TARGET PATH", "give a file one more name, or with -s make a symlink",
		"cfs fs ln -s ../shared/report /home/alice/report", 2, 2, next,
		func(ctx context.Context, node *fsclient.Client, args []string) (string, int, error) {
			if symbolic {
				return once(ctx, node, args[1], newOwner(namespace.Operation{
					Op: engine.OpSymlink, Path: args[1], Target: args[0],
				}))
			}
			return once(ctx, node, args[1], namespace.Operation{Op: engine.OpLink, Path: args[0], Target: args[1]})
		})
	c.Flags().BoolVarP(&symbolic, "symbolic", "s", false, "TARGET is the text of a symlink; it need not exist")
	return c
}

func (a *app) fsMove() *cobra.Command {
	return a.change("mv FROM TO", "rename within a top-level directory", "cfs fs mv /home/a /home/b", 2, 2, nil,
		func(ctx context.Context, node *fsclient.Client, args []string) (string, int, error) {
			err := node.Mv(ctx, args[0], args[1])
			if errors.Is(err, syscall.EINVAL) && strings.HasPrefix(args[1], strings.TrimRight(args[0], "/")+"/") {
				err = failure(ExitFailed, err, "a directory does not go into itself: name a place outside of it")
			}
			return args[1], 1, err
		})
}

func (a *app) fsRemove() *cobra.Command {
	recursive, yes := false, false
	next := pathSteps{
		syscall.ENOTEMPTY: "add -r to remove everything in it",
		syscall.EISDIR:    "add -r to remove everything in it",
	}
	c := a.change("rm [-r] PATH", "remove a file, or with -r a whole tree", "cfs fs rm -r /home/alice", 1, 1, next,
		func(ctx context.Context, node *fsclient.Client, args []string) (string, int, error) {
			if recursive && path.Clean("/"+args[0]) == "/" && !yes {
				if err := a.confirmRoot(ctx, node); err != nil {
					return "", 0, err
				}
			}
			n, err := node.Rm(ctx, args[0], recursive)
			if errors.Is(err, fsclient.ErrComesBack) || recursive && errors.Is(err, syscall.ENOTEMPTY) {
				err = failure(ExitPartly, err, "stop what writes there, then run it again")
			}
			return args[0], n, err
		})
	c.Flags().BoolVarP(&recursive, "recursive", "r", false, "a directory with everything in it")
	c.Flags().BoolVar(&yes, "yes", false, "do not ask before rm -r /")
	return c
}

// confirmRoot asks for the site's name before everything goes, at all sites.
func (a *app) confirmRoot(ctx context.Context, node *fsclient.Client) error {
	status, err := remote.Status(ctx, node.Addr())
	if err != nil {
		return err
	}
	in, ok := a.stdin.(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		return failure(ExitRefused, fmt.Errorf("rm -r / would remove everything at %s and all its peers", status.Site),
			"name a path below /, or add --yes if that is meant")
	}
	fmt.Fprintf(a.stderr, "This removes everything at %s and all its peers. Type the site's name to go on: ",
		status.Site)
	line, _ := bufio.NewReader(in).ReadString('\n')
	if strings.TrimSpace(line) != status.Site {
		return failure(ExitRefused, fmt.Errorf("%q is not the site's name, %s", strings.TrimSpace(line), status.Site),
			"nothing was removed")
	}
	return nil
}

func (a *app) fsMode() *cobra.Command {
	return a.change("chmod MODE PATH", "set permission bits", "cfs fs chmod 0640 /home/alice/report", 2, 2, nil,
		func(ctx context.Context, node *fsclient.Client, args []string) (string, int, error) {
			var bits mode
			if err := bits.Set(args[0]); err != nil {
				return "", 0, usage("write the mode in octal digits", "%w", err)
			}
			return once(ctx, node, args[1], namespace.Operation{
				Op: engine.OpSetAttr, Path: args[1], Flags: namespace.FlagMode, Mode: uint32(bits),
			})
		})
}

func (a *app) fsOwner() *cobra.Command {
	return a.change("chown OWNER PATH", "set owner and group: UID, UID:GID or :GID",
		"cfs fs chown 1000:100 /home/alice", 2, 2, nil,
		func(ctx context.Context, node *fsclient.Client, args []string) (string, int, error) {
			op := namespace.Operation{Op: engine.OpSetAttr, Path: args[1]}
			uid, gid, _ := strings.Cut(args[0], ":")
			for _, id := range []struct {
				text string
				to   *uint32
				flag namespace.Flags
			}{{uid, &op.UID, namespace.FlagUID}, {gid, &op.GID, namespace.FlagGID}} {
				if id.text == "" {
					continue
				}
				n, err := strconv.ParseUint(id.text, 10, 32)
				if err != nil {
					return "", 0, usage("write numbers: sites share no names of users", "%q is not an owner", args[0])
				}
				*id.to = uint32(n)
				op.Flags |= id.flag
			}
			if op.Flags == 0 {
				return "", 0, usage("write UID, UID:GID or :GID", "%q is not an owner", args[0])
			}
			return once(ctx, node, args[1], op)
		})
}

// moment is a flag of a time that the site can keep.
type moment struct {
	ns  int64
	set bool
}

// String is pflag.Value's.
func (m *moment) String() string {
	if !m.set {
		return ""
	}
	return time.Unix(0, m.ns).UTC().Format(time.RFC3339Nano)
}

// Type is pflag.Value's.
func (m *moment) Type() string { return "TIME" }

var (
	momentMin = time.Unix(0, math.MinInt64)
	momentMax = time.Unix(0, math.MaxInt64)
)

// Set is pflag.Value's.
func (m *moment) Set(text string) error {
	t, err := parseMoment(text)
	switch {
	case err != nil:
		return fmt.Errorf("%q is not a time: write 2026-11-30T10:30:00Z or @SECONDS since 1970", text)
	case t.Before(momentMin) || t.After(momentMax):
		return fmt.Errorf("%q is outside of what a site keeps: %s to %s", text,
			momentMin.UTC().Format(time.DateOnly), momentMax.UTC().Format(time.DateOnly))
	}
	m.ns, m.set = t.UnixNano(), true
	return nil
}

func parseMoment(text string) (time.Time, error) {
	seconds, ok := strings.CutPrefix(text, "@")
	if !ok {
		return time.Parse(time.RFC3339Nano, text)
	}
	whole, part, _ := strings.Cut(seconds, ".")
	sec, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || len(part) > 9 {
		return time.Time{}, errors.Join(err, strconv.ErrSyntax)
	}
	ns, err := strconv.ParseUint(part+strings.Repeat("0", 9-len(part)), 10, 32)
	if strings.HasPrefix(whole, "-") {
		return time.Unix(sec, -int64(ns)), err
	}
	return time.Unix(sec, int64(ns)), err
}

func (a *app) fsTouch() *cobra.Command {
	var atime, mtime moment
	noCreate := false
	c := a.change("touch PATH", "set times to now, or those that are named; an empty file where nothing is",
		"cfs fs touch --mtime 2001-02-03T04:05:06Z /home/alice/report", 1, 1, nil,
		func(ctx context.Context, node *fsclient.Client, args []string) (string, int, error) {
			op := namespace.Operation{Op: engine.OpSetAttr, Path: args[0], Atime: atime.ns, Mtime: mtime.ns}
			if atime.set {
				op.Flags |= namespace.FlagAtime
			}
			if mtime.set {
				op.Flags |= namespace.FlagMtime
			}
			if op.Flags == 0 {
				op.Flags = namespace.FlagAtime | namespace.FlagMtime
				op.Atime, op.Mtime = time.Now().UnixNano(), time.Now().UnixNano()
			}
			err := node.Change(ctx, op)
			if !errors.Is(err, syscall.ENOENT) || noCreate {
				return args[0], 1, err
			}
			op.Op, op.Mode = engine.OpCreate, 0o644
			return once(ctx, node, args[0], newOwner(op))
		})
	c.Flags().Var(&mtime, "mtime", "time of change: 2026-11-30T10:30:00Z or @SECONDS since 1970")
	c.Flags().Var(&atime, "atime", "time of access, same format")
	c.Flags().BoolVarP(&noCreate, "no-create", "c", false, "fail if PATH does not exist")
	return c
}

func (a *app) fsTruncate() *cobra.Command {
	return a.change("truncate BYTES PATH", "cut a file, or lengthen it with a hole",
		"cfs fs truncate 64MiB /home/alice/log", 2, 2, nil,
		func(ctx context.Context, node *fsclient.Client, args []string) (string, int, error) {
			var to size
			if err := to.Set(args[0]); err != nil {
				return "", 0, usage("write: cfs fs truncate BYTES PATH", "%w", err)
			}
			return once(ctx, node, args[1], namespace.Operation{Op: engine.OpTruncate, Path: args[1], Size: uint64(to)})
		})
}
