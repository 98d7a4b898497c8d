package namespace

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/claudefs/repl/engine/store"
	"github.com/claudefs/repl/wire"
)

// Apply implements store.Store: one Pebble batch, not synced.
func (s *Store) Apply(ctx context.Context, c *store.Change) error {
	leave, err := s.enter()
	if err != nil {
		return err
	}
	defer leave()
	if err := ctx.Err(); err != nil {
		return err
	}
	if int(c.Shard) >= s.shards {
		return fmt.Errorf("shard %d of %d: %w", c.Shard, s.shards, ErrOptions)
	}
	if err := s.whole(c.Shard); err != nil {
		return err
	}
	b := s.db.NewIndexedBatchWithSize(int(c.Batch.BodyBytes) + rowBytesGuess*len(c.Effects))
	if err := s.fill(b, c); err != nil {
		return errors.Join(fmt.Errorf("shard %d: %w", c.Shard, err), b.Close())
	}
	if err := s.commit(b, pebble.NoSync); err != nil {
		return fmt.Errorf("shard %d: %w", c.Shard, err)
	}
	if err := b.Close(); err != nil {
		return fmt.Errorf("shard %d: %w", c.Shard, err)
	}
	s.moveCursors(c.Shard, c.Cursors)
	return nil
}

// commit is one batch on its way into Pebble.
type commit struct {
	batch *pebble.Batch
	o     *pebble.WriteOptions
	done  chan error // capacity 1
}

// commit puts a batch into Pebble, or says that the Store broke. Pebble may keep
// the batch then.
func (s *Store) commit(b *pebble.Batch, o *pebble.WriteOptions) error {
	c := commit{b, o, make(chan error, 1)}
	select {
	case s.commits <- c:
	case <-s.log.broken:
		return s.log.Err()
	}
	select {
	case err := <-c.done:
		return err
	case <-s.log.broken:
		return s.log.Err()
	}
}

// committer lets one batch after another into Pebble until Close. Where its log
// cannot be written, Pebble panics with locks held, or its writers stay where
// they are (see diskFull), and every later batch would wait without end: so there
// is one goroutine that this may happen to, and it never tries a second time. A
// synced batch still waits for its disk, in SyncWait, elsewhere.
func (s *Store) committer() {
	for c := range s.commits {
		if s.log.Err() == nil {
			c.done <- s.commitOne(c)
		}
	}
}

func (s *Store) commitOne(c commit) (err error) {
	defer func() {
		if fault := recover(); fault != nil {
			s.log.Fatalf("%v", fault)
			err = s.log.Err()
		}
	}()
	if c.o.Sync {
		return errors.Join(s.db.ApplyNoSyncWait(c.batch, c.o), s.log.Err())
	}
	return errors.Join(s.db.Apply(c.batch, c.o), s.log.Err())
}

// syncLog makes all commits before it durable. A failure is final: what the
// disk then holds is unknown.
func (s *Store) syncLog() error {
	b := s.db.NewBatch()
	if err := b.LogData(nil, nil); err != nil {
		return err
	}
	return s.commitSynced(b)
}

// commitSynced puts a batch into Pebble and waits until its log is flushed. It closes
// the batch.
func (s *Store) commitSynced(b *pebble.Batch) error {
	if err := s.commit(b, pebble.Sync); err != nil {
		return err
	}
	synced := make(chan error, 1)
	go func() { synced <- b.SyncWait() }() // Ends with the flush; never if the disk is full.
	select {
	case err := <-synced:
		if err != nil {
			s.log.Fatalf("sync: %v", err)
		}
		return errors.Join(b.Close(), s.log.Err())
	case <-s.log.broken:
		return s.log.Err()
	}
}

// rowBytesGuess is what an entry adds to a batch besides its content: so that
// the batch seldom has to grow.
const rowBytesGuess = 512

// fill puts everything of c into b.
func (s *Store) fill(b *pebble.Batch, c *store.Change) error {
	row, err := s.takeRows(len(c.Effects))
	if err != nil {
		return err
	}
	x := newEffects(b, c.Shard, true)
	var p payload
	for i := range c.Effects {
		e := &c.Effects[i]
		if err := p.decode(e); err != nil {
			return err
		}
		if err := x.apply(&p); err != nil {
			return fmt.Errorf("seq %d: %w", e.Seq, err)
		}
		if err := putDecided(b, c, e, row+uint64(i)); err != nil {
			return err
		}
	}
	for i := range c.Losers {
		if err := putLoser(b, c.Shard, &c.Losers[i]); err != nil {
			return err
		}
	}
	if err := putVersions(b, c.Shard, c.Versions); err != nil {
		return err
	}
	for _, cursor := range c.Cursors {
		if cursor.Log.Shard != c.Shard {
			return fmt.Errorf("cursor of log %s in a change of shard %d: %w", cursor.Log, c.Shard, ErrDamaged)
		}
		if err := b.Set(cursorKey(nil, cursor.Log), encodeCursor(nil, cursor), nil); err != nil {
			return err
		}
	}
	return nil
}

// putDecided writes the audit row of an entry and, for a client's request, where
// it is answered from.
func putDecided(b *pebble.Batch, c *store.Change, e *wire.Entry, row uint64) error {
	ref := wire.Ref{
		Log: wire.LogID{Shard: c.Shard, Site: c.Batch.Site}, Incarnation: c.Batch.Incarnation, Seq: e.Seq,
	}
	key := make([]byte, 0, statePrefixBytes+entryBytes+8)
	if err := b.Set(decidedKey(key, ref, row), e.Request[:], nil); err != nil {
		return err
	}
	if e.Request == (wire.RequestID{}) {
		return nil
	}
	return b.Set(requestKey(key[:0], c.Shard, e.Request), encodeRef(make([]byte, 0, refBytes), ref), nil)
}

