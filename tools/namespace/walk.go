package namespace

import (
	"context"
	"crypto/sha256"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// Row is one path of Walk. Digests are SHA-256; an empty one means "has none".
type Row struct {
	Path    string
	Attr    Attr
	Xattrs  []byte // digest over names and values
	Content []byte // digest over a file's bytes, holes as zeros
}

// walkPage is how many names of one directory are held at a time.
const walkPage = 256

// Walk visits path and everything below it as of one moment: a directory before
// what is in it, names in byte order. So the lists of two equal sites are equal,
// and the first row that differs names the first differing path. Paths are told
// as the walk found them; inode numbers are in Attr.
func (s *Store) Walk(ctx context.Context, path string, visit func(*Row) error) error {
	leave, err := s.enter()
	if err != nil {
		return err
	}
	defer leave()
	snapshot := s.db.NewSnapshot()
	defer snapshot.Close()
	clean, err := Clean(path)
	if err != nil {
		return pathError("walk", path, err)
	}
	w := walker{s: s, r: snapshot, visit: visit}
	return w.walk(ctx, clean)
}

type walker struct {
	s     *Store
	r     pebble.Reader
	visit func(*Row) error
}

func (w *walker) walk(ctx context.Context, path string) error {
	a, v, err := w.s.stat(w.r, path)
	if err != nil {
		return err
	}
	return w.inode(ctx, v, path, &a)
}

// inode visits one inode and descends.
func (w *walker) inode(ctx context.Context, v *view, path string, a *Attr) error {
	row := Row{Path: path, Attr: *a}
	if a.Xattrs != 0 {
		h := hasher{hash: sha256.New()}
		if err := v.xattrs(ctx, a.Inode, func(name string, value []byte) error {
			h.row([]byte(name), value)
			return nil
		}); err != nil {
			return err
		}
		row.Xattrs = h.hash.Sum(nil)
	}
	if a.Type == TypeFile {
		h := sha256.New()
		if err := v.content(ctx, a.Inode, 0, a.Size, h); err != nil {
			return err
		}
		row.Content = h.Sum(nil)
	}
	if err := w.visit(&row); err != nil {
		return err
	}
	if a.Type != TypeDir {
		return nil
	}
	return w.directory(ctx, v, path, a.Inode)
}

func (w *walker) directory(ctx context.Context, v *view, path string, dir Inode) error {
	below := path + "/"
	if path == "/" {
		below = "/"
	}
	for after := ""; ; {
		page, err := w.s.names(ctx, v, dir, after, walkPage)
		if err != nil {
			return err
		}
		for _, name := range page {
			child := below + name.Name
			v := &view{r: w.r, shard: ShardOf(child, w.s.shards)}
			a, err := v.mustInode(name.Inode)
			if err != nil {
				return fmt.Errorf("%s: %w", child, err)
			}
			if err := w.inode(ctx, v, child, &a); err != nil {
				return err
			}
		}
		if len(page) < walkPage {
			return nil
		}
		after = page[len(page)-1].Name
	}
}
