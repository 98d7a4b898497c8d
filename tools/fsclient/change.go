package fsclient

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/tools/fsapi"
	"github.com/claudefs/repl/tools/namespace"
	"github.com/claudefs/repl/wire"
)

// Outcome is the result of one operation.
type Outcome struct {
	Ref      wire.Ref // zero: nothing was to be done, or Err
	Repeated bool
	Err      error // *fs.PathError with a syscall.Errno
}

// Do does operations in order and returns an outcome for each, when they are
// applied and flushed at the node. They get request ids if they have none. The
// outcomes end where the connection did; the error then says why, and the rest
// is in doubt.
func (c *Client) Do(ctx context.Context, ops ...namespace.Operation) ([]Outcome, error) {
	var out []Outcome
	l := newLane(ctx, &lane{c: c, answer: func(op *namespace.Operation, r fsapi.Result) {
		out = append(out, outcomeOf(op, r))
	}})
	var emitErr error
	for i := range ops {
		if ops[i].Request == (wire.RequestID{}) {
			rand.Read(ops[i].Request[:]) // never fails, as of Go 1.24
		}
		if emitErr = l.Emit(&ops[i]); emitErr != nil {
			break
		}
	}
	if err := l.Close(); err != nil {
		return out, err
	}
	return out, emitErr
}

func outcomeOf(op *namespace.Operation, r fsapi.Result) Outcome {
	o := Outcome{Ref: r.Ref, Repeated: r.Repeated}
	if r.Errno != 0 {
		o.Err = &fs.PathError{Op: namespace.OpName(op.Op), Path: op.Path, Err: r.Errno}
	}
	return o
}

// first does operations and returns the first thing that went wrong.
func (c *Client) first(ctx context.Context, ops ...namespace.Operation) error {
	out, err := c.Do(ctx, ops...)
	for i := range out {
		if out[i].Err != nil {
			return out[i].Err
		}
	}
	return err
}

// Mv renames; across top-level names that may be EXDEV.
func (c *Client) Mv(ctx context.Context, from, to string) error {
	return c.first(ctx, namespace.Operation{Op: engine.OpRename, Path: from, Target: to})
}

// Rm removes a file, a symlink, an empty directory, or, if all is true, a
// directory with everything below it. It returns how many names are gone.
func (c *Client) Rm(ctx context.Context, path string, all bool) (int, error) {
	stat, err := c.Stat(ctx, path)
	if err != nil {
		return 0, err
	}
	count := 0
	if stat.Type == namespace.TypeDir.String() && all {
		if count, err = c.empty(ctx, strings.TrimRight(path, "/")); err != nil || strings.Trim(path, "/") == "" {
			return count, err
		}
	}
	if err := c.first(ctx, unlink(path, stat.Type)); err != nil {
		return count, err
	}
	return count + 1, nil
}

func unlink(path, kind string) namespace.Operation {
	op := namespace.Operation{Op: engine.OpUnlink, Path: path}
	if kind == namespace.TypeDir.String() {
		op.Flags = namespace.FlagDir
	}
	return op
}

// empty removes what is in a directory, one page at a time.
func (c *Client) empty(ctx context.Context, path string) (count int, err error) {
	for {
		page, err := c.page(ctx, path+"/", "")
		if err != nil || len(page.Names) == 0 {
			return count, err
		}
		var ops []namespace.Operation
		for _, name := range page.Names {
			child := path + "/" + name.Name
			if name.Type == namespace.TypeDir.String() {
				n, err := c.empty(ctx, child)
				count += n
				if err != nil {
					return count, err
				}
			}
			ops = append(ops, unlink(child, name.Type))
		}
		before := count
		out, err := c.Do(ctx, ops...)
		for _, o := range out {
			if o.Err == nil {
				count++
			} else if !errors.Is(o.Err, fs.ErrNotExist) {
				return count, o.Err
			}
		}
		if err == nil && count == before {
			err = errors.New("names come back as fast as they go")
		}
		if err != nil {
			return count, fmt.Errorf("in %s: %w", path, err)
		}
	}
}
