package demo

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine/store/vfs"
)

func TestWalkMeetsEveryKindOnBothSites(t *testing.T) {
	w := newWalk()
	kinds := map[walkStep]bool{}
	for range 2 * 2 * 2 * len(vfs.FailpointOps()) { // near and far, sites, before and after
		s := w.next()
		require.Contains(t, []int{1, farFrom + 1}, s.point.Call)
		kinds[s] = true
		w.note(s, true)
	}
	require.Len(t, kinds, 8*len(vfs.FailpointOps()))
	require.Equal(t, 2, w.next().point.Call)
}

func TestWalkGoesNoFurtherThanAServerDoes(t *testing.T) {
	w := newWalk()
	far := map[walkLane]int{}
	for range 1000 {
		s := w.next()
		reached := s.point.Op != vfs.OpRename || s.point.Call <= 3
		w.note(s, reached)
		if !reached {
			far[s.walkLane]++
		}
	}
	for lane, n := range far {
		require.Equal(t, vfs.OpRename, lane.op)
		require.LessOrEqual(t, n, 2, "the far one once, then the fourth")
	}
	v := &CrashVerdict{}
	require.NoError(t, w.complete(v))
	require.True(t, v.OK)
}

func TestWalkThatNeverReachedAKindIsInvalid(t *testing.T) {
	w := newWalk()
	s := w.next()
	w.note(s, false)
	v := &CrashVerdict{}
	require.ErrorIs(t, w.complete(v), errUnwalked)
	require.ErrorContains(t, w.complete(v), "create:1:before at site-a")
	require.False(t, v.OK)
}
