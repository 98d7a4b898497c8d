package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"maps"
	"slices"
	"sync"

	"github.com/claudefs/repl/wire"
)

// Value is what Mem keeps for a key: the last entry that named it.
type Value struct {
	Op      wire.Op
	UID     uint32
	GID     uint32
	Payload []byte
	Dot     Dot
}

// Row is one decided entry, in the order of its shard's commits: two rows with
// the same Dot are an entry that took effect twice.
type Row struct {
	Commit uint64 // the shard's own counter, from 1
	Shard  wire.Shard
	Op     wire.Op
	Dot    Dot
}

// Mem is a Store in memory. What Sync has not seen is lost by Crash. Any
// goroutine may call its methods.
type Mem struct {
	// Known says whether an operation is known; nil means all are. Set it before
	// the first use.
	Known func(op wire.Op) bool

	mu     sync.RWMutex
	shards map[wire.Shard]*memShard
}

// memShard is one shard's state, and how to take the unsynced commits back.
type memShard struct {
	values   map[string]Value
	versions map[string][]Version // unstable, by key
	cursors  []Cursor             // sorted by log
	durable  []Cursor             // as of the last Sync
	rows     []Row
	commits  uint64
	undo     []memUndo // one per commit since the last Sync
}

// memUndo takes one commit back.
type memUndo struct {
	values   []memOld
	versions []memOldVersions
	cursors  []Cursor
	rows     int
}

// memOldVersions is what a key had before a commit replaced its versions.
type memOldVersions struct {
	key      string
	versions []Version
}

// memOld is what a key had before a commit.
type memOld struct {
	key    string
	value  Value
	exists bool
}

// NewMem returns an empty Store.
func NewMem() *Mem { return &Mem{shards: make(map[wire.Shard]*memShard)} }

// Cursors implements Store.
func (m *Mem) Cursors(shard wire.Shard) ([]Cursor, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return slices.Clone(m.read(shard).cursors), nil
}

// Versions implements Store.
func (m *Mem) Versions(shard wire.Shard, keys [][]byte, dst []Version) ([]Version, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	s := m.read(shard)
	for _, key := range keys {
		dst = append(dst, s.versions[string(key)]...)
	}
	return dst, nil
}

