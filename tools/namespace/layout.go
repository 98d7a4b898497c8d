package namespace

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"github.com/claudefs/repl/wire"
)

const (
	layoutVersion = 2
	layoutFirst   = 1 // requests and decided rows had no shard in front
	metaBytes     = 2 + 4
	requestBytes  = len(wire.RequestID{})
)

// load checks the layout, makes what it finds durable, and reads the cursors.
func (s *Store) load() error {
	if err := s.loadMeta(); err != nil {
		return err
	}
	// Pebble's log may hold records that a killed process left to the operating
	// system; the flush makes them as durable as their cursors say.
	if err := s.db.Flush(); err != nil {
		return err
	}
	err := s.scan([]byte{tableCursor}, func(key, value []byte) error {
		c, err := decodeCursor(key, value)
		if err != nil {
			return err
		}
		at := s.cursorsOf(c.Log.Shard)
		at.applied = append(at.applied, c)
		at.durable = at.applied
		return nil
	})
	if err != nil {
		return err
	}
	if err := s.scan([]byte{tableTorn}, func(key, value []byte) error {
		shard, mark, err := decodeTorn(key, value)
		*s.cursorsOf(shard) = cursors{torn: mark}
		return err
	}); err != nil {
		return err
	}
	return s.rows.load(s.db)
}

func (s *Store) encodeMeta() []byte {
	b := binary.LittleEndian.AppendUint16(nil, layoutVersion)
	return binary.LittleEndian.AppendUint32(b, uint32(s.shards))
}

func (s *Store) loadMeta() error {
	version := uint16(0)
	v := view{r: s.db}
	found, err := v.get([]byte{tableMeta}, func(b []byte) error {
		if len(b) != metaBytes {
			return fmt.Errorf("layout row of %d bytes: %w", len(b), ErrDamaged)
		}
		if version = binary.LittleEndian.Uint16(b); version < layoutFirst || version > layoutVersion {
			return fmt.Errorf("layout version %d, this release reads up to %d: %w",
				version, layoutVersion, wire.ErrVersion)
		}
		if shards := binary.LittleEndian.Uint32(b[2:]); shards != uint32(s.shards) {
			return fmt.Errorf("created with %d shards, opened with %d: %w", shards, s.shards, ErrOptions)
		}
		return nil
	})
	switch {
	case err != nil || version == layoutVersion:
		return err
	case found:
		return s.upgrade()
	}
	return s.db.Set([]byte{tableMeta}, s.encodeMeta(), pebble.Sync)
}

// upgradeBatchBytes is how much of an upgrade is one commit.
const upgradeBatchBytes = 1 << 20

// upgrade puts the shard in front of requests and decided rows, which layout 1 kept as
// r request and d row. Rows of both layouts differ in length, so that an upgrade which was
// killed goes on; the version is the last that it writes.
func (s *Store) upgrade() error {
	b := s.db.NewBatch()
	move := func(old, key, value []byte) error {
		err := errors.Join(b.Set(key, value, nil), b.Delete(old, nil))
		if err == nil && b.Len() > upgradeBatchBytes {
			err = s.db.Apply(b, pebble.NoSync)
			b.Reset()
		}
		return err
	}
	requests := s.scan([]byte{tableRequest}, func(key, value []byte) error {
		if len(key) != 1+requestBytes {
			return nil
		}
		ref, err := decodeRef(value)
		if err != nil {
			return err
		}
		return move(key, requestKey(nil, ref.Log.Shard, wire.RequestID(key[1:])), value)
	})
	if requests != nil {
		return errors.Join(requests, b.Close())
	}
	last := uint64(0)
	decided := s.scan([]byte{tableDecided}, func(key, value []byte) error {
		if len(key) != 1+8 {
			_, row, err := decodeDecidedKey(key)
			last = max(last, row)
			return err
		}
		if len(value) != refBytes+requestBytes {
			return fmt.Errorf("decided row of %d bytes: %w", len(value), ErrDamaged)
		}
		ref, err := decodeRef(value[:refBytes])
		if err != nil {
			return err
		}
		row := binary.BigEndian.Uint64(key[1:])
		last = max(last, row)
		return move(key, decidedKey(nil, ref, row), value[refBytes:])
	})
	if decided != nil {
		return errors.Join(decided, b.Close())
	}
	err := errors.Join(
		b.Set(rowBoundKey, encodeRowBound(last+1), nil), b.Set([]byte{tableMeta}, s.encodeMeta(), nil))
	if err == nil {
		err = s.db.Apply(b, pebble.Sync)
	}
	return errors.Join(err, b.Close())
}

// rowNumbers gives decided rows their numbers, from 1. They rise, also over a crash: a
// bound above them is committed before they are used.
type rowNumbers struct {
	mu    sync.Mutex
	next  uint64
	bound uint64
}

// rowBoundKey is that of the bound, beside the layout.
var rowBoundKey = []byte{tableMeta, tableDecided}

// rowBlock is how many numbers one commit of a bound is good for; that many may be left out
// at each opening.
const rowBlock = 1 << 16

func encodeRowBound(bound uint64) []byte { return binary.LittleEndian.AppendUint64(nil, bound) }

func (n *rowNumbers) load(db *pebble.DB) error {
	n.next = 1
	v := view{r: db}
	_, err := v.get(rowBoundKey, func(b []byte) error {
		if len(b) != 8 {
			return fmt.Errorf("bound of row numbers of %d bytes: %w", len(b), ErrDamaged)
		}
		n.next = binary.LittleEndian.Uint64(b)
		return nil
	})
	n.bound = n.next
	return err
}

// takeRows returns the first of count numbers for decided rows.
func (s *Store) takeRows(count int) (first uint64, err error) {
	n := &s.rows
	n.mu.Lock()
	defer n.mu.Unlock()
	first = n.next
	if end := first + uint64(count); end > n.bound {
		b := s.db.NewBatch()
		if err := b.Set(rowBoundKey, encodeRowBound(end+rowBlock), nil); err != nil {
			return 0, errors.Join(err, b.Close())
		}
		if err := s.commit(b, pebble.NoSync); err != nil {
			return 0, err // Pebble may keep the batch
		}
		if err := b.Close(); err != nil {
			return 0, err
		}
		n.bound = end + rowBlock
	}
	n.next = first + uint64(count)
	return first, nil
}
