//go:build !giouring

package uring

import (
	"context"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/claudefs/repl/wire"
	"github.com/claudefs/repl/wire/link"
)

// breaker makes the next enter fail (giouring keeps its descriptor to itself), as a kernel that has had enough would.
type breaker struct{ op }

func (b *breaker) start(l *Loop) bool {
	l.ring.core.enterFD, l.ring.core.enterFlags = -1, 0
	return true
}

func (b *breaker) completed(*Loop, Completion) {}

// A ring that fails while it runs ends what waits for it, with its reason.
func TestARingThatFailsEndsEverythingWithItsReason(t *testing.T) {
	if err := Supported(); err != nil {
		t.Skip(err)
	}
	loop, err := OpenLoop(LoopOptions{})
	require.NoError(t, err)
	tr, err := loop.Transport(TransportOptions{})
	require.NoError(t, err)
	n, err := tr.Listen("127.0.0.1:0")
	require.NoError(t, err)
	dialed, err := tr.Dial(context.Background(), n.Addr())
	require.NoError(t, err)
	accepted, err := n.Accept()
	require.NoError(t, err)
	f, err := loop.FS().Create(filepath.Join(t.TempDir(), "f"))
	require.NoError(t, err)

	lost := make(chan error, 2)
	go func() { _, err := dialed.Recv(); lost <- err }() // ends with the ring
	go func() {                                          // so does this: nobody receives
		large := [][]byte{make([]byte, wire.FrameBytesMax)}
		for {
			if err := accepted.Send(large); err != nil {
				lost <- err
				return
			}
		}
	}()
	gone := make(chan error, 1)
	go func() { _, err := n.Accept(); gone <- err }() // and this
	b := &breaker{}
	b.task = b
	loop.post(&b.op)
	for range 2 {
		err := <-lost
		require.ErrorIs(t, err, link.ErrLost)
		require.ErrorIs(t, err, unix.EBADF)
		require.ErrorContains(t, err, "io_uring")
	}
	require.ErrorIs(t, <-gone, link.ErrClosed)
	require.ErrorIs(t, dialed.Send([][]byte{make([]byte, 300)}), link.ErrLost)
	_, err = tr.Dial(context.Background(), n.Addr())
	require.ErrorIs(t, err, link.ErrUnreachable)
	for range 2 * fileOpsMax {
		err = f.WriteAt([][]byte{{1}}, 0)
		require.ErrorIs(t, err, unix.EBADF)
		require.ErrorContains(t, err, "io_uring")
	}
	require.NoError(t, f.Close())
	require.NoError(t, dialed.Close())
	require.NoError(t, accepted.Close())
	require.NoError(t, n.Close())
	require.ErrorIs(t, loop.Close(), unix.EBADF)
}

// Each poster's operations are taken in their order, none twice, none never.
func TestTheQueueKeepsEachPostersOrder(t *testing.T) {
	const posters, each = 4, 20_000
	type numbered struct {
		op
		poster, number int
	}
	var queue opQueue
	var running sync.WaitGroup
	back := make([]chan *numbered, posters)
	for p := range posters {
		back[p] = make(chan *numbered, 3)
		for range cap(back[p]) {
			back[p] <- &numbered{poster: p}
		}
	}
	taken := map[*op]*numbered{}
	var mu sync.Mutex
	for p := range posters {
		running.Go(func() {
			for i := range each {
				o := <-back[p]
				o.number = i
				mu.Lock()
				taken[&o.op] = o
				mu.Unlock()
				queue.push(&o.op)
			}
		})
	}
	next := [posters]int{}
	deadline := time.Now().Add(20 * time.Second)
	for total := 0; total < posters*each; {
		for o := queue.takeAll(); o != nil; {
			following := o.next
			mu.Lock()
			x := taken[o]
			mu.Unlock()
			require.Equal(t, next[x.poster], x.number)
			next[x.poster]++
			total++
			back[x.poster] <- x
			o = following
		}
		require.True(t, time.Now().Before(deadline))
	}
	running.Wait()
	require.True(t, queue.empty())
}
