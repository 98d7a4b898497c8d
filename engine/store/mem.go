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
	Commit  uint64 // the shard's own counter, from 1; of a row that mending took over: the piece's
	Shard   wire.Shard
	Op      wire.Op
	Dot     Dot
	Request wire.RequestID // zero = none
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
	requests map[wire.RequestID]Dot
	cursors  []Cursor // sorted by log
	durable  []Cursor // as of the last Sync
	rows     []Row
	commits  uint64
	torn     TornMark
	undo     []memUndo // one per commit since the last Sync
}

// memUndo takes one commit back.
type memUndo struct {
	values   []memOld
	versions []memOldVersions
	requests []memOldRequest
	cursors  []Cursor
	rows     int

	before *memShard // of a piece: the shard as it was, which nobody changes; nil = a change
}

// memOldRequest is where a request was answered from before a commit.
type memOldRequest struct {
	id     wire.RequestID
	dot    Dot
	exists bool
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
	s := m.read(shard)
	return slices.Clone(s.cursors), s.torn.Err(shard)
}

// Versions implements Store.
func (m *Mem) Versions(shard wire.Shard, keys [][]byte, dst []Version) ([]Version, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	s := m.read(shard)
	if err := s.torn.Err(shard); err != nil {
		return dst, err
	}
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
		s = (&memShard{}).clone()
		m.shards[c.Shard] = s
	}
	if err := s.torn.Err(c.Shard); err != nil {
		return err
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
		s.rows = append(s.rows, Row{Commit: s.commits, Shard: c.Shard, Op: e.Op, Dot: dot, Request: e.Request})
		if e.Request != (wire.RequestID{}) {
			old, exists := s.requests[e.Request]
			undo.requests = append(undo.requests, memOldRequest{e.Request, old, exists})
			s.requests[e.Request] = dot
		}
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
	s := m.read(shard)
	return slices.Clone(s.durable), s.torn.Err(shard)
}

// Sync implements Store.
func (m *Mem) Sync(context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.shards {
		s.sync()
	}
	return nil
}

func (s *memShard) sync() { s.undo, s.durable = nil, s.cursors }

// Export implements Store. A key without a value is not visited. The visitor
// must not call the Store.
func (m *Mem) Export(ctx context.Context, shard wire.Shard, keys [][]byte,
	visit func(key, state []byte) error) ([]Cursor, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	s := m.read(shard)
	if err := s.torn.Err(shard); err != nil {
		return nil, err
	}
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
	if err := s.torn.Err(shard); err != nil {
		return [32]byte{}, nil, err
	}
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

// memValueBytes is the length of an encoded Value without its payload.
const memValueBytes = 2 + 4 + 4 + 4 + 16 + 8 + 8

// decodeValue reads what encode wrote, at least memValueBytes.
func decodeValue(b []byte) Value {
	le := binary.LittleEndian
	return Value{
		Op: wire.Op(le.Uint16(b)), UID: le.Uint32(b[2:]), GID: le.Uint32(b[6:]),
		Dot: Dot{
			Site: wire.SiteID(le.Uint32(b[10:])), Incarnation: wire.Incarnation(b[14:30]),
			Seq: wire.Seq(le.Uint64(b[30:])), Stamp: wire.Stamp(le.Uint64(b[38:])),
		},
		Payload: bytes.Clone(b[memValueBytes:]),
	}
}

// read returns a shard for reading; an empty one if nothing was ever applied.
func (m *Mem) read(shard wire.Shard) *memShard {
	if s := m.shards[shard]; s != nil {
		return s
	}
	return &memShard{}
}

// Get returns the value of a key, and whether there is one: none in a torn shard. Its
// slices are the Store's: they are not to be changed.
func (m *Mem) Get(shard wire.Shard, key []byte) (Value, bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	s := m.read(shard)
	v, ok := s.values[string(key)]
	if s.torn != (TornMark{}) {
		return Value{}, false
	}
	return v, ok
}

// Request returns the entry that did a request, and whether one did: none in a torn shard.
func (m *Mem) Request(shard wire.Shard, id wire.RequestID) (Dot, bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	s := m.read(shard)
	dot, ok := s.requests[id]
	if s.torn != (TornMark{}) {
		return Dot{}, false
	}
	return dot, ok
}

// Rows returns a copy of the rows of all shards, by shard, then in the order in which they
// were decided, also at another site. Of a torn shard they are those that are there.
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
	c := s.clone()
	for i := len(s.undo) - 1; i >= kept; i-- {
		u := &s.undo[i]
		if u.before != nil {
			c = u.before.clone()
			continue
		}
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
		for _, old := range slices.Backward(u.requests) {
			if old.exists {
				c.requests[old.id] = old.dot
			} else {
				delete(c.requests, old.id)
			}
		}
		c.cursors, c.rows = u.cursors, c.rows[:u.rows]
		c.commits--
	}
	c.sync()
	return c
}

// clone copies the shard; what was synced and what can be taken back are not copied.
func (s *memShard) clone() *memShard {
	c := &memShard{
		values: maps.Clone(s.values), versions: maps.Clone(s.versions), requests: maps.Clone(s.requests),
		cursors: s.cursors, rows: slices.Clone(s.rows), commits: s.commits, torn: s.torn,
	}
	if c.values == nil {
		c.values, c.versions = make(map[string]Value), make(map[string][]Version)
		c.requests = make(map[wire.RequestID]Dot)
	}
	return c
}
