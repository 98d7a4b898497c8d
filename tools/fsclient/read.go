package fsclient

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/url"
	"strconv"

	"github.com/claudefs/repl/tools/fsapi"
)

// Stat returns what path leads to; a symlink is not followed.
func (c *Client) Stat(ctx context.Context, path string) (fsapi.Stat, error) {
	return c.stat(ctx, url.Values{"path": {path}})
}

func (c *Client) stat(ctx context.Context, query url.Values) (s fsapi.Stat, err error) {
	err = c.getJSON(ctx, "stat", query, &s)
	s.Restore()
	return s, err
}

// Ls visits the names of a directory in byte order, page by page; attr: with their
// inodes.
func (c *Client) Ls(ctx context.Context, path string, attr bool, visit func(fsapi.Name) error) error {
	query := url.Values{"path": {path}}
	if attr {
		query.Set("attr", "1")
	}
	for {
		page, err := c.page(ctx, query)
		if err != nil {
			return err
		}
		for _, name := range page.Names {
			if err := visit(name); err != nil {
				return err
			}
		}
		if page.Next == "" {
			return nil
		}
		query.Set("page", page.Next)
	}
}

func (c *Client) page(ctx context.Context, query url.Values) (l fsapi.Listing, err error) {
	err = c.getJSON(ctx, "ls", query, &l)
	for i := range l.Names {
		l.Names[i].Restore()
	}
	return l, err
}

// Xattrs visits the extended attributes of what path leads to, in order of their
// names.
func (c *Client) Xattrs(ctx context.Context, path string, visit func(fsapi.Xattr) error) error {
	return c.xattrs(ctx, url.Values{"path": {path}}, visit)
}

func (c *Client) xattrs(ctx context.Context, query url.Values, visit func(fsapi.Xattr) error) error {
	return lines(ctx, c, "xattrs", query, func(x fsapi.Xattr) error {
		x.Restore()
		return visit(x)
	})
}

// Cat writes length bytes of a file from offset to w; length < 0 means to the
// end.
func (c *Client) Cat(ctx context.Context, path string, offset uint64, length int64, w io.Writer) error {
	query := url.Values{"path": {path}, "offset": {strconv.FormatUint(offset, 10)}}
	if length >= 0 {
		query.Set("length", strconv.FormatInt(length, 10))
	}
	answer, err := c.get(ctx, "cat", query)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	out := &tracked{w: w}
	if _, err := io.Copy(out, answer.Body); err != nil {
		if out.err != nil {
			return out.err
		}
		return c.unreachable(answer.Request.URL.Host, err)
	}
	return nil
}

// tracked tells the caller's write errors from the connection's.
type tracked struct {
	w   io.Writer
	err error
}

func (t *tracked) Write(b []byte) (n int, err error) {
	n, t.err = t.w.Write(b)
	return n, t.err
}

// Digest returns one hash over everything.
func (c *Client) Digest(ctx context.Context) (d fsapi.Digest, err error) {
	err = c.getJSON(ctx, "digest", nil, &d)
	return d, err
}

// Walk visits path and everything below it, depth first, names in byte order,
// with digests: equal at equal sites.
func (c *Client) Walk(ctx context.Context, path string, visit func(fsapi.WalkRow) error) error {
	return lines(ctx, c, "walk", url.Values{"path": {path}}, func(row fsapi.WalkRow) error {
		row.Restore()
		return visit(row)
	})
}

// Decided visits the audit rows above row after, by shard, log and seq.
func (c *Client) Decided(ctx context.Context, after uint64, visit func(fsapi.DecidedRow) error) error {
	return lines(ctx, c, "decided", url.Values{"after": {strconv.FormatUint(after, 10)}}, visit)
}

// lines visits the rows of an answer of JSON lines.
func lines[T any](ctx context.Context, c *Client, verb string, query url.Values, visit func(T) error) error {
	answer, err := c.get(ctx, verb, query)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	decoder := json.NewDecoder(bufio.NewReaderSize(answer.Body, bufferBytes))
	for {
		var row T
		err := decoder.Decode(&row)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return c.unreadable(answer.Request.URL.Host, err)
		}
		if err := visit(row); err != nil {
			return err
		}
	}
}
