package journal

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/claudefs/repl/wire"
)

// A file that lost its end holds units that all look whole: none of them proves
// that its log does not go on (I9).
func TestLogsOfAShortenedFileAreSuspect(t *testing.T) {
	m := vfs.NewMem(vfs.MemOptions{})
	o := testOptions(m)
	j, _, err := Open(o)
	require.NoError(t, err)
	w := newWriter(o.Site)
	for range 10 {
		b := w.batch(3, 100)
		_, err := j.Stage([]wire.BatchRef{b}, nil)
		require.NoError(t, err)
		require.NoError(t, flush(j))
	}
	require.NoError(t, j.Close())
	f, err := m.Open("j/segment-0000000000000001.seg")
	require.NoError(t, err)
	require.NoError(t, f.Truncate(7*BlockBytes))
	require.NoError(t, f.Close())

	j, r, err := Open(o)
	require.NoError(t, err)
	require.Len(t, r.Damage, 1)
	require.Equal(t, []wire.LogID{{Site: o.Site, Shard: 3}}, r.Suspect)
	next := w.batch(3, 100)
	_, err = j.Stage([]wire.BatchRef{next}, nil)
	require.ErrorIs(t, err, ErrDamaged)
}