// Apply implements Store.
func (m *Mem) Apply(ctx context.Context, c *Change) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	for i := range c.Effects {
		if e := &c.Effects[i]; m.Known != nil && !m.Known(e.Op) {
			return fmt.Errorf("shard %d seq %d: op %d: %w", c.Shard, e.Seq, e.Op, ErrUnknownOp)
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.shards[c.Shard]
	if s == nil {
		s = &memShard{values: make(map[string]Value), versions: make(map[string][]Version)}
		m.shards[c.Shard] = s
	}
	s.apply(c)
	return nil
}

func (s *memShard) apply(c *Change) {
	undo := memUndo{cursors: s.cursors, rows: len(s.rows)}
	s.commits++
	for i := range c.Effects {
		e := &c.Effects[i]
		dot := Dot{Site: c.Batch.Site, Incarnation: c.Batch.Incarnation, Seq: e.Seq, Stamp: e.Stamp}
		s.rows = append(s.rows, Row{Commit: s.commits, Shard: c.Shard, Op: e.Op, Dot: dot})
		value := Value{Op: e.Op, UID: e.UID, GID: e.GID, Payload: bytes.Clone(e.Payload), Dot: dot}
		for _, k := range e.Keys {
			old, exists := s.values[string(k)]
			undo.values = append(undo.values, memOld{key: string(k), value: old, exists: exists})
			s.values[string(k)] = value
		}
	}
	undo.versions = s.replaceVersions(c.Versions)
	s.cursors = mergeCursors(s.cursors, c.Cursors)
	s.undo = append(s.undo, undo)
}

// replaceVersions puts new lists in the place of the old ones, which it returns:
// a list that somebody has seen never changes.
func (s *memShard) replaceVersions(versions []Version) (old []memOldVersions) {
	fresh := make(map[string][]Version, len(versions))
	for _, v := range versions {
		key := string(v.Key)
		if _, seen := fresh[key]; !seen {
			fresh[key] = nil
			old = append(old, memOldVersions{key, s.versions[key]})
		}
		if v.Dot != (Dot{}) {
			v.Key = []byte(key)
			fresh[key] = append(fresh[key], v)
		}
	}
	for key, list := range fresh {
		s.setVersions(key, list)
	}
	return old
}

func (s *memShard) setVersions(key string, list []Version) {
	if len(list) == 0 {
		delete(s.versions, key)
		return
	}
	s.versions[key] = list
}

// mergeCursors returns a new sorted list, so that older ones stay as they were.
func mergeCursors(old, changed []Cursor) []Cursor {
	merged := slices.Clone(old)
	byLog := func(c Cursor, log wire.LogID) int { return c.Log.Compare(log) }
	for _, c := range changed {
		at, found := slices.BinarySearchFunc(merged, c.Log, byLog)
		if found {
			merged[at] = c
		} else {
			merged = slices.Insert(merged, at, c)
		}
	}
	return merged
}

// Durable implements Store.
func (m *Mem) Durable(shard wire.Shard) ([]Cursor, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return slices.Clone(m.read(shard).durable), nil
}

// Sync implements Store.
func (m *Mem) Sync(context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.shards {
		s.undo = nil
		s.durable = s.cursors
	}
	return nil
}

// Export implements Store. A key without a value is not visited. The visitor
// must not call the Store.
func (m *Mem) Export(ctx context.Context, shard wire.Shard, keys [][]byte,
	visit func(key, state []byte) error) ([]Cursor, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	s := m.read(shard)
	for _, k := range keys {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if v, ok := s.values[string(k)]; ok {
			if err := visit(k, v.encode(nil)); err != nil {
				return nil, err
			}
		}
	}
	return slices.Clone(s.cursors), nil
}

// Digest implements Store: SHA-256 over the keys of the range, sorted, each with
// its length and its value.
func (m *Mem) Digest(_ context.Context, shard wire.Shard, lo, hi []byte) ([32]byte, []Cursor, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	s := m.read(shard)
	return s.digest(slices.Sorted(maps.Keys(s.values)), lo, hi), slices.Clone(s.cursors), nil
}

// digest hashes those of the sorted keys that lie in [lo, hi).
func (s *memShard) digest(keys []string, lo, hi []byte) [32]byte {
	sum := sha256.New()
	for _, key := range keys {
		if key < string(lo) || hi != nil && key >= string(hi) {
			continue
		}
		value := s.values[key]
		writeSized(sum, []byte(key))
		writeSized(sum, value.encode(nil))
	}
	return [32]byte(sum.Sum(nil))
}

// writeSized writes b behind its length, so that no two lists of strings have
// the same bytes.
func writeSized(h hash.Hash, b []byte) {
	var size [8]byte
	binary.LittleEndian.PutUint64(size[:], uint64(len(b)))
	h.Write(size[:])
	h.Write(b)
}

// encode appends the value's canonical form: fixed fields first, payload last.
func (v *Value) encode(dst []byte) []byte {
	le := binary.LittleEndian
	dst = le.AppendUint16(dst, uint16(v.Op))
	dst = le.AppendUint32(dst, v.UID)
	dst = le.AppendUint32(dst, v.GID)
	dst = le.AppendUint32(dst, uint32(v.Dot.Site))
	dst = append(dst, v.Dot.Incarnation[:]...)
	dst = le.AppendUint64(dst, uint64(v.Dot.Seq))
	dst = le.AppendUint64(dst, uint64(v.Dot.Stamp))
	return append(dst, v.Payload...)
}

// read returns a shard for reading; an empty one if nothing was ever applied.
func (m *Mem) read(shard wire.Shard) *memShard {
	if s := m.shards[shard]; s != nil {
		return s
	}
	return &memShard{}
}

// Get returns the value of a key, and whether there is one. Its slices are the
// Store's: they are not to be changed.
func (m *Mem) Get(shard wire.Shard, key []byte) (Value, bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	v, ok := m.read(shard).values[string(key)]
	return v, ok
}

// Rows returns a copy of the rows of all shards, by shard, then commit.
func (m *Mem) Rows() []Row {
	m.mu.RLock()
	defer m.mu.RUnlock()
	var rows []Row
	for _, shard := range slices.Sorted(maps.Keys(m.shards)) {
		rows = append(rows, m.shards[shard].rows...)
	}
	return rows
}

// Crash returns the store that a power cut would leave: per shard the state of
// the last Sync and the first keep(shard, unsynced) of the commits since; nil
// keeps none. m itself stays as it is.
func (m *Mem) Crash(keep func(shard wire.Shard, unsynced int) int) *Mem {
	m.mu.RLock()
	defer m.mu.RUnlock()
	survivor := NewMem()
	survivor.Known = m.Known
	for _, shard := range slices.Sorted(maps.Keys(m.shards)) {
		s := m.shards[shard]
		kept := 0
		if keep != nil {
			kept = min(max(0, keep(shard, len(s.undo))), len(s.undo))
		}
		survivor.shards[shard] = s.rewind(kept)
	}
	return survivor
}

// rewind copies the shard as it was after the first kept unsynced commits.
func (s *memShard) rewind(kept int) *memShard {
	c := &memShard{
		values: maps.Clone(s.values), versions: maps.Clone(s.versions), cursors: s.cursors, commits: s.commits,
	}
	rows := len(s.rows)
	for i := len(s.undo) - 1; i >= kept; i-- {
		u := &s.undo[i]
		// Backwards, because a key may occur twice in one commit.
		for j := len(u.values) - 1; j >= 0; j-- {
			if old := &u.values[j]; old.exists {
				c.values[old.key] = old.value
			} else {
				delete(c.values, old.key)
			}
		}
		for _, old := range u.versions {
			c.setVersions(old.key, old.versions)
		}
		c.cursors, rows = u.cursors, u.rows
		c.commits--
	}
	c.rows = slices.Clone(s.rows[:rows])
	c.durable = c.cursors
	return c
}
