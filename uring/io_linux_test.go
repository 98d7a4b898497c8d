package uring_test

import (
	"bytes"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/claudefs/repl/uring"
)

func TestFileIsWrittenDurablyAndReadBack(t *testing.T) {
	onEverySetup(t, func(t *testing.T, r *uring.Ring) {
		fd, out, in := file(t), fill(mapped(t, 64<<10), 0), mapped(t, 64<<10)
		g, err := r.RegisterBuffers([][]byte{out})
		require.NoError(t, err)
		require.Equal(t, 1, g.Buffers, g)
		require.NoError(t, r.RegisterFiles(4))
		require.NoError(t, r.SetFile(2, fd))

		r.Next().Fallocate(1, fd, 0, 0, 128<<10).Link()
		r.Next().WriteFixed(2, fd, out[:32<<10], 0, 0).DSync().Link()
		r.Next().Write(3, 2, out[32<<10:], 32<<10).DSync().FixedFile().Link()
		r.Next().Fsync(4, fd, true).Link()
		r.Next().Read(5, fd, in, 0)
		for i, c := range wait(t, r, 5) {
			require.Equal(t, uint64(i+1), c.User)
			require.NoError(t, c.Err(), "operation %d", c.User)
		}
		require.Equal(t, out, in)
		require.NoError(t, r.SetFile(2, -1))
		r.Next().Write(6, 2, out[:1], 0).FixedFile()
		require.ErrorIs(t, one(t, r, 6).Err(), unix.EBADF)
		require.NoError(t, r.UnregisterFiles())
		require.NoError(t, r.UnregisterBuffers())
	})
}

func TestFailedWriteCancelsItsLinkedFlush(t *testing.T) {
	onEverySetup(t, func(t *testing.T, r *uring.Ring) {
		readOnly, err := os.Open(os.DevNull)
		require.NoError(t, err)
		defer func() { _ = readOnly.Close() }()
		r.Next().Write(1, int(readOnly.Fd()), mapped(t, 512), 0).Link()
		r.Next().Fsync(2, file(t), true)
		for _, c := range wait(t, r, 2) {
			if c.User == 1 {
				require.ErrorIs(t, c.Err(), unix.EBADF)
			} else {
				require.True(t, c.Canceled())
			}
		}
		// Short counts as failed for a link, not for a hard one.
		r.Next().Read(1, int(readOnly.Fd()), mapped(t, 512), 0).Link()
		r.Next().Nop(2)
		for _, c := range wait(t, r, 2) {
			require.Equal(t, c.User == 2, c.Canceled())
		}
		r.Next().Read(1, int(readOnly.Fd()), mapped(t, 512), 0).HardLink()
		r.Next().Nop(2)
		for _, c := range wait(t, r, 2) {
			require.NoError(t, c.Err())
			require.Zero(t, c.Res)
		}
	})
}

// TestShortSendsAreResumed fills a small socket buffer, so that sends come up
// short, and checks each byte at the far end.
func TestShortSendsAreResumed(t *testing.T) {
	onEverySetup(t, func(t *testing.T, r *uring.Ring) {
		a, b := pair(t)
		require.NoError(t, unix.SetsockoptInt(a, unix.SOL_SOCKET, unix.SO_SNDBUF, 8<<10))
		const total = 1 << 20
		data, in := fill(mapped(t, total), 0), mapped(t, 64<<10)
		slot := r.Slot()
		parts := [][]byte{data[:32], data[32:32], data[32 : total/2], data[total/2:]}
		require.Equal(t, 4, slot.Gather(parts))
		require.Equal(t, total, slot.Len())

		short, received, deadline := 0, 0, time.Now().Add(patience)
		r.Next().SendMsg(1, a, slot, unix.MSG_DONTWAIT)
		r.Next().Recv(2, b, in, 0)
		for received < total {
			require.True(t, time.Now().Before(deadline))
			_, err := r.SubmitAndWait(1, patience)
			require.NoError(t, err)
			r.Completions(func(c uring.Completion) {
				switch {
				case c.User == 1 && c.Err() == unix.EAGAIN:
					r.Next().SendMsg(1, a, slot, unix.MSG_DONTWAIT)
				case c.User == 1:
					require.NoError(t, c.Err())
					if slot.Advance(int(c.Res)) > 0 {
						short++
						r.Next().SendMsg(1, a, slot, unix.MSG_DONTWAIT)
					}
				default:
					require.Positive(t, c.Res)
					require.True(t, isPattern(in[:c.Res], received))
					if received += int(c.Res); received < total {
						r.Next().Recv(2, b, in, 0)
					}
				}
			})
		}
		require.NotZero(t, short)
		require.Zero(t, slot.Len())
		r.Release(slot)
	})
}

