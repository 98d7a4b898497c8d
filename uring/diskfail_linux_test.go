package uring

import (
	"errors"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine/store/vfs"
)

// A ring that fails ends its writes with the error and gives their memory back: what
// stayed pinned would end the program when the queue is collected (I1, I10).
func TestQueueWhoseRingFailsLeavesNothingPinned(t *testing.T) {
	if err := Supported(); err != nil {
		t.Skip(err)
	}
	d, err := OpenDisk(DiskOptions{})
	require.NoError(t, err)
	defer d.Close()
	f, err := d.Create(filepath.Join(t.TempDir(), "f"))
	require.NoError(t, err)
	defer f.Close()
	broken := errors.New("broken")
	for _, submitted := range []bool{false, true} {
		func() {
			opened, err := d.OpenQueue(vfs.QueueOptions{Depth: 4, Buffered: true})
			require.NoError(t, err)
			q := opened.(*diskQueue)
			for user := range uint64(3) { // one is with the kernel, two are in line
				q.Write(f, [][]byte{make([]byte, 64<<10)}, int64(user)<<16, user)
			}
			q.start(true)
			if submitted {
				require.NoError(t, q.ring.Submit())
			}
			q.fail(broken)
			done := q.Wait(nil, true)
			require.Len(t, done, 3)
			require.Equal(t, 0, q.inflight())
			if !submitted { // the kernel has nothing of it: no ring is needed
				for _, w := range done {
					require.NoError(t, w.Err)
				}
				q.Write(f, [][]byte{make([]byte, 64<<10)}, 0, 9)
				require.Equal(t, []vfs.Written{{User: 9}}, q.Wait(nil, true))
				require.Contains(t, q.About(), "system calls, one write at a time: no ring: broken")
				require.EqualValues(t, 1, d.Stats().Refused)
				require.NoError(t, q.Close())
				return
			}
			for _, w := range done {
				require.ErrorIs(t, w.Err, broken)
			}
			q.Write(f, [][]byte{make([]byte, 64<<10)}, 0, 9)
			require.ErrorIs(t, q.Wait(nil, true)[0].Err, broken)
			require.ErrorIs(t, q.Close(), broken)
		}()
		// Finalizers run one behind the other: with this one those before it have run.
		for range 2 {
			ran := make(chan struct{})
			runtime.SetFinalizer(new([16]byte), func(*[16]byte) { close(ran) })
			for collected := false; !collected; {
				runtime.GC()
				select {
				case <-ran:
					collected = true
				default:
				}
			}
		}
	}
}
