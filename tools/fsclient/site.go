package fsclient

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"strconv"
	"syscall"

	"github.com/claudefs/repl/tools/fsapi"
)

// What an import asks the site, so that it sends only what differs. A question
// outlives lost connections, as operations do.

// ask asks until there is an answer.
func (im *importer) ask(ctx context.Context, question func() error) error {
	im.asked()
	defer im.unasked()
	tries := im.c.newTries(true)
	tries.told = im.lost
	for {
		err := question()
		if err == nil || !tries.again(ctx, err) {
			return cmp.Or(ctx.Err(), err)
		}
	}
}

// current is a question about a path as its log has it, at the site that writes.
func current(path string) url.Values {
	return url.Values{"path": {path}, "current": {"1"}, "writer": {"1"}}
}

// lookup returns what is at a path of the site, nil if nothing is.
func (w *walker) lookup(path string) (*fsapi.Attr, string, error) {
	var s fsapi.Stat
	err := w.im.ask(w.ctx, func() (err error) {
		s, err = w.im.c.stat(w.ctx, current(path))
		return err
	})
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil, "", nil
	}
	return &s.Attr, s.Type, err
}

// listing reads the names of a directory of the site in byte order.
type listing struct {
	w     *walker
	query url.Values
	page  []fsapi.Name
	more  bool
}

// newListing lists a directory; one that the site has not got is empty.
func (w *walker) newListing(it *item) *listing {
	query := current(it.to)
	query.Set("attr", "1")
	return &listing{w: w, query: query, more: it.site != nil}
}

// peek returns the next name, nil behind the last.
func (l *listing) peek() (*fsapi.Name, error) {
	for len(l.page) == 0 && l.more {
		var page fsapi.Listing
		err := l.w.im.ask(l.w.ctx, func() (err error) {
			page, err = l.w.im.c.page(l.w.ctx, l.query)
			if err == nil && len(page.Names) > 0 && page.Names[0].Attr == nil {
				err = fmt.Errorf("names without inodes: %w", ErrAnswer) // of an earlier release
			}
			return err
		})
		if err != nil {
			l.more = false
			return nil, l.w.moved(l.query.Get("path"), err)
		}
		l.page, l.more = page.Names, page.Next != ""
		l.query.Set("page", page.Next)
	}
	if len(l.page) == 0 {
		return nil, nil
	}
	return &l.page[0], nil
}

func (l *listing) take() { l.page = l.page[1:] }

// sums reads the digests of a file's blocks in their order.
type sums struct {
	w    *walker
	path string
	page []fsapi.Sum
	from uint64
	more bool
}

// peek returns the next block that is not all zeros, nil behind the last.
func (s *sums) peek() (*fsapi.Sum, error) {
	for len(s.page) == 0 && s.more {
		var page fsapi.Sums
		query := current(s.path)
		query.Set("block", strconv.FormatUint(s.from, 10))
		err := s.w.im.ask(s.w.ctx, func() error { return s.w.im.c.getJSON(s.w.ctx, "sums", query, &page) })
		if err != nil {
			s.more = false
			return nil, s.w.moved(s.path, err)
		}
		s.page, s.from, s.more = page.Sums, page.Next, page.Next != 0
	}
	if len(s.page) == 0 {
		return nil, nil
	}
	return &s.page[0], nil
}

func (s *sums) take() { s.page = s.page[1:] }

// end makes all blocks from here on zeros: the file was cut.
func (s *sums) end() { s.page, s.more = nil, false }

// siteXattrs returns the digests of the extended attributes of a path of the site.
func (w *walker) siteXattrs(path string) (map[string][sha256.Size]byte, error) {
	var have map[string][sha256.Size]byte
	err := w.im.ask(w.ctx, func() error {
		have = map[string][sha256.Size]byte{}
		return w.im.c.xattrs(w.ctx, current(path), func(x fsapi.Xattr) error {
			have[x.Name] = sha256.Sum256(x.Value)
			return nil
		})
	})
	if err != nil {
		return nil, w.moved(path, err)
	}
	return have, nil
}

// moved books that the site's path is not what it was a moment ago: somebody else
// works there. What is not an answer of the file system ends the import.
func (w *walker) moved(path string, err error) error {
	if _, ok := errors.AsType[syscall.Errno](err); !ok {
		return err
	}
	w.refuse("look at " + path + ": " + err.Error())
	return nil
}