func TestAdvanceDropsExactlyWhatWasSent(t *testing.T) {
	r := open(t, uring.Options{})
	a, b := pair(t)
	data, in := fill(mapped(t, 12), 0), make([]byte, 12)
	slot := r.Slot()
	for first := range len(data) + 1 {
		for second := range len(data) - first + 1 {
			require.Equal(t, 4, slot.Gather([][]byte{data[:3], data[3:3], data[3:7], data[7:]}))
			require.Equal(t, len(data)-first, slot.Advance(first))
			left := slot.Advance(second)
			require.Equal(t, len(data)-first-second, left)
			r.Next().SendMsg(1, a, slot, 0)
			require.Equal(t, int32(left), one(t, r, 1).Res)
			if left > 0 {
				n, err := unix.Read(b, in)
				require.NoError(t, err)
				require.Equal(t, data[first+second:], in[:n])
			}
		}
	}
	r.Release(slot)

	few := open(t, uring.Options{SlotParts: 2}).Slot()
	require.Equal(t, 3, few.Gather([][]byte{data[:1], nil, data[1:2], data[2:]}), "the rest is for the next send")
	require.Equal(t, 2, few.Len())
}

func TestReceivingAllocatesNothing(t *testing.T) {
	need(t, uring.FeatureRecvMultishot)
	r := open(t, uring.Options{})
	a, b := pair(t)
	buffers, err := r.NewBufferRing(uring.BufferOptions{Count: 8, Bytes: 64})
	require.NoError(t, err)
	data, received := fill(mapped(t, 64), 0), 0
	take := func(id uint16, part []byte, _ bool) {
		received += len(part)
		buffers.Give(id)
	}
	visit := func(c uring.Completion) {
		if c.User == 1 {
			buffers.Take(c, take)
		}
	}
	r.Next().RecvMultishot(1, b, buffers, false)
	require.Zero(t, testing.AllocsPerRun(500, func() {
		for want := received + len(data); received < want; {
			if received == want-len(data) {
				r.Next().Send(2, a, data, 0)
			}
			_, _ = r.SubmitAndWait(2, patience)
			r.Completions(visit)
			buffers.Publish()
		}
	}))
	require.Equal(t, 501*len(data), received)
}

func TestConnectAcceptPollAndClose(t *testing.T) {
	onEverySetup(t, func(t *testing.T, r *uring.Ring) {
		l, port := listen(t)
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		require.NoError(t, err)
		slot := r.Slot()
		defer r.Release(slot)
		r.Next().Accept(1, l)
		r.Next().Connect(2, fd, slot, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(port)))
		var peer int
		for _, c := range wait(t, r, 2) {
			require.NoError(t, c.Err())
			if c.User == 1 {
				peer = int(c.Res)
			}
		}
		r.Next().PollAdd(3, peer, unix.POLLIN)
		r.Next().Send(4, fd, fill(mapped(t, 16), 0), 0)
		for _, c := range wait(t, r, 2) {
			if c.User == 3 {
				require.NotZero(t, c.Res&unix.POLLIN)
			} else {
				require.Equal(t, int32(16), c.Res)
			}
		}
		r.Next().Close(5, fd).Link()
		r.Next().Close(6, peer)
		for _, c := range wait(t, r, 2) {
			require.NoError(t, c.Err())
		}
		r.Next().Close(7, peer)
		require.ErrorIs(t, one(t, r, 7).Err(), unix.EBADF)
	})
}

func TestConnectSpeaksIPv6(t *testing.T) {
	l, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		t.Skip("no IPv6 loopback: ", err)
	}
	defer func() { _ = l.Close() }()
	r := open(t, uring.Options{})
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	defer func() { _ = unix.Close(fd) }()
	r.Next().Connect(1, fd, r.Slot(), l.Addr().(*net.TCPAddr).AddrPort())
	require.NoError(t, one(t, r, 1).Err())
}

