package journal

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/claudefs/repl/wire"
)

// TestTailsNameEveryLog: also those that were idle since the oldest segment, sorted, as
// Open finds them (I14).
func TestTailsNameEveryLog(t *testing.T) {
	j, w := manyLogs(t, 300)
	tails := j.Tails()
	require.Len(t, tails, 300)
	require.True(t, slices.IsSortedFunc(tails, func(a, b LogEnd) int { return a.Log.Compare(b.Log) }))
	positions := j.Positions()
	for _, end := range tails {
		require.Equal(t, w.tails[end.Log].Position, end.Position)
		require.Equal(t, end.Position, positions[end.Log])
	}
}

// TestReaderBeyondGoneBatches: who needs all is refused with the logs' names; who goes on
// without some meets everything else, and they are told once each.
func TestReaderBeyondGoneBatches(t *testing.T) {
	j, w := manyLogs(t, 300)
	var next []wire.BatchRef
	for shard := range wire.Shard(300) {
		next = append(next, w.batch(shard, 300))
	}
	before := j.Positions()
	_, err := j.Stage(next, nil)
	require.NoError(t, err)
	require.NoError(t, flush(j))
	have := func(log wire.LogID) wire.Position {
		if log.Shard%3 == 0 {
			return before[log]
		}
		return wire.Position{} // its first batches are gone
	}
	_, _, gone, err := j.ReadBeyond(have)
	require.ErrorIs(t, err, ErrNotRetained)
	require.Len(t, gone, 200)

	var told []wire.LogID
	r, err := j.ReadRetained(have, func(log wire.LogID, err error) {
		require.ErrorIs(t, err, ErrNotRetained)
		require.ErrorContains(t, err, log.String())
		told = append(told, log)
	})
	require.NoError(t, err)
	defer r.Close()
	require.Equal(t, gone, told)
	met := map[wire.LogID]wire.Position{}
	for {
		refs, err := r.Next(1 << 20)
		require.NoError(t, err)
		if len(refs) == 0 {
			break
		}
		for i := range refs {
			met[refs[i].Header.Log()] = refs[i].Header.End()
		}
	}
	for shard := wire.Shard(0); shard < 300; shard += 3 {
		log := wire.LogID{Site: 5, Shard: shard}
		require.Equal(t, w.tails[log].Position, met[log])
	}

	r2, tails, gone, err := j.ReadBeyond(func(log wire.LogID) wire.Position { return before[log] })
	require.NoError(t, err)
	defer r2.Close()
	require.Empty(t, gone)
	require.Len(t, tails, 300, "where each log ends there")
}

// TestYoungerIncarnationCoversWithoutATable: one that began and ended within a segment is in no
// table of tails; where its START came says that what is older lies before it.
func TestYoungerIncarnationCoversWithoutATable(t *testing.T) {
	j, _ := reopen(t, testOptions(vfs.NewMem(vfs.MemOptions{})), nil)
	w := newWriter(5)
	stage := func(b wire.BatchRef) wire.Position {
		_, err := j.Stage([]wire.BatchRef{b}, nil)
		require.NoError(t, err)
		require.NoError(t, flush(j))
		return b.Header.End()
	}
	stage(w.open(t, 0, 2))
	for range 12 {
		stage(w.batch(0, 7000))
	}
	short := stage(w.open(t, 0, 3))
	stage(w.open(t, 0, 4))
	for range 12 {
		stage(w.batch(0, 7000))
	}
	n, err := j.Reclaim(func(wire.LogID) wire.Position { return short })
	require.NoError(t, err)
	require.NotZero(t, n)
	require.Empty(t, j.NotRetained(func(wire.LogID) wire.Position { return short }))
	require.NoError(t, j.Close())
}
