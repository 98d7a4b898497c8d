package store

import (
	"context"
	"slices"

	"github.com/claudefs/repl/wire"
)

// View is one shard's state as of one moment, while the shard goes on. For one
// goroutine at a time.
type View interface {
	// Cursors are those of the moment, sorted by log.
	Cursors() []Cursor

	// Digest is Store.Digest of that moment, for a range [lo, hi) that ends at keys
	// (nil = unbounded).
	Digest(ctx context.Context, lo, hi []byte) ([32]byte, error)

	// Keys visits the keys of the range, rising, until visit returns an error, which
	// it returns. A key is borrowed for the visit.
	Keys(ctx context.Context, lo, hi []byte, visit func(key []byte) error) error

	// Close gives the view back: as long as it is open, it may pin disk space.
	Close() error
}

// Viewer is a Store that can hold a moment of a shard, which lets two sites be
// compared while they work, and a difference be narrowed down to its key. View
// must not wait: the shard's applier calls it between two batches.
type Viewer interface {
	View(ctx context.Context, shard wire.Shard) (View, error)
}

// Namer is a Store that can say what people call a key, such as a path; "" is a key
// that it cannot name.
type Namer interface {
	NameOf(ctx context.Context, shard wire.Shard, key []byte) string
}

// ViewOf returns a View of any Store. One of a Store that is not a Viewer is made by
// one Digest of the whole shard, which takes as long as that takes, knows no other
// range, and no keys: Coarse says so.
func ViewOf(ctx context.Context, s Store, shard wire.Shard) (View, error) {
	if v, ok := s.(Viewer); ok {
		return v.View(ctx, shard)
	}
	digest, cursors, err := s.Digest(ctx, shard, nil, nil)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(cursors, func(x, y Cursor) int { return x.Log.Compare(y.Log) })
	return &coarse{digest, cursors}, nil
}

// Coarse tells a View that knows only the digest of the whole shard.
func Coarse(v View) bool {
	_, ok := v.(*coarse)
	return ok
}

type coarse struct {
	digest  [32]byte
	cursors []Cursor
}

func (c *coarse) Cursors() []Cursor { return c.cursors }

func (c *coarse) Digest(context.Context, []byte, []byte) ([32]byte, error) { return c.digest, nil }

func (c *coarse) Keys(context.Context, []byte, []byte, func([]byte) error) error { return nil }

func (c *coarse) Close() error { return nil }

// memView is a shard of Mem as it was.
type memView struct {
	shard memShard // values and cursors only
	keys  []string // sorted
}

// View implements Viewer. It copies the shard's table of keys.
func (m *Mem) View(_ context.Context, shard wire.Shard) (View, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	s := m.read(shard)
	if err := s.torn.Err(shard); err != nil {
		return nil, err
	}
	v := &memView{shard: memShard{values: make(map[string]Value, len(s.values)), cursors: slices.Clone(s.cursors)}}
	for key, value := range s.values {
		v.shard.values[key] = value
		v.keys = append(v.keys, key)
	}
	slices.Sort(v.keys)
	return v, nil
}

func (v *memView) Cursors() []Cursor { return v.shard.cursors }

func (v *memView) Digest(_ context.Context, lo, hi []byte) ([32]byte, error) {
	return v.shard.digest(v.within(lo, hi), lo, hi), nil
}

// within are the keys [lo, hi), hi nil = unbounded.
func (v *memView) within(lo, hi []byte) []string {
	from, _ := slices.BinarySearch(v.keys, string(lo))
	to := len(v.keys)
	if hi != nil {
		to, _ = slices.BinarySearch(v.keys, string(hi))
	}
	return v.keys[from:max(from, to)]
}

func (v *memView) Keys(_ context.Context, lo, hi []byte, visit func(key []byte) error) error {
	for _, key := range v.within(lo, hi) {
		if err := visit([]byte(key)); err != nil {
			return err
		}
	}
	return nil
}

func (v *memView) Close() error { return nil }