func TestMultishotAcceptTakesManyUntilCanceled(t *testing.T) {
	need(t, uring.FeatureAcceptMultishot)
	onEverySetup(t, func(t *testing.T, r *uring.Ring) {
		l, port := listen(t)
		r.Next().AcceptMultishot(1, l)
		require.NoError(t, r.Submit())
		for range 5 {
			dial(t, port)
		}
		for _, c := range wait(t, r, 5) {
			require.NoError(t, c.Err())
			require.True(t, c.More())
			require.NoError(t, unix.Close(int(c.Res)))
		}
		r.Next().CancelFD(2, l)
		for _, c := range wait(t, r, 2) {
			if c.User == 1 {
				require.True(t, c.Canceled())
				require.False(t, c.More())
			} else {
				require.Equal(t, int32(1), c.Res)
			}
		}
	})
}

// receive reads total pattern bytes from fd through b, holding back buffers so
// that the ring runs dry now and then, and returns how often it did.
func receive(t *testing.T, r *uring.Ring, fd int, b *uring.BufferRing, total int, bundle bool) (dry int) {
	var held []uint16
	received, armed := 0, false
	for deadline := time.Now().Add(patience); received < total; {
		require.True(t, time.Now().Before(deadline), "%d of %d", received, total)
		if !armed {
			r.Next().RecvMultishot(1, fd, b, bundle)
			armed = true
		}
		_, err := r.SubmitAndWait(1, patience)
		require.NoError(t, err)
		r.Completions(func(c uring.Completion) {
			require.Equal(t, uint64(1), c.User)
			armed = c.More()
			if c.NoBuffers() {
				dry++
				require.False(t, armed)
				for _, id := range held {
					b.Give(id)
				}
				b.Publish()
				held = held[:0]
				return
			}
			require.Positive(t, c.Res, "%+v after %d bytes", c, received)
			before := received
			b.Take(c, func(id uint16, data []byte, last bool) {
				require.True(t, isPattern(data, received), "at %d", received)
				received += len(data)
				if last {
					held = append(held, id)
				}
			})
			require.Equal(t, before+int(c.Res), received)
		})
	}
	return dry
}

func TestMultishotReceiveSurvivesAnEmptyBufferRing(t *testing.T) {
	need(t, uring.FeatureRecvMultishot)
	type options = uring.BufferOptions
	cases := map[string]struct {
		o      uring.BufferOptions
		bundle bool
		needs  uring.Feature
	}{
		"plain":       {options{Count: 4, Bytes: 1000}, false, uring.FeatureBufferRing},
		"bundle":      {options{Count: 16, Bytes: 1000}, true, uring.FeatureRecvBundle},
		"incremental": {options{Count: 2, Bytes: 64 << 10, Incremental: true}, false, uring.FeatureBufferInc},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			need(t, test.needs)
			onEverySetup(t, func(t *testing.T, r *uring.Ring) {
				a, b := pair(t)
				const total = 1 << 20
				sent := make(chan error, 1)
				// Ends when all is sent or the receiver has closed.
				go func() {
					data := fill(make([]byte, total), 0)
					for len(data) > 0 {
						n, err := unix.Write(a, data[:min(len(data), 10000)])
						if err != nil {
							sent <- err
							return
						}
						data = data[n:]
					}
					sent <- nil
				}()
				buffers, err := r.NewBufferRing(test.o)
				require.NoError(t, err)
				require.NotZero(t, receive(t, r, b, buffers, total, test.bundle))
				require.NoError(t, <-sent)
			})
		})
	}
}

