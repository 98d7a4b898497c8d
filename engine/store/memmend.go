package store

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/claudefs/repl/wire"
)

// The rows of a shard of Mem, by the first byte of their keys; numbers big-endian, so that
// rows of one log lie in order of their seqs.
//
//	d site incarnation seq    a decided entry: op, stamp and request of each time it was decided
//	k key                     the key's value
//	r request                 the entry that did this request
//	v key                     the key's unstable versions
const (
	memDecided = 'd'
	memValue   = 'k'
	memRequest = 'r'
	memVersion = 'v'

	memLogBytes     = 4 + 16 + 8
	memDecidedBytes = 2 + 8 + 16
	memDotBytes     = memLogBytes + 8
)

// memMendView is a copy of a shard's rows.
type memMendView struct {
	torn    bool
	cursors []Cursor
	rows    []MendRow // sorted
}

// MendView implements Mender. It copies the shard.
func (m *Mem) MendView(_ context.Context, shard wire.Shard) (MendView, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	s := m.read(shard)
	return &memMendView{torn: s.torn != TornMark{}, cursors: slices.Clone(s.cursors), rows: s.mendRows()}, nil
}

func (v *memMendView) Torn() bool { return v.torn }

func (v *memMendView) Cursors() []Cursor { return v.cursors }

// within are the rows [lo, hi), hi nil = unbounded.
func (v *memMendView) within(lo, hi []byte) []MendRow {
	at := func(key []byte) int {
		i, _ := slices.BinarySearchFunc(v.rows, MendRow{Key: key}, compareMendRows)
		return i
	}
	from, to := at(lo), len(v.rows)
	if hi != nil {
		to = at(hi)
	}
	return v.rows[from:max(from, to)]
}

func compareMendRows(x, y MendRow) int { return bytes.Compare(x.Key, y.Key) }

// Digest implements MendView: SHA-256 over the rows, each with its lengths.
func (v *memMendView) Digest(_ context.Context, lo, hi []byte) ([32]byte, error) {
	sum := sha256.New()
	for _, r := range v.within(lo, hi) {
		writeSized(sum, r.Key)
		writeSized(sum, r.Value)
	}
	return [32]byte(sum.Sum(nil)), nil
}

func (v *memMendView) Keys(ctx context.Context, lo, hi []byte, visit func(key []byte) error) error {
	return v.Rows(ctx, lo, hi, func(key, _ []byte) error { return visit(key) })
}

func (v *memMendView) Rows(_ context.Context, lo, hi []byte, visit func(key, value []byte) error) error {
	for _, r := range v.within(lo, hi) {
		if err := visit(r.Key, r.Value); err != nil {
			return err
		}
	}
	return nil
}

func (v *memMendView) Close() error { return nil }

// mendRows are the shard's rows, sorted.
func (s *memShard) mendRows() []MendRow {
	rows := make([]MendRow, 0, len(s.values)+len(s.rows)+len(s.requests)+len(s.versions))
	for key, v := range s.values {
		rows = append(rows, MendRow{append([]byte{memValue}, key...), v.encode(nil)})
	}
	for id, dot := range s.requests {
		rows = append(rows, MendRow{append([]byte{memRequest}, id[:]...), appendDot(nil, dot)})
	}
	for key, list := range s.versions {
		var value []byte
		for _, v := range list {
			value = append(appendDot(value, v.Dot), boolByte(v.Loser))
		}
		rows = append(rows, MendRow{append([]byte{memVersion}, key...), value})
	}
	decided := make(map[string][]byte, len(s.rows))
	for i := range s.rows {
		r := &s.rows[i]
		key := string(r.key())
		value := binary.BigEndian.AppendUint16(decided[key], uint16(r.Op))
		value = binary.BigEndian.AppendUint64(value, uint64(r.Dot.Stamp))
		decided[key] = append(value, r.Request[:]...)
	}
	for key, value := range decided {
		rows = append(rows, MendRow{[]byte(key), value})
	}
	slices.SortFunc(rows, compareMendRows)
	return rows
}

// key is that of the row's MendRow.
func (r *Row) key() []byte { return appendDot([]byte{memDecided}, r.Dot)[:1+memLogBytes] }

func appendDot(dst []byte, d Dot) []byte {
	dst = append(binary.BigEndian.AppendUint32(dst, uint32(d.Site)), d.Incarnation[:]...)
	dst = binary.BigEndian.AppendUint64(dst, uint64(d.Seq))
	return binary.BigEndian.AppendUint64(dst, uint64(d.Stamp))
}

