package namespace

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/claudefs/repl/engine/store"
	"github.com/claudefs/repl/wire"
)

// The rows of a shard, as sites exchange them, are those of mendTables, each with the shard
// cut out of its key. Only a decided row differs: its number is a site's own, so all
// rows of one entry are one, with their request ids one after another.

// mendTables are in byte order, which is the order of the rows.
var mendTables = [...]byte{
	tableContent, tableDecided, tableLosers, tableCounter, tableRequest, tableState, tableVersions,
}

// rowBounds are the keys in Pebble between which the rows [lo, hi) of one table lie;
// none says that there cannot be any.
func rowBounds(table byte, shard wire.Shard, lo, hi []byte) (from, to []byte, none bool) {
	prefix := shardPrefix(nil, table, shard)
	from, to = prefix, successor(prefix)
	if len(lo) > 0 && lo[0] == table {
		from = rowBound(prefix, lo)
	}
	if len(hi) > 0 && hi[0] == table {
		to = rowBound(prefix, hi)
	}
	none = len(lo) > 0 && lo[0] > table || hi != nil && (len(hi) == 0 || hi[0] < table) || bytes.Compare(from, to) >= 0
	return from, to, none
}

// rowBound is where rows from key on begin in Pebble.
func rowBound(prefix, key []byte) []byte {
	rest := key[1:]
	if key[0] == tableDecided && len(rest) > entryBytes { // behind all rows of that entry
		return successor(append(bytes.Clone(prefix), rest[:entryBytes]...))
	}
	return append(bytes.Clone(prefix), rest...)
}

// scanMend visits the rows [lo, hi) of a shard. Keys and values are borrowed.
func scanMend(ctx context.Context, r pebble.Reader, shard wire.Shard, lo, hi []byte,
	visit func(key, value []byte) error) error {
	var key, requests []byte
	for _, table := range mendTables {
		from, to, none := rowBounds(table, shard, lo, hi)
		if none {
			continue
		}
		key, requests = key[:0], requests[:0]
		err := scan(ctx, r, from, to, func(row, value []byte) error {
			rest := row[statePrefixBytes:]
			if table != tableDecided {
				key = append(append(key[:0], table), rest...)
				return visit(key, value)
			}
			if len(rest) != entryBytes+8 {
				return fmt.Errorf("key of a decided row of %d bytes: %w", len(row), ErrDamaged)
			}
			rest = rest[:entryBytes]
			if len(key) > 0 && !bytes.Equal(key[1:], rest) {
				if err := visit(key, requests); err != nil {
					return err
				}
				requests = requests[:0]
			}
			key = append(append(key[:0], table), rest...)
			requests = append(requests, value...)
			return nil
		})
		if err == nil && len(requests) > 0 {
			err = visit(key, requests)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// mendView is a shard's rows as of a snapshot of Pebble.
type mendView struct {
	shard    wire.Shard
	snapshot *pebble.Snapshot
	cursors  []store.Cursor
	torn     bool
	leave    func()
}

// MendView implements store.Mender. It costs two look-ups; the Store does not close before
// the view is.
func (s *Store) MendView(ctx context.Context, shard wire.Shard) (store.MendView, error) {
	leave, err := s.enter()
	if err != nil {
		return nil, err
	}
	v := &mendView{shard: shard, snapshot: s.db.NewSnapshot(), leave: leave}
	err = wholeIn(v.snapshot, shard)
	if errors.Is(err, store.ErrTorn) {
		v.torn, err = true, nil
	}
	if err == nil {
		v.cursors, err = snapshotCursors(ctx, v.snapshot, shard)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("shard %d: view of rows: %w", shard, err), v.Close())
	}
	slices.SortFunc(v.cursors, compareCursors)
	return v, nil
}

func (v *mendView) Torn() bool { return v.torn }

func (v *mendView) Cursors() []store.Cursor { return v.cursors }

func (v *mendView) Close() error {
	defer v.leave()
	return v.snapshot.Close()
}

// Digest implements store.MendView: SHA-256 over the rows of the range.
func (v *mendView) Digest(ctx context.Context, lo, hi []byte) (d [32]byte, err error) {
	h := hasher{hash: sha256.New()}
	err = v.Rows(ctx, lo, hi, func(key, value []byte) error {
		h.row(key, value)
		return nil
	})
	h.hash.Sum(d[:0])
	return d, err
}

func (v *mendView) Keys(ctx context.Context, lo, hi []byte, visit func(key []byte) error) error {
	return v.Rows(ctx, lo, hi, func(key, _ []byte) error { return visit(key) })
}

func (v *mendView) Rows(ctx context.Context, lo, hi []byte, visit func(key, value []byte) error) error {
	return scanMend(ctx, v.snapshot, v.shard, lo, hi, visit)
}

// The torn row of a shard: the mending's name and the next piece, u64. Part of the disk
// format.
const tornBytes = len(store.MendID{}) + 8

func encodeTorn(dst []byte, m store.TornMark) []byte {
	return binary.LittleEndian.AppendUint64(append(dst, m.Mend[:]...), m.Next)
}

func decodeTorn(key, value []byte) (wire.Shard, store.TornMark, error) {
	if len(key) != statePrefixBytes || len(value) != tornBytes {
		return 0, store.TornMark{}, fmt.Errorf("torn row of %d and %d bytes: %w", len(key), len(value), ErrDamaged)
	}
	next := binary.LittleEndian.Uint64(value[len(store.MendID{}):])
	return wire.Shard(binary.BigEndian.Uint16(key[1:])), store.TornMark{Mend: store.MendID(value), Next: next}, nil
}

// wholeIn is nil if the shard is whole in a snapshot, else it says that it is torn.
func wholeIn(r pebble.Reader, shard wire.Shard) error {
	v := view{r: r}
	key := tornKey(nil, shard)
	_, err := v.get(key, func(b []byte) error {
		_, mark, err := decodeTorn(key, b)
		return errors.Join(err, mark.Err(shard))
	})
	return err
}

// allWhole is wholeIn of all shards: it names the first that is torn.
func allWhole(r pebble.Reader) error {
	return scan(context.Background(), r, []byte{tableTorn}, []byte{tableTorn + 1}, func(key, value []byte) error {
		shard, mark, err := decodeTorn(key, value)
		return errors.Join(err, mark.Err(shard))
	})
}
