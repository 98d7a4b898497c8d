package vfstest

import (
	"bytes"
	"fmt"
	"path"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine/store/vfs"
)

// QueueConformance is what the queues of every disk that has them must pass. open
// returns a fresh disk and a directory that is there.
func QueueConformance(t *testing.T, open func(t *testing.T) (d vfs.Queuer, dir string)) {
	for _, buffered := range []bool{false, true} {
		for _, c := range []struct {
			name string
			test func(t *testing.T, r *queueRig)
		}{
			{"WritesOfAllShapesAreThere", writesOfAllShapesAreThere},
			{"AWriteOfMorePartsThanTheKernelTakes", aWriteOfVeryManyParts},
			{"ManyRoundsAtFullDepth", manyRoundsAtFullDepth},
			{"AWakeEndsASleep", aWakeEndsASleep},
			{"AWriteToAClosedFileFails", aWriteToAClosedFileFails},
			{"CloseWaitsForWhatIsUnderWay", closeWaitsForWhatIsUnderWay},
		} {
			t.Run(fmt.Sprintf("%s/buffered=%v", c.name, buffered), func(t *testing.T) {
				d, dir := open(t)
				q, err := d.OpenQueue(vfs.QueueOptions{Depth: queueDepth, Buffered: buffered})
				require.NoError(t, err)
				f, err := d.Create(path.Join(dir, "f"))
				require.NoError(t, err)
				r := &queueRig{q: q, f: f}
				c.test(t, r)
				if !r.closed {
					require.NoError(t, q.Close())
				}
				if r.f != nil {
					require.NoError(t, f.Close())
				}
				t.Log(q.About())
			})
		}
	}
}

const queueDepth = 8

type queueRig struct {
	q      vfs.Queue
	f      vfs.File
	under  []uint64
	closed bool
}

func (r *queueRig) write(parts [][]byte, off int64, user uint64) {
	r.q.Write(r.f, parts, off, user)
	r.under = append(r.under, user)
}

// end waits until no more than so many are under way.
func (r *queueRig) end(t *testing.T, left int) {
	t.Helper()
	for len(r.under) > left {
		for _, w := range r.q.Wait(nil, true) {
			require.NoError(t, w.Err)
			i := slices.Index(r.under, w.User)
			require.GreaterOrEqual(t, i, 0, "user %d ended twice or never began", w.User)
			r.under = slices.Delete(r.under, i, i+1)
		}
	}
}

// pattern is n bytes that tell where they belong.
func pattern(n, seed int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8*13 + seed*31)
	}
	return b
}

func writesOfAllShapesAreThere(t *testing.T, r *queueRig) {
	const block = 4096
	var want []byte
	for i, sizes := range [][]int{
		{block}, {128, 300, block - 428}, {100, 5, 0, 7}, {128, 64 << 10, block - 128}, {1 << 20},
		{8 * block, 300 << 10, 4 * block}, {3}, {2 * block}, slices.Repeat([]int{512}, 600),
	} {
		var parts [][]byte
		for k, n := range sizes {
			parts = append(parts, pattern(n, i+k))
		}
		at := len(want)
		want = append(want, bytes.Join(parts, nil)...)
		r.write(parts, int64(at), uint64(1000+i))
		r.end(t, queueDepth-1)
	}
	r.end(t, 0)
	require.True(t, bytes.Equal(want, read(t, r.f)))
}

func aWriteOfVeryManyParts(t *testing.T, r *queueRig) {
	var parts [][]byte
	for i := range 5000 {
		parts = append(parts, bytes.Repeat([]byte{byte(i)}, i%700))
	}
	r.write(parts, 4096, 1)
	r.end(t, 0)
	require.True(t, bytes.Equal(bytes.Join(parts, nil), read(t, r.f)[4096:]))
	require.Len(t, parts[6], 6, "the caller's parts stay as they were")
}

func manyRoundsAtFullDepth(t *testing.T, r *queueRig) {
	const rounds, block = 400, 4096
	blocks := make([][]byte, rounds)
	for i := range rounds {
		blocks[i] = pattern(block*(1+i%3), i)
	}
	off := int64(0)
	for i, b := range blocks {
		r.write([][]byte{b[:128], b[128:]}, off, uint64(i))
		off += int64(len(b))
		r.end(t, queueDepth-1)
	}
	r.end(t, 0)
	require.True(t, bytes.Equal(bytes.Join(blocks, nil), read(t, r.f)))
}

func aWakeEndsASleep(t *testing.T, r *queueRig) {
	r.q.Wake() // not idle: it does nothing
	require.Empty(t, r.q.Wait(nil, true), "nothing under way and not idle")
	for range 100 {
		r.q.Idle()
		woken := make(chan struct{})
		go func() { // ends with its one wake
			r.q.Wake()
			close(woken)
		}()
		require.Empty(t, r.q.Wait(nil, true))
		<-woken
	}
	require.EqualValues(t, 100, r.q.Wakes())
	r.q.Idle()
	r.q.Busy()
	r.q.Wake()
	require.Empty(t, r.q.Wait(nil, true))
	require.EqualValues(t, 100, r.q.Wakes())
}

func aWriteToAClosedFileFails(t *testing.T, r *queueRig) {
	require.NoError(t, r.f.WriteAt([][]byte{{1}}, 0))
	require.NoError(t, r.f.Close())
	r.q.Write(r.f, [][]byte{pattern(4096, 1)}, 0, 7)
	done := r.q.Wait(nil, true)
	require.Len(t, done, 1)
	require.EqualValues(t, 7, done[0].User)
	require.Error(t, done[0].Err)
	require.NoError(t, r.q.Close())
	r.closed, r.f = true, nil
}

func closeWaitsForWhatIsUnderWay(t *testing.T, r *queueRig) {
	for i := range queueDepth {
		r.write([][]byte{pattern(4096, i)}, int64(4096*i), uint64(i))
	}
	require.NoError(t, r.q.Close())
	r.closed = true
}
