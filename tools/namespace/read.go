package namespace

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"syscall"

	"github.com/cockroachdb/pebble/v2"

	"github.com/claudefs/repl/engine/store"
	"github.com/claudefs/repl/wire"
)

// Stat returns the inode that path leads to; a symlink is not followed.
func (s *Store) Stat(path string) (Attr, error) {
	leave, err := s.enter()
	if err != nil {
		return Attr{}, err
	}
	defer leave()
	snapshot := s.db.NewSnapshot()
	defer snapshot.Close()
	a, _, err := s.stat(snapshot, path)
	return a, err
}

// stat resolves a path in a snapshot, where its shard is whole.

func (s *Store) stat(r pebble.Reader, path string) (Attr, *view, error) {
	clean, err := Clean(path)
	if err != nil {
		return Attr{}, nil, pathError("stat", path, err)
	}
	v := &view{r: r, shard: ShardOf(clean, s.shards)}
	if clean != "/" {
		if err := wholeIn(r, v.shard); err != nil {
			return Attr{}, nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	at, err := v.resolve(clean, nil)
	if err == nil && !at.found {
		err = syscall.ENOENT
	}
	if err != nil {
		return Attr{}, nil, pathError("stat", path, err)
	}
	a, found, err := v.inode(at.entry.inode)
	if err == nil && !found {
		err = syscall.ENOENT
	}
	return a, v, pathError("stat", path, err)
}

// Name is one entry of a directory.
type Name struct {
	Name  string
	Inode Inode
	Type  Type
}

// List returns up to limit names of a directory behind after ("" = from the
// first), in byte order.
func (s *Store) List(ctx context.Context, path, after string, limit int) ([]Name, error) {
	leave, err := s.enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	snapshot := s.db.NewSnapshot()
	defer snapshot.Close()
	a, v, err := s.stat(snapshot, path)
	if err != nil {
		return nil, err
	}
	if a.Type != TypeDir {
		return nil, pathError("list", path, syscall.ENOTDIR)
	}
	return s.names(ctx, v, a.Inode, after, limit)
}

// names returns up to limit names of a directory; those of the root come from
// all shards.
func (s *Store) names(ctx context.Context, v *view, dir Inode, after string, limit int) (all []Name, err error) {
	if dir != Root {
		return v.names(ctx, nil, dir, after, limit)
	}
	if err := allWhole(v.r); err != nil {
		return nil, fmt.Errorf("/: %w", err)
	}
	for shard := range s.shards {
		v := view{r: v.r, shard: wire.Shard(shard)}
		if all, err = v.names(ctx, all, Root, after, limit); err != nil {
			return nil, err
		}
		if len(all) > 2*limit {
			all = firstNames(all, limit)
		}
	}
	return firstNames(all, limit), nil
}

func firstNames(names []Name, limit int) []Name {
	slices.SortFunc(names, func(a, b Name) int { return strings.Compare(a.Name, b.Name) })
	return names[:min(limit, len(names))]
}

// names appends up to limit names of a directory in this shard behind after.
func (v *view) names(ctx context.Context, dst []Name, dir Inode, after string, limit int) ([]Name, error) {
	lo := bytes.Clone(v.direntKey(dir, after))
	prefix := len(lo) - len(after)
	hi := successor(lo[:prefix])
	if after != "" {
		lo = append(lo, 0)
	}
	it, err := v.r.NewIterWithContext(ctx, &pebble.IterOptions{LowerBound: lo, UpperBound: hi})
	if err != nil {
		return dst, err
	}
	for ok := it.First(); ok && limit > 0 && err == nil; ok = it.Next() {
		var d dirent
		if d, err = decodeDirent(it.Value()); err == nil {
			dst = append(dst, Name{Name: string(it.Key()[prefix:]), Inode: d.inode, Type: d.kind})
			limit--
		}
		err = errors.Join(err, ctx.Err())
	}
	return dst, errors.Join(err, it.Error(), it.Close())
}

// Read streams the content [offset, offset+n) of a file to w, as of one moment;
// n < 0 means to the end.
func (s *Store) Read(ctx context.Context, path string, offset uint64, n int64, w io.Writer) error {
	leave, err := s.enter()
	if err != nil {
		return err
	}
	defer leave()
	snapshot := s.db.NewSnapshot()
	defer snapshot.Close()
	a, v, err := s.stat(snapshot, path)
	if err != nil {
		return err
	}
	if err := mustBeFile(a.Type); err != nil {
		return pathError("read", path, err)
	}
	end := a.Size
	if n >= 0 && uint64(n) < end-min(offset, end) {
		end = offset + uint64(n)
	}
	return v.content(ctx, a.Inode, offset, end, w)
}

// content writes [at, end) of a file, zeros where nothing is stored.
func (v *view) content(ctx context.Context, n Inode, at, end uint64, w io.Writer) error {
	if at >= end {
		return nil
	}
	lo := bytes.Clone(v.chunkKey(n, at/ChunkBytes))
	hi := bytes.Clone(v.chunkKey(n, (end-1)/ChunkBytes+1))
	err := scan(ctx, v.r, lo, hi, func(key, chunk []byte) error {
		start := binary.BigEndian.Uint64(key[len(key)-8:]) * ChunkBytes
		if start > at {
			if err := writeZeros(ctx, w, start-at); err != nil {
				return err
			}
			at = start
		}
		chunk = chunk[min(at-start, uint64(len(chunk))):]
		chunk = chunk[:min(uint64(len(chunk)), end-at)]
		at += uint64(len(chunk))
		_, err := w.Write(chunk)
		return err
	})
	if err != nil || at >= end {
		return err
	}
	return writeZeros(ctx, w, end-at)
}

func writeZeros(ctx context.Context, w io.Writer, n uint64) error {
	zeros := make([]byte, min(n, ChunkBytes))
	for n > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		part := zeros[:min(n, uint64(len(zeros)))]
		if _, err := w.Write(part); err != nil {
			return err
		}
		n -= uint64(len(part))
	}
	return nil
}

// Xattrs visits the extended attributes of path in order of their names. The
// value is borrowed.
func (s *Store) Xattrs(ctx context.Context, path string, visit func(name string, value []byte) error) error {
	leave, err := s.enter()
	if err != nil {
		return err
	}
	defer leave()
	snapshot := s.db.NewSnapshot()
	defer snapshot.Close()
	a, v, err := s.stat(snapshot, path)
	if err != nil {
		return err
	}
	return v.xattrs(ctx, a.Inode, visit)
}

func (v *view) xattrs(ctx context.Context, n Inode, visit func(name string, value []byte) error) error {
	lo := bytes.Clone(v.xattrKey(n, ""))
	return scan(ctx, v.r, lo, successor(lo), func(key, value []byte) error {
		return visit(string(key[len(lo):]), value)
	})
}

// Decided is one audit row: an entry that took effect.
type Decided struct {
	Row     uint64 // the Store's own counter, rising from commit to commit
	Ref     wire.Ref
	Request wire.RequestID
}

// Decided visits the audit rows above row after, by shard, log and seq. rows − distinct
// (incarnation, shard, seq) is what was done twice.
func (s *Store) Decided(ctx context.Context, after uint64, visit func(Decided) error) error {
	leave, err := s.enter()
	if err != nil {
		return err
	}
	defer leave()
	snapshot := s.db.NewSnapshot()
	defer snapshot.Close()
	if err := allWhole(snapshot); err != nil {
		return err
	}
	return scan(ctx, snapshot, []byte{tableDecided}, []byte{tableDecided + 1}, func(key, value []byte) error {
		ref, row, err := decodeDecidedKey(key)
		if err == nil && len(value) != requestBytes {
			err = fmt.Errorf("decided row of %d bytes: %w", len(value), ErrDamaged)
		}
		if err != nil || row <= after {
			return err
		}
		return visit(Decided{Row: row, Ref: ref, Request: wire.RequestID(value)})
	})
}

// snapshotCursors reads the cursors of a shard as a snapshot has them.
func snapshotCursors(ctx context.Context, r pebble.Reader, shard wire.Shard) (out []store.Cursor, err error) {
	lo := shardPrefix(nil, tableCursor, shard)
	err = scan(ctx, r, lo, successor(lo), func(key, value []byte) error {
		c, err := decodeCursor(key, value)
		out = append(out, c)
		return err
	})
	return out, err
}
