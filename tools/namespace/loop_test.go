package namespace

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine/store"
	"github.com/claudefs/repl/wire"
)

var errLogFull = errors.New("log full")

// loop is a Log that keeps what was appended until it is waited for, and then
// applies it in batches: the engine as the namespace sees it, without disk.
type loop struct {
	t       testing.TB
	s       *Store
	site    wire.SiteID
	pending map[wire.Shard][]wire.Entry
	ends    map[wire.Shard]wire.Position
	next    map[wire.Shard]wire.Seq
	changes []*store.Change
	full    bool // refuse appends
}

func newLoop(t testing.TB, s *Store) *loop {
	return &loop{
		t: t, s: s, site: 7,
		pending: map[wire.Shard][]wire.Entry{}, ends: map[wire.Shard]wire.Position{}, next: map[wire.Shard]wire.Seq{},
	}
}

func (l *loop) Append(_ context.Context, shard wire.Shard, e *wire.Entry) (wire.Ref, error) {
	if l.full {
		return wire.Ref{}, errLogFull
	}
	l.next[shard]++
	c := *e
	c.Seq = l.next[shard]
	c.Payload = bytes.Clone(e.Payload)
	c.Keys = nil
	for _, k := range e.Keys {
		c.Keys = append(c.Keys, bytes.Clone(k))
	}
	l.pending[shard] = append(l.pending[shard], c)
	return wire.Ref{Log: wire.LogID{Site: l.site, Shard: shard}, Incarnation: wire.Incarnation{9}, Seq: c.Seq}, nil
}

func (l *loop) Wait(ctx context.Context, ref wire.Ref) error {
	shard := ref.Log.Shard
	if entries := l.pending[shard]; len(entries) > 0 && entries[0].Seq <= ref.Seq {
		n := int(ref.Seq - entries[0].Seq + 1)
		l.pending[shard] = entries[n:]
		return l.apply(ctx, shard, entries[:n])
	}
	return nil
}

func (l *loop) apply(ctx context.Context, shard wire.Shard, entries []wire.Entry) error {
	h := &wire.BatchHeader{
		Kind: wire.BatchData, Incarnation: wire.Incarnation{9}, Site: l.site, Shard: shard,
		Count: uint32(len(entries)), FirstSeq: entries[0].Seq,
	}
	binary.BigEndian.PutUint64(h.Chain[:], uint64(h.LastSeq()))
	l.ends[shard] = h.End()
	c := &store.Change{
		Shard: shard, Batch: h, Effects: entries, Cursors: []store.Cursor{{Log: h.Log(), Position: h.End()}},
	}
	l.changes = append(l.changes, c)
	return l.s.Apply(ctx, c)
}

// do submits one operation and returns what was answered.
func (l *loop) do(op Operation) error {
	r := l.all([]Operation{op})
	return r[0].Err
}

// all submits operations of one shard as one group.
func (l *loop) all(ops []Operation) []Result {
	l.t.Helper()
	results := make([]Result, len(ops))
	n, receipt, err := l.s.Submit(context.Background(), l, ops, results)
	require.NoError(l.t, err)
	require.Equal(l.t, len(ops), n)
	require.NoError(l.t, receipt.Wait(context.Background()))
	return results
}

// replay applies the same entries to a fresh store, in other batches.
func (l *loop) replay(regroup func([]wire.Entry) [][]wire.Entry) *Store {
	l.t.Helper()
	s := openTest(l.t, Options{Dir: "db", Shards: l.s.shards, FS: vfs.NewMem()})
	other := newLoop(l.t, s)
	other.site = l.site
	for _, c := range l.changes {
		for _, part := range regroup(c.Effects) {
			require.NoError(l.t, other.apply(context.Background(), c.Shard, part))
		}
	}
	return s
}

func oneByOne(entries []wire.Entry) [][]wire.Entry {
	return slices.Collect(slices.Chunk(entries, 1))
}

func totalOf(t testing.TB, s *Store) Total {
	t.Helper()
	total, err := s.DigestAll(context.Background())
	require.NoError(t, err)
	return total
}
