package namespace

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"

	"github.com/cockroachdb/pebble/v2"

	"github.com/claudefs/repl/engine/store"
	"github.com/claudefs/repl/wire"
)

// hasher digests rows so that no two lists of rows look alike.
type hasher struct {
	hash   hash.Hash
	prefix [8]byte
}

func (h *hasher) row(key, value []byte) {
	binary.LittleEndian.PutUint32(h.prefix[:], uint32(len(key)))
	binary.LittleEndian.PutUint32(h.prefix[4:], uint32(len(value)))
	h.hash.Write(h.prefix[:])
	h.hash.Write(key)
	h.hash.Write(value)
}

// stateTables are the tables that make up the replicated state.
var stateTables = [...]byte{tableState, tableContent}

// conflictKey cuts a state key behind its shard down to the unit of conflict.
func conflictKey(key []byte) []byte {
	if key[0] == keyInode {
		return key[:inodeKeyBytes]
	}
	return key
}

// rows hashes the state rows of a shard whose keys are in [lo, hi).
func (h *hasher) rows(ctx context.Context, r pebble.Reader, shard wire.Shard, lo, hi []byte) error {
	for _, table := range stateTables {
		prefix := shardPrefix(nil, table, shard)
		from, to := append(bytes.Clone(prefix), lo...), successor(prefix)
		if hi != nil {
			to = append(bytes.Clone(prefix), hi...)
		}
		if bytes.Compare(from, to) >= 0 {
			continue
		}
		if err := scan(ctx, r, from, to, func(key, value []byte) error {
			// An inode's attributes and content belong to its key alone.
			if bytes.Compare(conflictKey(key[statePrefixBytes:]), lo) >= 0 {
				h.row(key, value)
			}
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// Digest implements store.Store: SHA-256 over the state rows of the range.
func (s *Store) Digest(ctx context.Context, shard wire.Shard, lo, hi []byte) (d [32]byte, _ []store.Cursor, err error) {
	leave, err := s.enter()
	if err != nil {
		return d, nil, err
	}
	defer leave()
	snapshot := s.db.NewSnapshot()
	defer snapshot.Close()
	if err := wholeIn(snapshot, shard); err != nil {
		return d, nil, err
	}
	h := hasher{hash: sha256.New()}
	if err := h.rows(ctx, snapshot, shard, lo, hi); err != nil {
		return d, nil, fmt.Errorf("shard %d: digest: %w", shard, err)
	}
	h.hash.Sum(d[:0])
	cursors, err := snapshotCursors(ctx, snapshot, shard)
	return d, cursors, err
}

// exportBytesMax is how large one piece of an exported state becomes before the
// next begins.
const exportBytesMax = 1 << 20

// Export implements store.Store. A key that is not there has a nil state. The
// state of a key is its rows: the table u8, u16 length and bytes of what follows
// the key, u32 length and bytes of the value; a state over 1 MiB comes in several
// pieces, one visit each, one after another.
func (s *Store) Export(ctx context.Context, shard wire.Shard, keys [][]byte,
	visit func(key, state []byte) error) ([]store.Cursor, error) {
	leave, err := s.enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	snapshot := s.db.NewSnapshot()
	defer snapshot.Close()
	if err := wholeIn(snapshot, shard); err != nil {
		return nil, err
	}
	for _, key := range keys {
		if err := exportKey(ctx, snapshot, shard, key, visit); err != nil {
			return nil, fmt.Errorf("shard %d: export of %q: %w", shard, key, err)
		}
	}
	return snapshotCursors(ctx, snapshot, shard)
}

func exportKey(ctx context.Context, r pebble.Reader, shard wire.Shard, key []byte,
	visit func(key, state []byte) error) error {
	var state []byte
	pieces := 0
	for _, table := range stateTables {
		from := append(shardPrefix(nil, table, shard), key...)
		to := append(bytes.Clone(from), 0) // a name's row only, not those it begins
		if len(key) == inodeKeyBytes && key[0] == keyInode {
			to = successor(from)
		}
		if err := scan(ctx, r, from, to, func(row, value []byte) error {
			state = binary.LittleEndian.AppendUint16(append(state, table), uint16(len(row)-len(from)))
			state = append(state, row[len(from):]...)
			state = binary.LittleEndian.AppendUint32(state, uint32(len(value)))
			state = append(state, value...)
			if len(state) < exportBytesMax {
				return nil
			}
			pieces++
			err := visit(key, state)
			state = state[:0]
			return err
		}); err != nil {
			return err
		}
	}
	if len(state) > 0 || pieces == 0 {
		return visit(key, state) // nil if there was no row
	}
	return nil
}

// Total is one digest over everything, with what it covers.
type Total struct {
	Hash    [32]byte
	Inodes  uint64 // without the root
	Names   uint64
	Bytes   uint64 // of content, as files have it: holes count
	Applied uint64 // sum of the applied seqs of all logs, of the same snapshot
}

// DigestAll hashes namespace, attributes and content of all shards as of one
// moment: equal at all sites that have applied the same entries.
func (s *Store) DigestAll(ctx context.Context) (t Total, err error) {
	leave, err := s.enter()
	if err != nil {
		return t, err
	}
	defer leave()
	snapshot := s.db.NewSnapshot()
	defer snapshot.Close()
	if err := allWhole(snapshot); err != nil {
		return t, err
	}
	h := hasher{hash: sha256.New()}
	for _, table := range stateTables {
		if err := scan(ctx, snapshot, []byte{table}, []byte{table + 1}, func(key, value []byte) error {
			h.row(key, value)
			return t.count(key, value)
		}); err != nil {
			return t, err
		}
	}
	h.hash.Sum(t.Hash[:0])
	return t, scan(ctx, snapshot, []byte{tableCursor}, []byte{tableCursor + 1}, func(key, value []byte) error {
		c, err := decodeCursor(key, value)
		t.Applied += uint64(c.Position.Seq)
		return err
	})
}

// count books one row of the state.
func (t *Total) count(key, value []byte) error {
	row := key[statePrefixBytes:]
	switch {
	case key[0] != tableState:
	case row[0] == keyDirent:
		t.Names++
	case len(row) == inodeKeyBytes:
		t.Inodes++
		var a Attr
		if err := a.decode(Inode(binary.BigEndian.Uint64(row[1:])), value); err != nil {
			return err
		}
		if a.Type == TypeFile {
			t.Bytes += a.Size
		}
	}
	return nil
}
