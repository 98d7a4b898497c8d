package namespace

import (
	"context"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine/store"
	"github.com/claudefs/repl/wire"
)

// keysOf are all keys of a view.
func keysOf(t *testing.T, v store.View, lo, hi []byte) (keys []string) {
	t.Helper()
	require.NoError(t, v.Keys(context.Background(), lo, hi, func(key []byte) error {
		keys = append(keys, string(key))
		return nil
	}))
	return keys
}

// A view stays what it was while the shard goes on, its parts make up the whole,
// and its keys have paths.
func TestViewStaysAsItWas(t *testing.T) {
	ctx := context.Background()
	s := openTest(t, Options{Dir: "db", Shards: 8, FS: vfs.NewMem()})
	shard := ShardOf("/name", 8)
	apply := func(n uint64, entries ...wire.Entry) {
		h := &wire.BatchHeader{Site: 1, Shard: shard, Incarnation: wire.Incarnation{1}, FirstSeq: wire.Seq(n), Count: 1}
		c := store.Cursor{Log: h.Log(), Position: wire.Position{Incarnation: h.Incarnation, Seq: wire.Seq(n)}}
		require.NoError(t, s.Apply(ctx, &store.Change{
			Shard: shard, Batch: h, Effects: entries, Cursors: []store.Cursor{c},
		}))
	}
	apply(1, entryOf(shard, 0))
	v, err := s.View(ctx, shard)
	require.NoError(t, err)
	before, err := v.Digest(ctx, nil, nil)
	require.NoError(t, err)
	whole, _, err := s.Digest(ctx, shard, nil, nil)
	require.NoError(t, err)
	require.Equal(t, whole, before)

	apply(2, entryOf(shard, 3))
	after, err := v.Digest(ctx, nil, nil)
	require.NoError(t, err)
	require.Equal(t, before, after)
	require.Equal(t, wire.Seq(1), v.Cursors()[0].Position.Seq)
	require.Len(t, keysOf(t, v, nil, nil), 2, "a name and an inode")
	require.NoError(t, v.Close())

	v, err = s.View(ctx, shard)
	require.NoError(t, err)
	defer func() { require.NoError(t, v.Close()) }()
	keys := keysOf(t, v, nil, nil)
	require.Len(t, keys, 4)
	require.Equal(t, keys[1:3], keysOf(t, v, []byte(keys[1]), []byte(keys[3])))
	for _, key := range keys {
		require.Regexp(t, `^/name [03]$`, s.NameOf(ctx, shard, []byte(key)))
	}
	require.Equal(t, "key 78", s.NameOf(ctx, shard, []byte("x")))
	lost := inodeKey(nil, Inode(99))
	require.Equal(t, "inode 99", s.NameOf(ctx, shard, lost))
}
