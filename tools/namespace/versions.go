package namespace

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/claudefs/repl/engine/store"
	"github.com/claudefs/repl/wire"
)

// A dot: site u32, incarnation, seq u64, stamp u64; a version row is a list of
// dots, each with a byte that is 1 for a loser. Part of the disk format.
const (
	dotBytes     = 4 + 16 + 8 + 8
	versionBytes = dotBytes + 1
)

func encodeDot(dst []byte, d store.Dot) []byte {
	dst = append(binary.LittleEndian.AppendUint32(dst, uint32(d.Site)), d.Incarnation[:]...)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(d.Seq))
	return binary.LittleEndian.AppendUint64(dst, uint64(d.Stamp))
}

func decodeDot(b []byte) store.Dot {
	le := binary.LittleEndian
	return store.Dot{
		Site: wire.SiteID(le.Uint32(b)), Incarnation: wire.Incarnation(b[4:20]),
		Seq: wire.Seq(le.Uint64(b[20:])), Stamp: wire.Stamp(le.Uint64(b[28:])),
	}
}

func versionsKey(dst []byte, shard wire.Shard, key []byte) []byte {
	return append(shardPrefix(dst, tableVersions, shard), key...)
}

// putVersions replaces the versions of each key that is named; a zero dot adds
// none, so that it alone empties the list. Versions of one key need not be
// neighbours; among themselves they keep their order.
func putVersions(b *pebble.Batch, shard wire.Shard, versions []store.Version) error {
	order := make([]*store.Version, len(versions))
	for i := range versions {
		order[i] = &versions[i]
	}
	slices.SortStableFunc(order, func(a, b *store.Version) int { return bytes.Compare(a.Key, b.Key) })
	var value []byte
	for i, v := range order {
		loser := byte(0)
		if v.Loser {
			loser = 1
		}
		if v.Dot != (store.Dot{}) {
			value = append(encodeDot(value, v.Dot), loser)
		}
		if i+1 < len(order) && bytes.Equal(order[i+1].Key, v.Key) {
			continue
		}
		err := error(nil)
		if len(value) == 0 {
			err = b.Delete(versionsKey(nil, shard, v.Key), nil)
		} else {
			err = b.Set(versionsKey(nil, shard, v.Key), value, nil)
		}
		if err != nil {
			return err
		}
		value = value[:0]
	}
	return nil
}

// Versions implements store.Store.
func (s *Store) Versions(shard wire.Shard, keys [][]byte, dst []store.Version) ([]store.Version, error) {
	leave, err := s.enter()
	if err != nil {
		return dst, err
	}
	defer leave()
	if err := s.whole(shard); err != nil {
		return dst, err
	}
	v := view{r: s.db, shard: shard}
	for _, key := range keys {
		_, err := v.get(versionsKey(nil, shard, key), func(b []byte) error {
			if len(b)%versionBytes != 0 {
				return fmt.Errorf("versions of %d bytes: %w", len(b), ErrDamaged)
			}
			for ; len(b) > 0; b = b[versionBytes:] {
				dst = append(dst, store.Version{
					Key: bytes.Clone(key), Dot: decodeDot(b), Loser: b[dotBytes] == 1,
				})
			}
			return nil
		})
		if err != nil {
			return dst, fmt.Errorf("shard %d: versions of %q: %w", shard, key, err)
		}
	}
	return dst, nil
}

// putLoser keeps a lost entry whole: its winner, its before-image (u32 length),
// and the entry as the wire has it.
func putLoser(b *pebble.Batch, shard wire.Shard, l *store.Loser) error {
	value := encodeDot(encodeDot(nil, l.Winner), l.Dot)
	value = binary.LittleEndian.AppendUint32(value, uint32(len(l.BeforeImage)))
	value = append(value, l.BeforeImage...)
	value = wire.AppendEntry(value, l.Entry.Stamp, l.Entry.Stamp, &l.Entry)
	ref := wire.Ref{
		Log: wire.LogID{Shard: shard, Site: l.Dot.Site}, Incarnation: l.Dot.Incarnation, Seq: l.Dot.Seq,
	}
	return b.Set(entryKey(nil, tableLosers, ref), value, nil)
}