// Ref and position rows: little-endian. Part of the disk format.
const (
	refBytes      = 16 + 4 + 4 + 8
	positionBytes = 16 + 8 + 16
	epochBytes    = 8
)

func encodeRef(dst []byte, r wire.Ref) []byte {
	dst = append(dst, r.Incarnation[:]...)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(r.Log.Shard))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(r.Log.Site))
	return binary.LittleEndian.AppendUint64(dst, uint64(r.Seq))
}

func decodeRef(b []byte) (wire.Ref, error) {
	if len(b) != refBytes {
		return wire.Ref{}, fmt.Errorf("reference of %d bytes: %w", len(b), ErrDamaged)
	}
	le := binary.LittleEndian
	return wire.Ref{
		Log:         wire.LogID{Shard: wire.Shard(le.Uint32(b[16:])), Site: wire.SiteID(le.Uint32(b[20:]))},
		Incarnation: wire.Incarnation(b[:16]), Seq: wire.Seq(le.Uint64(b[24:])),
	}, nil
}

func encodePosition(dst []byte, p wire.Position) []byte {
	dst = binary.LittleEndian.AppendUint64(append(dst, p.Incarnation[:]...), uint64(p.Seq))
	return append(dst, p.Chain[:]...)
}

// encodeCursor is a position and the epoch of its incarnation.
func encodeCursor(dst []byte, c store.Cursor) []byte {
	return binary.LittleEndian.AppendUint64(encodePosition(dst, c.Position), uint64(c.Epoch))
}

// decodeCursor also reads rows without an epoch, of older releases: it is not known then.
func decodeCursor(key, value []byte) (store.Cursor, error) {
	epoch := wire.Epoch(0)
	if len(value) == positionBytes+epochBytes {
		epoch, value = wire.Epoch(binary.LittleEndian.Uint64(value[positionBytes:])), value[:positionBytes]
	}
	if len(key) != 1+2+4 || len(value) != positionBytes {
		return store.Cursor{}, fmt.Errorf("cursor row of %d and %d bytes: %w", len(key), len(value), ErrDamaged)
	}
	return store.Cursor{
		Epoch: epoch,
		Log: wire.LogID{
			Shard: wire.Shard(binary.BigEndian.Uint16(key[1:])), Site: wire.SiteID(binary.BigEndian.Uint32(key[3:])),
		},
		Position: wire.Position{
			Incarnation: wire.Incarnation(value[:16]), Seq: wire.Seq(binary.LittleEndian.Uint64(value[16:])),
			Chain: wire.Chain(value[24:]),
		},
	}, nil
}

// cursorsOf returns the cursors of a shard. s.mu is held, or s is not yet
// shared.
func (s *Store) cursorsOf(shard wire.Shard) *cursors {
	c := s.cursors[shard]
	if c == nil {
		c = &cursors{}
		s.cursors[shard] = c
	}
	return c
}

func compareCursors(a, b store.Cursor) int { return a.Log.Compare(b.Log) }

// moveCursors makes visible what Apply has committed.
func (s *Store) moveCursors(shard wire.Shard, moved []store.Cursor) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.cursorsOf(shard)
	next := slices.Clone(at.applied)
	for _, c := range moved {
		if i, found := slices.BinarySearchFunc(next, c, compareCursors); found {
			next[i] = c
		} else {
			next = slices.Insert(next, i, c)
		}
	}
	at.applied = next
	s.dirty[shard] = struct{}{}
}

// Cursors implements store.Store.
func (s *Store) Cursors(shard wire.Shard) ([]store.Cursor, error) {
	leave, err := s.enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.cursorsOf(shard)
	return slices.Clone(at.applied), at.torn.Err(shard)
}

// Durable implements store.Store.
func (s *Store) Durable(shard wire.Shard) ([]store.Cursor, error) {
	leave, err := s.enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.cursorsOf(shard)
	return slices.Clone(at.durable), at.torn.Err(shard)
}

// Sync implements store.Store: a synced record of Pebble's log covers all
// commits before it.
func (s *Store) Sync(ctx context.Context) error {
	leave, err := s.enter()
	if err != nil {
		return err
	}
	defer leave()
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	seen := make(map[wire.Shard]cursors, len(s.dirty))
	for shard := range s.dirty {
		seen[shard] = *s.cursorsOf(shard)
	}
	clear(s.dirty)
	s.mu.Unlock()
	err = s.syncLog()
	s.mu.Lock()
	defer s.mu.Unlock()
	for shard, then := range seen {
		at := s.cursorsOf(shard)
		switch {
		case err != nil:
			s.dirty[shard] = struct{}{}
		case at.turn == then.turn: // else a mending has synced what is there now
			at.durable = newer(at.durable, then.applied)
		}
	}
	if err != nil {
		return fmt.Errorf("namespace: sync: %w", err)
	}
	return nil
}

// newer guards against a Sync that began earlier and ended later: its cursors
// must not take back those of the other. Between two mendings, logs of a shard do not go
// away, and the cursors of one incarnation only rise.
func newer(old, seen []store.Cursor) []store.Cursor {
	for _, o := range old {
		i, found := slices.BinarySearchFunc(seen, o, compareCursors)
		if !found {
			return old
		}
		n := seen[i].Position
		if n.Incarnation == o.Position.Incarnation && n.Seq < o.Position.Seq {
			return old
		}
	}
	return seen
}
