package journal

import (
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/claudefs/repl/wire"
)

// house does what a caller's housework does beside flushes: gives back what is
// covered when a file is needed, and lets zeros be made where that gave none.
func house(t *testing.T, j *Journal, floor func(wire.LogID) wire.Position) {
	t.Helper()
	if j.NeedsSpare() {
		_, err := j.Reclaim(floor)
		require.NoError(t, err)
	}
	for more := true; more; {
		var err error
		more, err = j.Prepare()
		require.NoError(t, err)
	}
}

// TestSteadyStreamGoesRoundInTheSameFiles: once peers keep up, no file is made,
// zeroed or removed any more, whatever their lag (I10, I12).
func TestSteadyStreamGoesRoundInTheSameFiles(t *testing.T) {
	for _, lag := range []int{0, 15, 60} { // batches that nobody but us has yet
		o := testOptions(vfs.NewMem(vfs.MemOptions{}))
		j, _ := reopen(t, o, nil)
		w := newWriter(5)
		var ends []wire.Position
		write := func(batches int) {
			for range batches {
				b := w.batch(0, 3000)
				ends = append(ends, b.Header.End())
				_, err := j.Stage([]wire.BatchRef{b}, nil)
				require.NoError(t, err)
				require.NoError(t, flush(j))
				house(t, j, func(wire.LogID) wire.Position {
					if len(ends) <= lag {
						return wire.Position{}
					}
					return ends[len(ends)-1-lag]
				})
			}
		}
		write(200)
		warm := j.Stats()
		write(2000)
		now := j.Stats()
		require.Equal(t, warm.ZeroedBytes, now.ZeroedBytes, "lag %d", lag)
		require.Equal(t, warm.Zeroed, now.Zeroed, "lag %d", lag)
		require.Equal(t, warm.Removed, now.Removed, "lag %d", lag)
		require.Greater(t, now.Recycled, warm.Recycled+30, "lag %d", lag)
		require.LessOrEqual(t, now.Segments+now.Spare, warm.Segments+warm.Spare+1, "lag %d", lag)
	}
}

// TestFilesGivenBackInBurstsGoRoundToo: floors that rise seldom give many segments
// back at once; as many stay as the next stretch needs, within a bound, and what
// is too much goes when the journal rests (I10).
func TestFilesGivenBackInBurstsGoRoundToo(t *testing.T) {
	o := testOptions(vfs.NewMem(vfs.MemOptions{}))
	o.SpareBusyMax = 12
	j, _ := reopen(t, o, nil)
	w := newWriter(5)
	burst := func(batches int) Stats {
		for range batches {
			_, err := j.Stage([]wire.BatchRef{w.batch(0, 3000)}, nil)
			require.NoError(t, err)
			require.NoError(t, flush(j))
		}
		_, err := j.Reclaim(func(log wire.LogID) wire.Position { return w.tails[log].Position })
		require.NoError(t, err)
		require.LessOrEqual(t, j.Stats().Spare, o.SpareBusyMax)
		return j.Stats()
	}
	warm := burst(90)
	require.Greater(t, warm.Spare, o.SpareMax)
	for range 5 {
		burst(90)
	}
	now := burst(90)
	require.LessOrEqual(t, now.ZeroedBytes, warm.ZeroedBytes+uint64(2*o.SegmentBytes))
	require.LessOrEqual(t, now.Removed, warm.Removed+2)
	more := burst(400)
	require.Equal(t, o.SpareBusyMax, more.Spare)
	require.Greater(t, more.Removed, now.Removed)

	require.NoError(t, j.Trim())
	require.Equal(t, 2, j.Stats().Spare, "SpareMax at rest")
	files, err := o.FS.List(o.Dir)
	require.NoError(t, err)
	require.Len(t, files, 1+2+2, "the lock, the newest two, the spares")
}

// TestFailedReclaimGoesFirst: else the next Open takes what is
// missing between two segments for damage (I9, I12).
func TestFailedReclaimGoesFirst(t *testing.T) {
	synced := 0 // flushes of the directory before Reclaim
	for _, f := range []vfs.Fault{
		{}, // nothing fails, and calls are counted
		{Op: vfs.OpRename, Match: "segment-*", Call: 1},
		{Op: vfs.OpRename, Match: "segment-*", Call: 2},
		{Op: vfs.OpRemove, Match: "segment-*", Call: 1},
		{Op: vfs.OpSyncDir, Call: 1},
	} {
		if f.Op == vfs.OpSyncDir {
			f.Call += synced
		}
		mem := vfs.NewMem(vfs.MemOptions{})
		faulty := vfs.WithFaults(mem, f)
		o := testOptions(faulty)
		o.SpareBusyMax = 2
		j, _ := reopen(t, o, nil)
		w := newWriter(5)
		for range 40 {
			_, err := j.Stage([]wire.BatchRef{w.batch(0, 9000)}, nil)
			require.NoError(t, err)
			require.NoError(t, flush(j))
		}
		segments := j.Stats().Segments
		require.Greater(t, segments, 5)
		if f.Op == vfs.OpAny {
			synced = faulty.Calls(vfs.OpSyncDir)
			continue
		}
		served := func(log wire.LogID) wire.Position { return w.tails[log].Position }
		gone, err := j.Reclaim(served)
		require.ErrorIs(t, err, syscall.EIO)
		again, err := j.Reclaim(served)
		require.NoError(t, err)
		require.Equal(t, segments-2, gone+again, "all but the newest two heads")
		require.Equal(t, 2, j.Stats().Spare)
		m := imageOf(t, mem, "j")
		r, err := m.recover(o)
		require.NoError(t, err)
		require.Empty(t, r.report.Damage)
		require.EqualValues(t, 40, r.unit)
	}
}
