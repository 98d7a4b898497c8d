package uring_test

import (
	"errors"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/claudefs/repl/uring"
)

func TestNopsComeBackInBatches(t *testing.T) {
	onEverySetup(t, func(t *testing.T, r *uring.Ring) {
		for round := range 300 {
			n := round%r.Space() + 1
			for i := range n {
				r.Next().Nop(uint64(round)<<32 | uint64(i))
			}
			for i, c := range wait(t, r, n) {
				require.Equal(t, uring.Completion{User: uint64(round)<<32 | uint64(i)}, c)
			}
		}
		s := r.Stats()
		require.Equal(t, s.Submitted, s.Completed)
		require.Zero(t, s.Lost)
	})
}

func TestSubmitAndCompleteAllocateNothing(t *testing.T) {
	r := open(t, uring.Options{})
	slot := r.Slot()
	var sum uint64
	visit := func(c uring.Completion) { sum += c.User }
	parts := [][]byte{mapped(t, 8), mapped(t, 8)}
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		slot.Gather(parts)
		for i := range 8 {
			r.Next().Nop(uint64(i))
		}
		_ = r.Submit()
		r.Next().Nop(1)
		_, _ = r.SubmitAndWait(9, time.Second)
		r.Completions(visit)
		r.Release(r.Slot())
	}))
	require.NotZero(t, sum)
}

func TestFullSubmissionRingSaysSo(t *testing.T) {
	onEverySetup(t, func(t *testing.T, r *uring.Ring) {
		space := r.Space()
		for range space {
			r.Next().Nop(7)
		}
		require.Zero(t, r.Space())
		require.Nil(t, r.Next())
		require.Equal(t, space, r.Queued())
		require.NoError(t, r.Submit())
		require.Equal(t, space, r.Space())
		wait(t, r, space)
	})
}

func TestSubmissionsAreZeroedBeforeReuse(t *testing.T) {
	// A send's flags in a slot that a write reuses would make it fail.
	onEverySetup(t, func(t *testing.T, r *uring.Ring) {
		a, b := pair(t)
		fd, data := file(t), mapped(t, 64)
		for range 3 * r.Space() {
			r.Next().Send(1, a, data, unix.MSG_WAITALL).Link()
			r.Next().Write(2, fd, data, 0)
			r.Next().Recv(3, b, data, 0)
			for _, c := range wait(t, r, 3) {
				require.NoError(t, c.Err())
			}
		}
	})
}

func TestOverflowLosesNoCompletion(t *testing.T) {
	onEverySetup(t, func(t *testing.T, r *uring.Ring) {
		const total = 2000
		prepared := 0
		for prepared < total {
			s := r.Next()
			if s == nil {
				if err := r.Submit(); errors.Is(err, uring.ErrBusy) {
					break // older kernels take no more while completions wait
				}
				continue
			}
			s.Nop(uint64(prepared))
			prepared++
		}
		seen := make([]int, total)
		count := 0
		for deadline := time.Now().Add(patience); count < prepared; {
			require.True(t, time.Now().Before(deadline))
			_, err := r.SubmitAndWait(1, time.Second)
			require.NoError(t, err)
			count += r.Completions(func(c uring.Completion) { seen[c.User]++ })
		}
		for user, n := range seen[:prepared] {
			require.Equal(t, 1, n, "completion %d", user)
		}
		require.NotZero(t, r.Stats().Overflows)
		require.Zero(t, r.Stats().Lost)
	})
}

func TestCompletionsMayPrepareAndSubmitWithin(t *testing.T) {
	onEverySetup(t, func(t *testing.T, r *uring.Ring) {
		r.Next().Nop(1000)
		left := 1000
		for left > 0 {
			_, err := r.SubmitAndWait(1, time.Second)
			require.NoError(t, err)
			r.Completions(func(c uring.Completion) {
				require.Equal(t, uint64(left), c.User)
				if left--; left > 0 {
					r.Next().Nop(uint64(left))
					require.NoError(t, r.Submit())
				}
			})
		}
		require.Panics(t, func() {
			r.Next().Nop(1)
			_, _ = r.SubmitAndWait(1, time.Second)
			r.Completions(func(uring.Completion) { r.Completions(func(uring.Completion) {}) })
		})
	})
}

func TestWaitEndsAtItsTimeout(t *testing.T) {
	onEverySetup(t, func(t *testing.T, r *uring.Ring) {
		start := time.Now()
		ready, err := r.SubmitAndWait(1, 20*time.Millisecond)
		require.NoError(t, err)
		require.Zero(t, ready)
		require.GreaterOrEqual(t, time.Since(start), 20*time.Millisecond)

		// A submission in the same call does not make it forget the limit.
		r.Next().Nop(1)
		ready, err = r.SubmitAndWait(2, 20*time.Millisecond)
		require.NoError(t, err)
		require.Equal(t, 1, ready)
		require.Less(t, time.Since(start), patience)
		require.Equal(t, 1, r.Completions(func(uring.Completion) {}))
	})
}

