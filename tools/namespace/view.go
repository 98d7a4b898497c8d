package namespace

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2"

	"github.com/claudefs/repl/engine/store"
	"github.com/claudefs/repl/wire"
)

// shardView is a shard as of a snapshot of Pebble.
type shardView struct {
	shard    wire.Shard
	snapshot *pebble.Snapshot
	cursors  []store.Cursor
	leave    func()
}

// View implements store.Viewer. It costs a look-up; the Store does not close
// before the view is.
func (s *Store) View(ctx context.Context, shard wire.Shard) (store.View, error) {
	leave, err := s.enter()
	if err != nil {
		return nil, err
	}
	v := &shardView{shard: shard, snapshot: s.db.NewSnapshot(), leave: leave}
	if err := wholeIn(v.snapshot, shard); err != nil {
		return nil, errors.Join(err, v.Close())
	}
	if v.cursors, err = snapshotCursors(ctx, v.snapshot, shard); err != nil {
		return nil, errors.Join(fmt.Errorf("shard %d: cursors: %w", shard, err), v.Close())
	}
	slices.SortFunc(v.cursors, func(x, y store.Cursor) int { return x.Log.Compare(y.Log) })
	return v, nil
}

func (v *shardView) Cursors() []store.Cursor { return v.cursors }

func (v *shardView) Close() error {
	defer v.leave()
	return v.snapshot.Close()
}

func (v *shardView) Digest(ctx context.Context, lo, hi []byte) (d [32]byte, err error) {
	h := hasher{hash: sha256.New()}
	if err := h.rows(ctx, v.snapshot, v.shard, lo, hi); err != nil {
		return d, fmt.Errorf("shard %d: digest: %w", v.shard, err)
	}
	h.hash.Sum(d[:0])
	return d, nil
}

func (v *shardView) Keys(ctx context.Context, lo, hi []byte, visit func(key []byte) error) error {
	prefix := shardPrefix(nil, tableState, v.shard)
	from, to := append(bytes.Clone(prefix), lo...), successor(prefix)
	if hi != nil {
		to = append(bytes.Clone(prefix), hi...)
	}
	var last []byte
	return scan(ctx, v.snapshot, from, to, func(row, _ []byte) error {
		key := conflictKey(row[statePrefixBytes:])
		if bytes.Equal(key, last) { // an attribute of the inode
			return nil
		}
		last = append(last[:0], key...)
		return visit(last)
	})
}

// NameOf implements store.Namer: the path of a name, or of the first name of an
// inode, quoted where it has to be. It reads the names of the shard, once for each
// directory above.
func (s *Store) NameOf(ctx context.Context, shard wire.Shard, key []byte) string {
	text := fmt.Sprintf("key %x", key)
	if len(key) < inodeKeyBytes {
		return text
	}
	number := Inode(binary.BigEndian.Uint64(key[1:]))
	names, parent := "", number
	if key[0] == keyDirent {
		names = "/" + string(key[inodeKeyBytes:])
	} else {
		text = fmt.Sprintf("inode %d", number)
	}
	leave, err := s.enter()
	if err != nil {
		return text
	}
	defer leave()
	for parent != Root && len(names) < PathBytesMax {
		above, name, err := s.nameOf(ctx, shard, parent)
		if err != nil || above == 0 {
			return text + suffix(names)
		}
		parent, names = above, "/"+name+names
	}
	return names
}

func suffix(names string) string {
	if names == "" {
		return ""
	}
	return " (…" + names + ")"
}

// errFound ends a scan.
var errFound = errors.New("found")

// nameOf finds the first entry that leads to an inode; parent 0 = there is none.
func (s *Store) nameOf(ctx context.Context, shard wire.Shard, n Inode) (parent Inode, name string, err error) {
	lo := append(shardPrefix(nil, tableState, shard), keyDirent)
	err = scan(ctx, s.db, lo, successor(lo), func(key, value []byte) error {
		d, err := decodeDirent(value)
		if err != nil || d.inode != n {
			return err
		}
		row := key[len(lo):]
		parent, name = Inode(binary.BigEndian.Uint64(row)), strings.Clone(string(row[8:]))
		return errFound
	})
	if errors.Is(err, errFound) {
		err = nil
	}
	return parent, name, err
}
