package journal

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/claudefs/repl/wire"
)

// big is an owner of much memory.
type big struct {
	counter
	bytes, ended int
}

func (b *big) MemoryBytes() int { return b.bytes }
func (b *big) FlushEnded()      { b.ended++ }

func stageAndFlush(t *testing.T, j *Journal, w *writer, shard wire.Shard, o Releaser) {
	t.Helper()
	_, err := j.Stage([]wire.BatchRef{w.batch(shard, 100)}, o)
	require.NoError(t, err)
	require.NoError(t, flush(j))
}

func recentOptions(bytesMax int64) Options {
	o := testOptions(vfs.NewMem(vfs.MemOptions{}))
	o.RecentBytesMax = bytesMax
	return o
}

func TestReaderThatKeepsUpReadsNoFile(t *testing.T) {
	j, _ := reopen(t, recentOptions(1<<20), nil)
	w := newWriter(5)
	r := j.NewReader(1)
	defer r.Close()
	for range 100 { // over several segments
		stageAndFlush(t, j, w, 0, &counter{})
		refs, err := r.Next(4096)
		require.NoError(t, err)
		require.Len(t, refs, 1)
		require.NoError(t, wire.VerifyBody(&refs[0].Header, refs[0].Body()))
		require.Equal(t, j.Durable(), r.Unit())
		require.Zero(t, r.Backlog())
		refs, err = r.Next(4096)
		require.NoError(t, err)
		require.Empty(t, refs)
	}
	require.Greater(t, j.Stats().Segments, 2)
	require.Zero(t, j.Stats().FileReadBytes)
}

func TestWhatEveryReaderHasPassedIsGivenBackSoon(t *testing.T) { // I10
	const recentBytes = 64_000
	j, _ := reopen(t, recentOptions(recentBytes), nil)
	w := newWriter(5)
	ahead, behind := j.NewReader(1), j.NewReader(1)
	defer ahead.Close()
	put := func(n int) {
		for range n {
			stageAndFlush(t, j, w, 0, &big{bytes: 1000})
			_, err := ahead.Next(1)
			require.NoError(t, err)
		}
	}
	put(30)
	require.Greater(t, j.Stats().RecentBytes, int64(30_000), "one reader is still to come")
	for range 30 {
		refs, err := behind.Next(1)
		require.NoError(t, err)
		require.Len(t, refs, 1)
	}
	require.Zero(t, j.Stats().FileReadBytes)
	behind.Close()
	put(3) // what the last one lent comes back, then the rest
	require.LessOrEqual(t, j.Stats().RecentBytes, int64(recentBytes/passedShare+2*2000))
	require.Positive(t, j.Stats().RecentBytes)
	ahead.Close()
	for range 30 {
		stageAndFlush(t, j, w, 0, &big{bytes: 1000})
	}
	require.Greater(t, j.Stats().RecentBytes, int64(30_000), "a reader may come back")
}

func TestLentBatchLastsUntilNextRead(t *testing.T) {
	j, _ := reopen(t, recentOptions(5000), nil)
	w := newWriter(5)
	first, second := &big{bytes: 3000}, &big{bytes: 3000}
	r := j.NewReader(1)
	defer r.Close()
	stageAndFlush(t, j, w, 0, first)
	require.Equal(t, 1, first.ended, "told at the flush")
	refs, err := r.Next(1)
	require.NoError(t, err)
	require.Len(t, refs, 1)
	stageAndFlush(t, j, w, 0, second)
	require.LessOrEqual(t, j.Stats().RecentBytes, int64(5000), "I10: by capacity, not by length")
	require.Zero(t, first.n, "evicted and still lent")
	_, err = r.Next(1)
	require.NoError(t, err)
	require.Equal(t, 1, first.n)
	stageAndFlush(t, j, w, 0, &big{bytes: 3000})
	require.NoError(t, j.Close())
	require.Zero(t, second.n, "a reader has it")
	r.Close()
	require.Equal(t, 1, second.n)
	require.Equal(t, 1, second.ended)
}

func TestReaderThatFellBehindGoesOnFromTheFile(t *testing.T) {
	j, _ := reopen(t, recentOptions(4000), nil)
	w := newWriter(5)
	for range 30 {
		stageAndFlush(t, j, w, 0, nil)
	}
	got, errs := readAll(j, 1)
	require.Empty(t, errs)
	require.Len(t, got, 30)
	require.Greater(t, j.Stats().FileReadBytes, uint64(0))
}

func TestMemoryOfTwoUnitsGoesWithTheLater(t *testing.T) {
	j, _ := reopen(t, recentOptions(20_000), nil)
	w := newWriter(5)
	var batches []wire.BatchRef
	for range 5 {
		batches = append(batches, w.batch(0, 6000)) // two to a unit
	}
	o := &counter{}
	_, err := j.Stage(batches, o)
	require.NoError(t, err)
	r := j.NewReader(1)
	defer r.Close()
	f := j.BeginFlush()
	require.NoError(t, f.Write())
	require.NoError(t, f.Sync())
	_, err = j.EndFlush(f, nil)
	require.NoError(t, err)
	refs, err := r.Next(1)
	require.NoError(t, err)
	require.NotEmpty(t, refs)
	require.NoError(t, flush(j))
	for range 10 {
		stageAndFlush(t, j, w, 1, nil)
		_, err := j.Stage([]wire.BatchRef{w.batch(2, 6000)}, nil)
		require.NoError(t, err)
		require.NoError(t, flush(j))
	}
	require.Zero(t, o.n, "the units behind are gone, the first is lent")
	_, err = r.Next(1)
	require.NoError(t, err)
	require.Equal(t, 1, o.n)
}

func TestLentMemoryThatIsWrittenToIsFoundOut(t *testing.T) {
	j, _ := reopen(t, recentOptions(1<<20), nil)
	b := newWriter(5).batch(0, 100)
	_, err := j.Stage([]wire.BatchRef{b}, &counter{})
	require.NoError(t, err)
	require.NoError(t, flush(j))
	r := j.NewReader(1)
	defer r.Close()
	b.Bytes[9]++
	require.Panics(t, func() { _, _ = r.Next(1) })
}

func TestReclaimedSegmentTakesRecentUnits(t *testing.T) { // I12
	j, _ := reopen(t, recentOptions(1<<20), nil)
	w, o := newWriter(5), &counter{}
	stageAndFlush(t, j, w, 0, o)
	for j.Stats().Segments < 3 {
		stageAndFlush(t, j, w, 0, nil)
	}
	gone, err := j.Reclaim(func(log wire.LogID) wire.Position {
		tail, _ := j.Tail(log)
		return tail.Position
	})
	require.NoError(t, err)
	require.Positive(t, gone)
	require.Equal(t, 1, o.n)
}
