package journal

import (
	"fmt"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/claudefs/repl/wire"
)

// TestLackOfDescriptorsIsWaitedOut: whatever call that begins a segment finds no
// descriptor or memory, the unit waits, its flush is begun again, and nothing of it is
// lost or there twice (I1, I3).
func TestLackOfDescriptorsIsWaitedOut(t *testing.T) {
	for _, depth := range []int{1, 4} {
		for _, f := range []vfs.Fault{
			{Op: vfs.OpCreate, Match: "*.seg"}, {Op: vfs.OpOpen, Match: "*.seg"}, {Op: vfs.OpSyncDir},
			{Op: vfs.OpRename, Match: "*.seg"}, {Op: vfs.OpWrite, Match: "new-*"}, {Op: vfs.OpTruncate, Match: "*.seg"},
		} {
			for _, lack := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM} {
				waited := 0
				for f.Call, f.Err = 1, lack; f.Call < 8; f.Call++ {
					waited += waitOut(t, f, depth)
				}
				require.Positive(t, waited, "%v %v", f, lack)
			}
		}
	}
}

// waitOut writes through one failing call and returns how often it was waited for.
func waitOut(t *testing.T, f vfs.Fault, depth int) (waited int) {
	t.Helper()
	what := fmt.Sprintf("%+v, depth %d", f, depth)
	mem := vfs.NewMem(vfs.MemOptions{})
	o := testOptions(mem)
	j, _ := reopen(t, o, nil)
	require.NoError(t, j.Close())
	o.FS = vfs.WithFaults(mem, f)
	j, _, err := Open(o)
	if err != nil {
		require.ErrorIs(t, err, f.Err, "an opening decides nothing")
		return 0
	}
	p := j.OpenPipeline(PipelineOptions{Depth: depth})
	w := newWriter(5)
	var want []string
	for range 40 {
		b := w.batch(0, 3000)
		want = append(want, string(b.Bytes))
		_, err := j.Stage([]wire.BatchRef{b}, nil)
		require.NoError(t, err)
		for j.StagedBytes() > 0 || p.Inflight() > 0 {
			p.Begin()
			if _, err := p.End(); err != nil {
				require.ErrorIs(t, err, ErrExhausted, what)
				require.ErrorIs(t, err, f.Err, what)
				require.Zero(t, p.Inflight(), what)
				waited++
			}
		}
	}
	require.LessOrEqual(t, waited, 1, what)
	require.NoError(t, j.Err(), what)
	require.NoError(t, p.Close())
	require.NoError(t, j.Close(), what)
	o.FS = mem
	j, rec, err := Open(o)
	require.NoError(t, err)
	require.Empty(t, rec.Damage, what)
	got, errs := readAll(j, 1)
	require.Empty(t, errs, what)
	require.Len(t, got, len(want), what)
	for i := range got {
		require.Equal(t, want[i], string(got[i]), what)
	}
	return waited
}
