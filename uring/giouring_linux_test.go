//go:build giouring

package uring_test

import (
	"runtime"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/pawelgaczynski/giouring"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/claudefs/repl/uring"
)

// These tests show the faults that docs/giouring.md lists: they pass as long as
// the faults are there. The ring is giouring's own, without ours around it.
func bare(t *testing.T, flags uint32) *giouring.Ring {
	t.Helper()
	needRing(t)
	runtime.LockOSThread()
	r := giouring.NewRing()
	require.NoError(t, r.QueueInit(8, flags))
	t.Cleanup(func() {
		r.QueueExit()
		runtime.UnlockOSThread()
	})
	return r
}

// answerOf submits and returns the next result, or false after 50 ms.
func answerOf(t *testing.T, r *giouring.Ring) (res int32, ok bool) {
	t.Helper()
	limit := mapped(t, 4096)
	// Unsafe rule 1: the mapping is larger than the two integers.
	spec := (*syscall.Timespec)(unsafe.Pointer(&limit[0]))
	spec.Nsec = int64(50 * time.Millisecond)
	_, err := r.SubmitAndWaitTimeout(1, spec, nil)
	if err == unix.ETIME {
		return 0, false
	}
	require.NoError(t, err)
	count := uint32(0)
	r.ForEachCQE(func(e *giouring.CompletionQueueEvent) {
		if count++; !ok { // a second one would be a notification
			res, ok = e.Res, true
		}
	})
	r.CQAdvance(count)
	return res, ok
}

func TestGiouringSendZCSendsTheSliceHeader(t *testing.T) {
	need(t, uring.FeatureSendZC)
	r := bare(t, 0)
	a, b := pair(t)
	data := fill(mapped(t, 24), 0)
	s := r.GetSQE()
	*s = giouring.SubmissionQueueEntry{}
	s.PrepareSendZC(a, data, 0, 0)
	res, _ := answerOf(t, r)
	require.Equal(t, int32(24), res)
	in := make([]byte, 24)
	_, err := unix.Read(b, in)
	require.NoError(t, err)
	require.False(t, isPattern(in, 0), "fixed: it sent the bytes")
}

func TestGiouringPrepareKeepsOldFlags(t *testing.T) {
	r := bare(t, 0)
	s := r.GetSQE()
	*s = giouring.SubmissionQueueEntry{OpcodeFlags: unix.MSG_NOSIGNAL}
	s.PrepareWrite(file(t), uintptr(unsafe.Pointer(&mapped(t, 8)[0])), 8, 0)
	res, _ := answerOf(t, r)
	require.Equal(t, -int32(unix.EOPNOTSUPP), res)
}

func TestGiouringTimeoutReadsWrongPlace(t *testing.T) {
	s := new(giouring.SubmissionQueueEntry)
	spec := &syscall.Timespec{}
	s.PrepareTimeout(spec, 0, 0)
	require.NotEqual(t, uint64(uintptr(unsafe.Pointer(spec))), s.Addr)
}

func TestGiouringRegisterFilesLosesErrors(t *testing.T) {
	r := bare(t, 0)
	_, err := r.RegisterFiles([]int{999999})
	require.NoError(t, err, "fixed: it tells the error")
	fd := file(t)
	_, err = r.RegisterFiles([]int{fd, fd})
	require.NoError(t, err)
	s := r.GetSQE()
	*s = giouring.SubmissionQueueEntry{}
	s.PrepareFsync(1, 0)
	s.Flags = uint8(giouring.SqeFixedFile)
	res, _ := answerOf(t, r)
	require.NotZero(t, res, "fixed: the second place holds the file")
}

func TestGiouringCannotUnregisterItsRing(t *testing.T) {
	need(t, uring.FeatureSubmitAll) // registered rings came with the same kernel
	r := bare(t, 0)
	_, err := r.RegisterRingFd()
	require.NoError(t, err)
	_, err = r.UnregisterRingFd()
	require.ErrorIs(t, err, unix.EINVAL)
	// So that the test leaves nothing behind: by hand, as the kernel wants it.
	arg := &giouring.RsrcUpdate{}
	_, errno := r.Register(r.RingFd(), giouring.UnregisterRingFDs, unsafe.Pointer(arg), 1)
	require.Zero(t, errno)
}

func TestGiouringBufferIndexWrapsAt4096(t *testing.T) {
	memory := mapped(t, 8192*16)
	// Unsafe rule 1: the mapping holds 8,192 of these 16-byte entries.
	ring := (*giouring.BufAndRing)(unsafe.Pointer(&memory[0]))
	ring.BufRingAdd(1, 77, 5000, giouring.BufRingMask(8192), 5000)
	require.Zero(t, memory[5000*16+8], "fixed: entry 5000 was written")
	require.Equal(t, byte(77), memory[(5000-4096)*16+8])
}