func TestBufferRingsReachTheKernelsLimit(t *testing.T) {
	need(t, uring.FeatureRecvMultishot)
	r := open(t, uring.Options{})
	memory := mapped(t, uring.BuffersMax*16)
	buffers, err := r.NewBufferRing(uring.BufferOptions{Group: 7, Count: uring.BuffersMax, Bytes: 16, Memory: memory})
	require.NoError(t, err)
	require.Equal(t, uint16(7), buffers.Group())
	a, b := pair(t)
	// Each buffer twice around, one message each: index and tail arithmetic.
	seen := make([]int, uring.BuffersMax)
	r.Next().RecvMultishot(1, b, buffers, false)
	require.NoError(t, r.Submit())
	data := fill(mapped(t, 16*1024), 0)
	for got := 0; got < 2*uring.BuffersMax; {
		_, err := unix.Write(a, data)
		require.NoError(t, err)
		for left := len(data); left > 0; {
			_, err := r.SubmitAndWait(1, patience)
			require.NoError(t, err)
			armed := true
			r.Completions(func(c uring.Completion) {
				require.NoError(t, c.Err())
				armed = c.More()
				buffers.Take(c, func(id uint16, part []byte, _ bool) {
					require.True(t, isPattern(part, len(data)-left))
					left -= len(part)
					seen[id]++
					got++
					buffers.Give(id)
				})
			})
			buffers.Publish()
			if !armed { // the kernel ends a multishot whose completion overflowed
				r.Next().RecvMultishot(1, b, buffers, false)
			}
		}
	}
	for id, n := range seen {
		require.GreaterOrEqual(t, n, 1, "buffer %d", id)
	}
	require.Equal(t, uring.BuffersMax, buffers.Lent())
	require.Panics(t, func() { buffers.Give(3) })
	r.Next().CancelFD(2, b)
	wait(t, r, 2)
	require.NoError(t, buffers.Close())
	require.ErrorIs(t, buffers.Close(), uring.ErrClosed)
}

func TestBundleIsRefusedForIncrementalBuffers(t *testing.T) {
	need(t, uring.FeatureBufferInc)
	r := open(t, uring.Options{})
	b, err := r.NewBufferRing(uring.BufferOptions{Count: 2, Bytes: 64, Incremental: true})
	require.NoError(t, err)
	require.Panics(t, func() { r.Next().RecvMultishot(1, 0, b, true) })
	for _, o := range []uring.BufferOptions{{Count: 3, Bytes: 1}, {Count: 65536, Bytes: 1}, {Count: 1},
		{Count: 2, Bytes: 8, Memory: make([]byte, 15)}} {
		_, err := r.NewBufferRing(o)
		require.Error(t, err, "%+v", o)
	}
}

func TestZeroCopySendReleasesByNotification(t *testing.T) {
	need(t, uring.FeatureSendMsgZC, uring.FeatureSendZCReport)
	onEverySetup(t, func(t *testing.T, r *uring.Ring) {
		a, b := pair(t)
		data, in := fill(mapped(t, 64<<10), 0), mapped(t, 64<<10)
		g, err := r.RegisterBuffers([][]byte{data})
		require.NoError(t, err)
		require.Equal(t, 1, g.Buffers, g)
		slot := r.Slot()
		defer r.Release(slot)
		slot.Gather([][]byte{data[:100], data[100:]})
		sends := map[string]func(s *uring.SQE){
			"plain":  func(s *uring.SQE) { s.SendZC(1, a, data, unix.MSG_WAITALL) },
			"fixed":  func(s *uring.SQE) { s.SendZCFixed(1, a, data, unix.MSG_WAITALL, 0) },
			"gather": func(s *uring.SQE) { s.SendMsgZC(1, a, slot, unix.MSG_WAITALL) },
		}
		for name, send := range sends {
			send(r.Next())
			r.Next().Recv(2, b, in, unix.MSG_WAITALL)
			var results, notified int
			for _, c := range wait(t, r, 3) {
				switch {
				case c.User == 2:
					require.Equal(t, int32(len(data)), c.Res, name)
				case c.Notification():
					require.True(t, c.Copied(), "%s: loopback copies: %+v", name, c)
					require.False(t, c.More(), name)
					require.NoError(t, c.Err())
					notified++
				default:
					require.Equal(t, int32(len(data)), c.Res, name)
					require.True(t, c.More(), name)
					results++
				}
			}
			require.Equal(t, [2]int{1, 1}, [2]int{results, notified}, name)
			require.True(t, bytes.Equal(data, in), name)
			clear(in)
		}
	})
}

func TestProbeAgreesWithSupportedAndPrintsATable(t *testing.T) {
	f := uring.Probe()
	require.Equal(t, f.Err == nil, uring.Supported() == nil)
	t.Logf("\n%s", f)
	require.Contains(t, f.String(), "io_uring on kernel "+f.Kernel)
	needRing(t)
	require.Contains(t, f.String(), uring.FeatureRecvBundle.String())
}