// readDot reads what appendDot wrote: at least memLogBytes, and the stamp if it is there.
func readDot(b []byte) Dot {
	d := Dot{Site: wire.SiteID(binary.BigEndian.Uint32(b)), Incarnation: wire.Incarnation(b[4:20]),
		Seq: wire.Seq(binary.BigEndian.Uint64(b[20:]))}
	if len(b) >= memDotBytes {
		d.Stamp = wire.Stamp(binary.BigEndian.Uint64(b[memLogBytes:]))
	}
	return d
}

func boolByte(b bool) byte {
	if b {
		return 1
	}
	return 0
}

// Mend implements Mender. Pieces 0 and last are synced with everything before them in
// the shard.
func (m *Mem) Mend(ctx context.Context, p *MendPiece) error {
	if err := errors.Join(ctx.Err(), p.Check()); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	before := m.read(p.Shard)
	mark, err := before.torn.After(p)
	if err != nil {
		return err
	}
	s := before.clone()
	s.undo, s.durable = append(slices.Clip(before.undo), memUndo{before: before}), before.durable
	s.commits++
	s.torn, s.cursors = mark, slices.Clone(p.Cursors)
	if !p.Last {
		s.clear(p.Lo, p.Hi)
	}
	for i := range p.Rows {
		if err := s.put(p.Shard, &p.Rows[i]); err != nil {
			return fmt.Errorf("shard %d, piece %d, row %x: %w: %w", p.Shard, p.Index, p.Rows[i].Key, ErrMendPiece, err)
		}
	}
	slices.SortFunc(s.rows, compareRows)
	if p.Index == 0 || p.Last {
		s.sync()
	}
	m.shards[p.Shard] = s
	return nil
}

// compareRows is the order in which entries are decided wherever one site at a time writes.
func compareRows(x, y Row) int {
	return cmp.Or(cmp.Compare(x.Dot.Stamp, y.Dot.Stamp), bytes.Compare(x.key(), y.key()),
		cmp.Compare(x.Commit, y.Commit))
}

// clear removes the rows [lo, hi).
func (s *memShard) clear(lo, hi []byte) {
	out := func(key []byte) bool { return bytes.Compare(key, lo) >= 0 && (hi == nil || bytes.Compare(key, hi) < 0) }
	maps.DeleteFunc(s.values, func(key string, _ Value) bool { return out(append([]byte{memValue}, key...)) })
	maps.DeleteFunc(s.versions, func(key string, _ []Version) bool { return out(append([]byte{memVersion}, key...)) })
	maps.DeleteFunc(s.requests, func(id wire.RequestID, _ Dot) bool {
		return out(append([]byte{memRequest}, id[:]...))
	})
	s.rows = slices.DeleteFunc(s.rows, func(r Row) bool { return out(r.key()) })
}

// errMemRow: a row is not one of Mem's.
var errMemRow = errors.New("not a row of a memory Store")

// put adds a row, which was cleared.
func (s *memShard) put(shard wire.Shard, r *MendRow) error {
	key, value := r.Key[1:], r.Value
	switch {
	case r.Key[0] == memValue && len(value) >= memValueBytes:
		s.values[string(key)] = decodeValue(value)
	case r.Key[0] == memRequest && len(key) == len(wire.RequestID{}) && len(value) == memDotBytes:
		s.requests[wire.RequestID(key)] = readDot(value)
	case r.Key[0] == memVersion && len(value) > 0 && len(value)%(memDotBytes+1) == 0:
		var list []Version
		for ; len(value) > 0; value = value[memDotBytes+1:] {
			list = append(list, Version{Key: bytes.Clone(key), Dot: readDot(value), Loser: value[memDotBytes] == 1})
		}
		s.versions[string(key)] = list
	case r.Key[0] == memDecided && len(key) == memLogBytes && len(value) > 0 && len(value)%memDecidedBytes == 0:
		for ; len(value) > 0; value = value[memDecidedBytes:] {
			dot := readDot(key)
			dot.Stamp = wire.Stamp(binary.BigEndian.Uint64(value[2:]))
			s.rows = append(s.rows, Row{
				Commit: s.commits, Shard: shard, Op: wire.Op(binary.BigEndian.Uint16(value)), Dot: dot,
				Request: wire.RequestID(value[10:memDecidedBytes]),
			})
		}
	default:
		return errMemRow
	}
	return nil
}
