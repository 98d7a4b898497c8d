//go:build !giouring

package uring

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/claudefs/repl/wire"
	"github.com/claudefs/repl/wire/link"
)

// A link whose rings fail goes on by system calls, and says so; the rings are not used
// again (I14).
func TestLinkGoesOnWithoutRings(t *testing.T) {
	if err := Supported(); err != nil {
		t.Skip(err)
	}
	tr, err := NewTransport(TransportOptions{})
	require.NoError(t, err)
	n, err := tr.Listen("127.0.0.1:0")
	require.NoError(t, err)
	dialed, err := tr.Dial(context.Background(), n.Addr())
	require.NoError(t, err)
	accepted, err := n.Accept()
	require.NoError(t, err)

	c := dialed.(*Conn)
	for _, caller := range []*Caller{c.sending, c.receiving} {
		caller.enterFD = -1 // as of a kernel that has had enough
	}
	const bodyBytes = 100 << 10
	frame := append(wire.AppendBatchesEnvelope(nil, &wire.Envelope{Kind: wire.FrameBatches, BatchCount: 1,
		WireBytes: bodyBytes, Session: 1, Number: 1}), make([]byte, bodyBytes)...)
	for range 3 {
		for _, pair := range [][2]link.Conn{{dialed, accepted}, {accepted, dialed}} {
			sent := make(chan error, 1)
			go func() { sent <- pair[0].Send([][]byte{frame[:7], frame[7:]}) }() // ends when all of it was read
			got, err := pair[1].Recv()
			require.NoError(t, err)
			require.Equal(t, bodyBytes, len(got.Body()))
			got.Release()
			require.NoError(t, <-sent)
		}
	}
	s := tr.Stats()
	require.EqualValues(t, 2, s.Refused)
	require.Positive(t, s.Plain)
	require.Contains(t, s.Reason, "io_uring_enter: bad file descriptor")
	idle := len(tr.callers.idle)
	require.NoError(t, dialed.Close())
	require.Len(t, tr.callers.idle, idle)
	require.NoError(t, accepted.Close())
	require.Len(t, tr.callers.idle, idle+2)
	require.NoError(t, n.Close())
	require.NoError(t, tr.Close())
	require.Empty(t, tr.callers.idle)
	require.Zero(t, tr.callers.rings.Load())
}

// revoke has the kernel give up what a ring has under way, if anything is yet.
func revoke(t *testing.T, fd int) {
	const syncCancel, cancelAny = 24, 1 << 2
	type request struct { // struct io_uring_sync_cancel_reg
		address uint64
		fd      int32
		flags   uint32
		timeout [2]int64
		rest    [4]uint64
	}
	r := request{fd: -1, flags: cancelAny, timeout: [2]int64{-1, -1}}
	_, _, errno := unix.Syscall6(unix.SYS_IO_URING_REGISTER, uintptr(fd), syncCancel,
		uintptr(unsafe.Pointer(&r)), 1, 0, 0)
	require.Contains(t, []unix.Errno{0, unix.ENOENT, unix.EALREADY}, errno)
}

// TestWhatTheKernelGivesUpIsSubmittedAgain, and not for ever (I10): Linux does so where
// signals keep a thread's worker from being made.
func TestWhatTheKernelGivesUpIsSubmittedAgain(t *testing.T) {
	if err := Supported(); err != nil {
		t.Skip(err)
	}
	var counts callCounts
	c, err := openCaller(SetupBest, &counts)
	require.NoError(t, err)
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	type result struct {
		n   int
		err error
	}
	receive := func() chan result {
		done := make(chan result, 1)
		go func() { // ends with a byte, or with the last try
			c.memory = make([]byte, 8)
			c.op().Recv(0, pair[0], c.memory, 0)
			n, err := c.call()
			done <- result{n, err}
		}()
		return done
	}

	done := receive()
	for counts.revoked.Load() < 3 && len(done) == 0 {
		revoke(t, c.fd)
	}
	_, err = unix.Write(pair[1], []byte{1})
	require.NoError(t, err)
	require.Equal(t, result{n: 1}, <-done)

	done = receive()
	for len(done) == 0 {
		revoke(t, c.fd)
	}
	require.Equal(t, result{err: unix.ECANCELED}, <-done)
	require.NoError(t, c.close())
}

// The same of a journal's queue: a full pipe stands for a disk that makes writes wait.
func TestWriteThatTheKernelGivesUpIsSubmittedAgain(t *testing.T) {
	if err := Supported(); err != nil {
		t.Skip(err)
	}
	d, err := OpenDisk(DiskOptions{})
	require.NoError(t, err)
	name := filepath.Join(t.TempDir(), "pipe")
	require.NoError(t, unix.Mkfifo(name, 0o600))
	out, err := os.OpenFile(name, os.O_RDWR, 0)
	require.NoError(t, err)
	f, err := d.Open(name)
	require.NoError(t, err)
	queue, err := d.OpenQueue(vfs.QueueOptions{Depth: 1, Buffered: true})
	require.NoError(t, err)
	const pipeBytes = 64 << 10
	_, err = out.Write(make([]byte, pipeBytes))
	require.NoError(t, err)

	q, done := queue.(*diskQueue), make(chan []vfs.Written, 1)
	q.Write(f, [][]byte{make([]byte, 4096)}, 0, 7)
	q.start(false)                            // by the ring, although it is alone
	go func() { done <- q.Wait(nil, true) }() // ends when the pipe is read
	for d.Stats().Revoked < 3 && len(done) == 0 {
		revoke(t, q.ring.FD())
	}
	_, err = out.Read(make([]byte, pipeBytes))
	require.NoError(t, err)
	select {
	case w := <-done:
		require.Equal(t, []vfs.Written{{User: 7}}, w)
	case <-time.After(time.Minute):
		t.Fatal("the write did not end")
	}
	require.NoError(t, q.Close())
	require.NoError(t, f.Close())
	require.NoError(t, out.Close())
	require.NoError(t, d.Close())
}
