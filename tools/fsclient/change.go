package fsclient

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync/atomic"
	"syscall"

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
	l := newLane(ctx, &lane{c: c, answer: func(op *namespace.Operation, r fsapi.Result, _ bool) {
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

// Change does operations and returns the first thing that went wrong.
func (c *Client) Change(ctx context.Context, ops ...namespace.Operation) error {
	_, err := c.Made(ctx, ops...)
	return err
}

// Made is Change, and counts the operations that were not done before.
func (c *Client) Made(ctx context.Context, ops ...namespace.Operation) (count int, err error) {
	out, err := c.Do(ctx, ops...)
	for i := range out {
		if out[i].Err != nil {
			return count, out[i].Err
		}
		if out[i].Ref != (wire.Ref{}) {
			count++
		}
	}
	return count, err
}

// Put writes what r has into a file, as of op: Path, Offset, and for a new file Mode,
// UID and GID. A file that is there keeps these, and its content if keep is set; else
// it is emptied first. It returns how many bytes were sent before an error.
func (c *Client) Put(ctx context.Context, op namespace.Operation, keep bool, r io.Reader) (sent int64, err error) {
	first := op
	first.Op, first.Flags, first.Offset = engine.OpCreate, 0, 0
	stat, err := c.stat(ctx, current(op.Path))
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return 0, err
	case stat.Type != namespace.TypeFile.String():
		return 0, &fs.PathError{Op: "put", Path: op.Path, Err: syscall.EISDIR}
	default:
		first.Op, first.Size = engine.OpTruncate, 0
		if keep {
			first.Size = stat.Size
		}
	}
	var refused error // written by the lane's goroutine until Close
	var failed atomic.Bool
	l := newLane(ctx, &lane{c: c, answer: func(op *namespace.Operation, r fsapi.Result, _ bool) {
		if err := outcomeOf(op, r).Err; err != nil && refused == nil {
			refused = err
			failed.Store(true)
		}
	}})
	emit := func(op *namespace.Operation) error {
		rand.Read(op.Request[:]) // never fails, as of Go 1.24
		return l.Emit(op)
	}
	err = emit(&first)
	for b := make([]byte, blockBytes); err == nil && !failed.Load(); {
		n, readErr := io.ReadFull(r, b)
		if n > 0 {
			err = emit(&namespace.Operation{
				Op: engine.OpWrite, Path: op.Path, Offset: op.Offset + uint64(sent), Data: b[:n], Size: uint64(n),
			})
			sent += int64(n)
		}
		if readErr == io.EOF || readErr == io.ErrUnexpectedEOF {
			break
		}
		if err == nil {
			err = readErr
		}
	}
	if closeErr := l.Close(); closeErr != nil {
		err = closeErr
	}
	if refused != nil {
		err = refused
	}
	return sent, err
}

// Mv renames; across top-level names that may be EXDEV.
func (c *Client) Mv(ctx context.Context, from, to string) error {
	return c.Change(ctx, namespace.Operation{Op: engine.OpRename, Path: from, Target: to})
}

// Rm removes a file, a symlink, an empty directory, or, if all is true, a
// directory with everything below it. It returns how many names are gone.
func (c *Client) Rm(ctx context.Context, path string, all bool) (int, error) {
	stat, err := c.stat(ctx, current(path))
	if err != nil {
		return 0, err
	}
	count := 0
	if stat.Type == namespace.TypeDir.String() && all {
		if count, err = c.empty(ctx, strings.TrimRight(path, "/")); err != nil || strings.Trim(path, "/") == "" {
			return count, err
		}
	}
	if err := c.Change(ctx, unlink(path, stat.Type)); err != nil {
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

// ErrComesBack: somebody else adds names to a directory that is being removed.
var ErrComesBack = errors.New("names come back as fast as they go")

// empty removes what is in a directory, one page at a time.
func (c *Client) empty(ctx context.Context, path string) (count int, err error) {
	for {
		page, err := c.page(ctx, current(path+"/"))
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
			err = ErrComesBack
		}
		if err != nil {
			return count, fmt.Errorf("in %s: %w", path, err)
		}
	}
}