func TestTimeoutFiresAndCanBeCanceled(t *testing.T) {
	onEverySetup(t, func(t *testing.T, r *uring.Ring) {
		slot := r.Slot()
		defer r.Release(slot)
		start := time.Now()
		r.Next().Timeout(1, slot, 15*time.Millisecond)
		require.True(t, one(t, r, 1).TimedOut())
		require.GreaterOrEqual(t, time.Since(start), 15*time.Millisecond)

		r.Next().Timeout(2, slot, time.Hour)
		require.NoError(t, r.Submit())
		r.Next().Cancel(3, 2)
		for _, c := range wait(t, r, 2) {
			if c.User == 2 {
				require.True(t, c.Canceled(), "%+v", c)
			} else {
				require.Equal(t, uring.Completion{User: 3}, c)
			}
		}
		r.Next().Cancel(4, 99)
		require.Equal(t, -int32(unix.ENOENT), one(t, r, 4).Res)
	})
}

func TestSignalsDoNotCutAWaitShort(t *testing.T) {
	r := open(t, uring.Options{})
	slot := r.Slot()
	defer r.Release(slot)
	pid, tid := unix.Getpid(), unix.Gettid()
	rounds := uint64(0)
	for ; rounds < 20 || rounds < 1000 && r.Stats().Interrupted == 0; rounds++ {
		var over atomic.Bool
		quiet := make(chan struct{})
		// Ends with the round, or after so many that a slow machine gets on. SIGURG is
		// what Go's runtime itself interrupts with.
		go func() {
			for sent := 0; !over.Load() && sent < 2500; sent++ {
				_ = unix.Tgkill(pid, tid, unix.SIGURG)
				runtime.Gosched()
			}
			close(quiet)
		}()
		r.Next().Timeout(rounds, slot, 10*time.Millisecond)
		ready, err := r.SubmitAndWait(1, -1)
		require.NoError(t, err)
		require.Equal(t, 1, ready)
		r.Completions(func(c uring.Completion) {
			require.Equal(t, rounds, c.User)
			require.True(t, c.TimedOut())
		})
		over.Store(true)
		<-quiet
	}
	t.Logf("%d waits, %d interrupted", rounds, r.Stats().Interrupted)
	require.NotZero(t, r.Stats().Interrupted)
	require.Equal(t, rounds, r.Stats().Submitted)
}

func TestRingsSendEachOtherMessages(t *testing.T) {
	need(t, uring.FeatureMsgRing)
	r := open(t, uring.Options{})
	target := make(chan int)
	got := make(chan uring.Completion, 1)
	failed := make(chan error, 1)
	// Ends when the message has arrived, or a second after patience.
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		other, err := uring.Open(uring.Options{})
		if err != nil {
			close(target)
			failed <- err
			return
		}
		target <- other.FD()
		_, err = other.SubmitAndWait(1, patience)
		other.Completions(func(c uring.Completion) { got <- c })
		failed <- errors.Join(err, other.Close())
	}()
	fd, ok := <-target
	require.True(t, ok)
	r.Next().MsgRing(1, fd, 0xabcd, 42)
	require.NoError(t, one(t, r, 1).Err())
	require.NoError(t, <-failed)
	require.Equal(t, uring.Completion{User: 0xabcd, Res: 42}, <-got)
}

func TestWakerWakesASleeperAndNobodyElse(t *testing.T) {
	onEverySetup(t, func(t *testing.T, r *uring.Ring) {
		w, err := uring.NewWaker()
		require.NoError(t, err)
		w.Wake() // awake: nothing to do
		require.Zero(t, w.Wakes())

		const total = 2000
		var posted, consumed atomic.Int64
		// Ends after total posts; every tenth time it lets the ring fall asleep.
		go func() {
			for range total {
				n := posted.Add(1)
				if w.Wake(); n%10 == 0 {
					for consumed.Load() < n {
						runtime.Gosched()
					}
				}
			}
		}()
		w.Arm(r.Next(), 1)
		for consumed.Load() < total {
			seen := posted.Load()
			consumed.Store(seen)
			w.Idle()
			if posted.Load() == seen && seen < total {
				ready, err := r.SubmitAndWait(1, patience)
				require.NoError(t, err)
				require.NotZero(t, ready, "slept through a wake")
			}
			w.Busy()
			r.Completions(func(c uring.Completion) {
				require.Equal(t, int32(8), c.Res)
				w.Arm(r.Next(), 1)
			})
		}
		require.LessOrEqual(t, w.Wakes(), uint64(total))
		require.NotZero(t, w.Wakes())
		require.NoError(t, r.Close())
		require.NoError(t, w.Close())
		w.Idle()
		w.Wake() // after Close: harmless
		require.ErrorIs(t, w.Close(), uring.ErrClosed)
	})
}

