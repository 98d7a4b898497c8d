package namespace

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/claudefs/repl/engine/store"
	"github.com/claudefs/repl/wire"
)

// Mend implements store.Mender: each piece is one Pebble batch, the first and the last are
// synced. Rows that are as they should be are not written.
func (s *Store) Mend(ctx context.Context, p *store.MendPiece) error {
	leave, err := s.enter()
	if err != nil {
		return err
	}
	defer leave()
	if err := errors.Join(ctx.Err(), p.Check()); err != nil {
		return err
	}
	if int(p.Shard) >= s.shards {
		return fmt.Errorf("shard %d of %d: %w", p.Shard, s.shards, store.ErrMendPiece)
	}
	mark, err := s.tornMark(p.Shard).After(p)
	if err != nil {
		return err
	}
	b := s.db.NewBatch()
	m := mender{s: s, b: b, shard: p.Shard}
	if err := m.fill(ctx, p, mark); err != nil {
		return errors.Join(fmt.Errorf("shard %d, piece %d: %w", p.Shard, p.Index, err), b.Close())
	}
	if !p.Last { // before anybody can see what it does
		s.setTorn(p.Shard, mark)
	}
	if p.Index == 0 || p.Last {
		err = s.commitSynced(b)
	} else if err = s.commit(b, pebble.NoSync); err == nil { // else Pebble may keep the batch
		err = b.Close()
	}
	if err != nil {
		return fmt.Errorf("shard %d, piece %d: %w", p.Shard, p.Index, err)
	}
	if p.Last {
		s.setWhole(p.Shard, p.Cursors)
	}
	return nil
}

func (s *Store) tornMark(shard wire.Shard) store.TornMark {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cursorsOf(shard).torn
}

// whole is nil while the shard is not torn.
func (s *Store) whole(shard wire.Shard) error { return s.tornMark(shard).Err(shard) }

// turn counts how often a shard was torn and mended: what was read in one turn is of one
// history. A torn shard has none.
func (s *Store) turn(shard wire.Shard) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.cursorsOf(shard)
	return c.turn, c.torn.Err(shard)
}

func (s *Store) setTorn(shard wire.Shard, mark store.TornMark) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.cursorsOf(shard)
	*c = cursors{torn: mark, turn: c.turn + 1}
	delete(s.dirty, shard)
}

func (s *Store) setWhole(shard wire.Shard, at []store.Cursor) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.cursorsOf(shard)
	at = slices.Clone(at)
	*c = cursors{applied: at, durable: at, turn: c.turn + 1}
}

// mender puts one piece into a batch.
type mender struct {
	s     *Store
	b     *pebble.Batch
	shard wire.Shard
	row   uint64 // the next decided row's number
}

func (m *mender) fill(ctx context.Context, p *store.MendPiece, mark store.TornMark) error {
	if p.Last {
		return m.end(p.Cursors)
	}
	decided := 0
	for i := range p.Rows {
		if err := checkRow(m.shard, &p.Rows[i]); err != nil {
			return fmt.Errorf("row %x: %w: %w", p.Rows[i].Key, store.ErrMendPiece, err)
		}
		if p.Rows[i].Key[0] == tableDecided {
			decided += len(p.Rows[i].Value) / requestBytes
		}
	}
	var err error
	if m.row, err = m.s.takeRows(decided); err != nil {
		return err
	}
	rows := p.Rows
	for _, table := range mendTables {
		n := 0
		for n < len(rows) && rows[n].Key[0] == table {
			n++
		}
		if err := m.table(ctx, table, p.Lo, p.Hi, rows[:n]); err != nil {
			return err
		}
		rows = rows[n:]
	}
	if p.Index == 0 {
		prefix := shardPrefix(nil, tableCursor, m.shard)
		if err := m.b.DeleteRange(prefix, successor(prefix), nil); err != nil {
			return err
		}
	}
	return m.b.Set(tornKey(nil, m.shard), encodeTorn(nil, mark), nil)
}

// end makes the shard whole.
func (m *mender) end(cursors []store.Cursor) error {
	for _, c := range cursors {
		if err := m.b.Set(cursorKey(nil, c.Log), encodeCursor(nil, c), nil); err != nil {
			return err
		}
	}
	return m.b.Delete(tornKey(nil, m.shard), nil)
}

