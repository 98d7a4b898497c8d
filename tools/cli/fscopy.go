package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/tools/fsapi"
	"github.com/claudefs/repl/tools/fsclient"
	"github.com/claudefs/repl/tools/namespace"
)

// piece is the part of a file that a verb reads.
type piece struct{ offset, length size }

func (p *piece) flags(c *cobra.Command) {
	p.length = -1
	c.Flags().Var(&p.offset, "offset", "begin at this byte")
	c.Flags().Var(&p.length, "length", "at most so many bytes; to the end without it")
}

func (p *piece) bytes() int64 { return int64(p.length) }

// errNoFile: put and get copy files only.
var errNoFile = errors.New("not a file")

func (a *app) fsPut() *cobra.Command {
	var (
		at   size
		bits mode
	)
	var c *cobra.Command
	c = a.change("put FILE PATH", "copy a file to the site; FILE - is stdin", "cfs fs put report /home/alice/report",
		2, 2, nil,
		func(ctx context.Context, node *fsclient.Client, args []string) (string, int, error) {
			in, to := a.stdin, args[1]
			if args[0] != "-" {
				f, err := os.Open(args[0])
				if err != nil {
					return "", 0, failure(ExitFailed, err, "name a file that can be read")
				}
				defer f.Close() // of a file only read
				info, err := f.Stat()
				if err == nil && info.IsDir() {
					err = &os.PathError{Op: "read", Path: args[0], Err: errNoFile}
				}
				if err != nil {
					return "", 0, failure(ExitFailed, err, "cfs fs import copies directories")
				}
				in = f
				if !c.Flags().Changed("mode") {
					bits = mode(info.Mode().Perm())
				}
				if strings.HasSuffix(to, "/") {
					to += filepath.Base(args[0])
				}
			}
			op := newOwner(namespace.Operation{Op: engine.OpCreate, Path: to, Mode: uint32(bits)})
			op.Offset = uint64(at)
			n, err := node.Put(ctx, op, c.Flags().Changed("offset"), in)
			if err != nil && n > 0 {
				err = fmt.Errorf("after %s of %s: %w", humanBytes(n), args[0], err)
			}
			return to, 1, err
		})
	c.Long = `Copies a file to the site. A file that is there is emptied first and keeps its mode and owner; with
--offset it keeps its content as well, and what is read is written into it from that byte on.`
	bits = 0o644
	c.Flags().Var(&at, "offset", "write from this byte on, into a file that is there")
	c.Flags().Var(&bits, "mode", "permission bits of a new file (default those of FILE)")
	return c
}

func (a *app) fsGet() *cobra.Command {
	var (
		client func() (*fsclient.Client, error)
		piece  piece
	)
	c := verb("get PATH [FILE]", "copy a file from the site; FILE - is stdout", Read, 1, 2,
		func(c *cobra.Command, args []string) error {
			node, err := client()
			if err != nil {
				return err
			}
			file := path.Base(args[0])
			if len(args) == 2 {
				file = args[1]
			}
			read := func(w io.Writer) error {
				return node.Cat(c.Context(), args[0], uint64(piece.offset), piece.bytes(), w)
			}
			if file == "-" {
				return explain(read(a.stdout.Raw()), nil)
			}
			attr, err := node.Stat(c.Context(), args[0])
			if err != nil {
				return explain(err, nil)
			}
			if attr.Type != namespace.TypeFile.String() {
				return failure(ExitFailed, &os.PathError{Op: "get", Path: args[0], Err: errNoFile},
					"cfs fs ls -R names the files in a directory, cfs fs stat where a symlink leads")
			}
			if info, err := os.Stat(file); err == nil && info.IsDir() {
				file = filepath.Join(file, path.Base(args[0]))
			}
			return explain(writeFile(file, &attr, read), nil)
		})
	c.Long = `Copies a file from the site, with its permission bits and time of change. FILE, by default the last name
of PATH, is replaced when all of it is there. A directory as FILE takes it under that name.`
	c.Example = "  cfs fs get /home/alice/report /tmp/report"
	client = retryingClient(c)
	piece.flags(c)
	return c
}

// writeFile makes a local file of what read writes: as a whole, or not at all.
func writeFile(name string, attr *fsapi.Stat, read func(io.Writer) error) error {
	next := "name a file that can be written"
	if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() { // a device, a pipe
		f, err := os.OpenFile(name, os.O_WRONLY, 0)
		if err != nil {
			return failure(ExitFailed, err, next)
		}
		return errors.Join(read(f), f.Close())
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".cfs-get-*")
	if err != nil {
		return failure(ExitFailed, err, next)
	}
	err = read(f)
	mtime := time.Unix(0, attr.Mtime)
	if err == nil {
		err = errors.Join(f.Chmod(os.FileMode(attr.Mode&0o777)), os.Chtimes(f.Name(), mtime, mtime))
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		os.Remove(f.Name()) // it has no name that anybody knows
		if errors.Is(err, syscall.ENOSPC) {
			return failure(ExitFailed, err, "make room, or name a file elsewhere")
		}
	}
	return err
}