func TestSpinnerSeesCompletionsWithoutSystemCalls(t *testing.T) {
	otherDriver(t, "the flag that tells of pending work is not exported")
	r := open(t, uring.Options{})
	slot := r.Slot()
	defer r.Release(slot)
	r.Next().Timeout(1, slot, time.Millisecond)
	require.NoError(t, r.Submit())
	if r.Setup() != uring.SetupDefer {
		t.Skip("kernel tells a spinner only with deferred task work")
	}
	before := r.Stats().Enters
	for deadline := time.Now().Add(patience); !r.Pending(); {
		require.True(t, time.Now().Before(deadline))
	}
	require.Equal(t, before, r.Stats().Enters)
	_, err := r.SubmitAndWait(0, 0)
	require.NoError(t, err)
	require.Equal(t, 1, r.Completions(func(c uring.Completion) { require.True(t, c.TimedOut()) }))
}

func TestOtherThreadsAreRefused(t *testing.T) {
	r := open(t, uring.Options{})
	refused := make(chan any)
	// Ends at once, by the panic that it hands over.
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer func() { refused <- recover() }()
		_ = r.RegisterFiles(1)
	}()
	require.Contains(t, <-refused, "used by thread")
}

func TestClosePromisesNoOperationIsLeft(t *testing.T) {
	onEverySetup(t, func(t *testing.T, r *uring.Ring) {
		a, b := pair(t)
		data := mapped(t, 4096)
		r.Next().Recv(1, a, data, 0)
		r.Next().PollAdd(2, b, unix.POLLIN)
		r.Next().Timeout(3, r.Slot(), time.Hour)
		r.Next().Recv(3, a, data[64:], 0) // a user may have several
		require.NoError(t, r.Submit())
		r.Next().Write(4, 1, fill(data, 0), 0) // prepared, never submitted
		require.NoError(t, r.Close())
		require.ErrorIs(t, r.Close(), uring.ErrClosed)

		// The receive is gone: what arrives now stays in the socket.
		clear(data)
		_, err := unix.Write(b, []byte("late"))
		require.NoError(t, err)
		n, err := unix.Read(a, data[:16])
		require.NoError(t, err)
		require.Equal(t, "late", string(data[:n]))
	})
}

func TestRegionsAndSlotsCatchDoubleFree(t *testing.T) {
	region, err := uring.Map(1)
	require.NoError(t, err)
	require.Len(t, region.Bytes(), os.Getpagesize())
	require.NoError(t, region.Free())
	require.ErrorIs(t, region.Free(), uring.ErrFreed)
	_, err = uring.Map(0)
	require.Error(t, err)

	r := open(t, uring.Options{Slots: 2})
	a, b := r.Slot(), r.Slot()
	require.Nil(t, r.Slot())
	r.Release(a)
	require.PanicsWithValue(t, "uring: slot 0 released but not taken", func() { r.Release(a) })
	r.Release(b)
}

func TestOptionsNameAllFaults(t *testing.T) {
	_, err := uring.Open(uring.Options{Entries: 63, Slots: -1, SlotParts: 2000, Setup: 9})
	for _, field := range []string{"Entries", "Slots", "SlotParts", "Setup", "Completions"} {
		require.ErrorContains(t, err, field)
	}
}

func TestTenThousandRingsLeaveNothingBehind(t *testing.T) {
	needRing(t)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cycles := 10000
	if testing.Short() {
		cycles = 500
	}
	usage(t) // the runtime opens descriptors of its own with the first file
	region, features := mapped(t, 4096), uring.Probe()
	once := func() error {
		r, err := uring.Open(uring.Options{Entries: 8})
		if err != nil {
			return err
		}
		defer r.Close()
		if features.Has(uring.FeatureBufferRing) {
			b, err := r.NewBufferRing(uring.BufferOptions{Count: 8, Bytes: 64})
			if err != nil {
				return err
			}
			require.Equal(t, 8, b.Lent())
		}
		if _, err := r.RegisterBuffers([][]byte{region}); err != nil {
			return err
		}
		r.Next().Nop(1)
		require.NoError(t, r.Submit())
		return r.Close()
	}
	cycle := func() { require.NoError(t, withLockable(once)) }
	for range 20 {
		cycle()
	}
	fds, maps, locked := usage(t)
	for range cycles {
		cycle()
	}
	// The kernel takes a closed ring apart a little later.
	require.Eventually(t, func() bool {
		fdsNow, mapsNow, lockedNow := usage(t)
		if fdsNow <= fds && mapsNow <= maps+50 && lockedNow <= locked { // the Go runtime maps too
			return true
		}
		t.Logf("descriptors %d -> %d, mappings %d -> %d, kB pinned %d -> %d",
			fds, fdsNow, maps, mapsNow, locked, lockedNow)
		return false
	}, patience, 200*time.Millisecond)
}

// usage counts descriptors, mappings, and kB locked or pinned.
func usage(t *testing.T) (fds, maps, locked int) {
	entries, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	text, err := os.ReadFile("/proc/self/maps")
	require.NoError(t, err)
	status, err := os.ReadFile("/proc/self/status")
	require.NoError(t, err)
	for line := range strings.Lines(string(status)) {
		if name, value, _ := strings.Cut(line, ":"); name == "VmLck" || name == "VmPin" {
			kB := 0
			for _, d := range strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")) {
				kB = kB*10 + int(d-'0')
			}
			locked += kB
		}
	}
	return len(entries), strings.Count(string(text), "\n"), locked
}
