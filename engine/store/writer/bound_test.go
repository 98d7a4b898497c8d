package writer

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/claudefs/repl/wire"
)

// TestBoundCoversWhateverIsStaged, also where the clock steps back between an append
// and its flush: what a restart stamps comes behind it (I8).
func TestBoundCoversWhateverIsStaged(t *testing.T) {
	now := noon
	w, j := newWriterOn(t, 2, vfs.NewMem(vfs.MemOptions{}))
	w.o.Now = func() time.Time { return now }
	fill := func(wall time.Time) wire.Stamp {
		staged, err := w.Fill(j, wall)
		require.NoError(t, err)
		require.NotZero(t, staged)
		headers := flush(t, w, j)
		require.NotEmpty(t, headers)
		last := headers[len(headers)-1].LastStamp
		require.GreaterOrEqual(t, j.Control().ClockBound, last)
		return last
	}
	for range 20 {
		_, err := w.Append(0, entry(10), 0)
		require.NoError(t, err)
		fill(now)
		now = now.Add(300 * time.Millisecond)
	}
	now = now.Add(time.Hour)
	_, err := w.Append(1, entry(10), 0)
	require.NoError(t, err)
	last := fill(now.Add(-time.Hour))
	require.GreaterOrEqual(t, last, wire.StampOf(now))
}

// TestBoundIsWrittenTwiceASecond at most, and not without entries.
func TestBoundIsWrittenTwiceASecond(t *testing.T) {
	w, j := newWriter(t, 1)
	bounds := map[wire.Stamp]bool{}
	for i := range 100 {
		_, err := w.Append(0, entry(10), 0)
		require.NoError(t, err)
		_, err = w.Fill(j, noon.Add(time.Duration(i)*50*time.Millisecond))
		require.NoError(t, err)
		flush(t, w, j)
		bounds[j.Control().ClockBound] = true
	}
	require.InDelta(t, 10, len(bounds), 2)
	_, err := w.Fill(j, noon.Add(time.Hour))
	require.NoError(t, err)
	require.Nil(t, j.BeginFlush(), "nothing waits")
}