// table makes the rows [lo, hi) of one table those that are given.
func (m *mender) table(ctx context.Context, table byte, lo, hi []byte, rows []store.MendRow) error {
	from, to, none := rowBounds(table, m.shard, lo, hi)
	if none {
		return nil
	}
	it, err := m.s.db.NewIterWithContext(ctx, &pebble.IterOptions{LowerBound: from, UpperBound: to})
	if err != nil {
		return err
	}
	live := it.First()
	for i := range rows {
		at := rowBound(shardPrefix(nil, table, m.shard), rows[i].Key)
		if live, err = m.drop(it, live, at); err == nil {
			if table == tableDecided {
				live, err = m.decide(it, live, at, rows[i].Value)
			} else {
				live, err = m.set(it, live, at, rows[i].Value)
			}
		}
		if err != nil {
			return errors.Join(err, it.Close())
		}
	}
	_, err = m.drop(it, live, to)
	return errors.Join(err, it.Error(), it.Close())
}

// dropsMax is up to how many rows in a row are deleted one by one; beyond that one range
// deletion is cheaper, which every later read must step over.
const dropsMax = 64

// drop deletes the rows from where it stands up to a key.
func (m *mender) drop(it *pebble.Iterator, live bool, to []byte) (bool, error) {
	for n := 0; live && bytes.Compare(it.Key(), to) < 0; n++ {
		if n == dropsMax {
			err := m.b.DeleteRange(it.Key(), to, nil)
			return it.SeekGE(to), err
		}
		if err := m.b.Delete(it.Key(), nil); err != nil {
			return false, err
		}
		live = it.Next()
	}
	return live, nil
}

// set writes a row, unless it is there.
func (m *mender) set(it *pebble.Iterator, live bool, key, value []byte) (bool, error) {
	if live && bytes.Equal(it.Key(), key) {
		old, err := it.ValueAndErr()
		same := bytes.Equal(old, value)
		live = it.Next()
		if err != nil || same {
			return live, err
		}
	}
	return live, m.b.Set(key, value, nil)
}

// decide writes the decided rows of one entry, unless they are there.
func (m *mender) decide(it *pebble.Iterator, live bool, entry, requests []byte) (bool, error) {
	var old [][]byte
	var had []byte
	for ; live && bytes.HasPrefix(it.Key(), entry); live = it.Next() {
		value, err := it.ValueAndErr()
		if err != nil {
			return live, err
		}
		old, had = append(old, bytes.Clone(it.Key())), append(had, value...)
	}
	if bytes.Equal(had, requests) {
		return live, nil
	}
	for _, key := range old {
		if err := m.b.Delete(key, nil); err != nil {
			return live, err
		}
	}
	for ; len(requests) > 0; requests = requests[requestBytes:] {
		key := binary.BigEndian.AppendUint64(bytes.Clone(entry), m.row)
		if err := m.b.Set(key, requests[:requestBytes], nil); err != nil {
			return live, err
		}
		m.row++
	}
	return live, nil
}

// errForeign: a row is of another kind, or of another shard.
var errForeign = errors.New("no such row in this shard")

// checkRow says whether a row has the form of its table, and belongs to the shard.
func checkRow(shard wire.Shard, r *store.MendRow) error {
	rest, value := r.Key[1:], r.Value
	ok := false
	switch r.Key[0] {
	case tableContent:
		ok = len(rest) == inodeKeyBytes+8 && rest[0] == keyInode && ownInode(shard, rest[1:]) &&
			len(value) > 0 && len(value) <= ChunkBytes && value[len(value)-1] != 0
	case tableDecided:
		ok = len(rest) == entryBytes && len(value) > 0 && len(value)%requestBytes == 0
	case tableLosers:
		ok = len(rest) == entryBytes && len(value) > 2*dotBytes
	case tableCounter:
		ok = len(rest) == 0 && len(value) == 8
	case tableRequest:
		ref, err := decodeRef(value)
		ok = err == nil && len(rest) == requestBytes && ref.Log.Shard == shard
	case tableState:
		ok = checkState(shard, rest, value)
	case tableVersions:
		ok = len(rest) > 0 && len(value) > 0 && len(value)%versionBytes == 0
	}
	if !ok {
		return errForeign
	}
	return nil
}

func checkState(shard wire.Shard, key, value []byte) bool {
	if len(key) < inodeKeyBytes {
		return false
	}
	number := Inode(binary.BigEndian.Uint64(key[1:]))
	own := ownInode(shard, key[1:])
	switch rest := key[inodeKeyBytes:]; {
	case key[0] == keyDirent:
		d, err := decodeDirent(value)
		return err == nil && len(rest) > 0 && (own || number == Root) &&
			uint64(d.inode)>>inodeShardBits == uint64(shard)
	case key[0] != keyInode || !own:
		return false
	case len(rest) == 0:
		var a Attr
		return a.decode(number, value) == nil
	default:
		return rest[0] == subXattr && len(rest) > 1
	}
}

// ownInode says whether a number, big-endian, is one of the shard.
func ownInode(shard wire.Shard, b []byte) bool {
	return binary.BigEndian.Uint64(b)>>inodeShardBits == uint64(shard)
}
