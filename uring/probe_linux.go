package uring

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"os"
	"runtime"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Supported is nil if this process may have a ring. Else the error wraps
// ErrUnsupported and says why: kernel, sysctl or seccomp. It makes a small ring
// and closes it; any goroutine may call.
func Supported() error {
	if bits.UintSize != 64 {
		return fmt.Errorf("%w: this is a 32-bit program", ErrUnsupported)
	}
	return onThread(func() error {
		r, err := Open(Options{Entries: 1, Slots: 1, SlotParts: 1, Setup: SetupPlain})
		if err != nil {
			return err
		}
		return errors.Join(r.try(), r.Close())
	})
}

// try has the ring do an operation: a filter may allow the setup and nothing else.
func (r *Ring) try() error {
	r.Next().Nop(closeUser)
	for busy := 0; ; busy++ {
		_, err := r.SubmitAndWait(1, time.Second)
		done := 0
		r.Completions(func(c Completion) { done, err = done+1, c.Err() })
		switch {
		case done > 0 && err == nil:
			return nil
		case !errors.Is(err, ErrBusy) || busy > busyMax:
			if err == nil {
				err = errors.New("an operation that does nothing did not end")
			}
			r.discard()
			return explain(err)
		}
		runtime.Gosched()
	}
}

// ringsMax is how many rings the links of one process may have: what is locked of
// their memory counts against RLIMIT_MEMLOCK, which all processes of a user share,
// unless the process may lock what it likes.
func ringsMax() int64 {
	const (
		ringLockedBytes = 32 << 10 // more than any of ours takes
		shareOfProcess  = 4
	)
	var limit unix.Rlimit
	if mayLock() || unix.Getrlimit(unix.RLIMIT_MEMLOCK, &limit) != nil || limit.Cur == unix.RLIM_INFINITY {
		return math.MaxInt64
	}
	return int64(limit.Cur / shareOfProcess / ringLockedBytes)
}

// mayLock says whether this process has CAP_IPC_LOCK.
func mayLock() bool {
	header, data := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, [2]unix.CapUserData{}
	return unix.Capget(&header, &data[0]) == nil && data[0].Effective&(1<<unix.CAP_IPC_LOCK) != 0
}

// Probe tries what this kernel can do. Any goroutine may call.
func Probe() Features {
	f := Features{Kernel: release(), Err: Supported()}
	if f.Err != nil {
		return f
	}
	f.Err = onThread(func() error {
		r, err := Open(Options{Entries: 8, Slots: 8, SlotParts: 1})
		if err != nil {
			return err
		}
		f.has[FeatureDeferTaskrun] = r.Setup() <= SetupDefer
		f.has[FeatureSingleIssuer] = r.Setup() <= SetupSingle
		f.has[FeatureCoopTaskrun] = r.Setup() <= SetupCoop
		f.has[FeatureSubmitAll] = r.Setup() <= SetupSubmitAll
		f.has[FeatureRegisteredRing] = r.registered
		return errors.Join(f.probeOps(r), f.probeFlags(r), r.Close())
	})
	return f
}

// onThread runs f on a thread of its own, as a ring needs it.
func onThread(f func() error) error {
	done := make(chan error, 1)
	// Ends with f, which does not block: it waits for nothing but the kernel's
	// immediate answers.
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		done <- f()
	}()
	return <-done
}

// probeOps asks the kernel which operations it knows.
func (f *Features) probeOps(r *Ring) error {
	region, err := Map(int(unsafe.Sizeof(probeResult{})))
	if err != nil {
		return err
	}
	probe := at[probeResult](region.Bytes(), 0)
	if _, errno := r.register(registerProbe, unsafe.Pointer(probe), opCount); errno != 0 {
		return errors.Join(fmt.Errorf("ask for operations: %w", errno), region.Free())
	}
	has := func(op int) bool { return probe.ops[op].flags&1 != 0 }
	f.has[FeatureMsgRing] = has(opMsgRing)
	f.has[FeatureSendZC] = has(opSendZC)
	f.has[FeatureSendMsgZC] = has(opSendMsgZC)
	return region.Free()
}

// probeFlags tries flags whose support no table tells: a kernel that does not
// know one answers EINVAL.
func (f *Features) probeFlags(r *Ring) error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socket pair: %w", err)
	}
	listener, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return errors.Join(fmt.Errorf("socket: %w", err), unix.Close(pair[0]), unix.Close(pair[1]))
	}
	defer func() {
		for _, fd := range []int{pair[0], pair[1], listener} {
			_ = unix.Close(fd) // nothing is in flight on them any more
		}
	}()
	known := func(prepare func(s *SQE)) bool {
		prepare(r.Next())
		return r.answer(1, 0) != -int32(unix.EINVAL)
	}
	f.has[FeatureCancelAny] = known(func(s *SQE) { s.cancelEverything(1) })
	if b, err := r.NewBufferRing(BufferOptions{Group: 1, Count: 1, Bytes: 16}); err == nil {
		f.has[FeatureBufferRing] = true
		f.has[FeatureRecvMultishot] = known(func(s *SQE) { s.RecvMultishot(1, pair[0], b, false) })
		f.has[FeatureRecvBundle] = known(func(s *SQE) { s.RecvMultishot(1, pair[0], b, true) })
		if err := b.Close(); err != nil {
			return err
		}
	}
	if b, err := r.NewBufferRing(BufferOptions{Group: 2, Count: 1, Bytes: 16, Incremental: true}); err == nil {
		f.has[FeatureBufferInc] = true
		if err := b.Close(); err != nil {
			return err
		}
	}
	// A listening socket without an address gets one from the system.
	if err := unix.Listen(listener, 1); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	f.has[FeatureAcceptMultishot] = known(func(s *SQE) { s.AcceptMultishot(1, listener) })
	// A UNIX socket refuses zero-copy otherwise than an unknown flag is refused.
	data := r.scratch.Bytes()[scratchBytes-16:]
	f.has[FeatureSendZCReport] = f.has[FeatureSendZC] && known(func(s *SQE) { s.SendZC(1, pair[0], data, 0) })
	return nil
}

// answer submits, cancels the operation named user if it does not answer at once,
// and returns its last result.
func (r *Ring) answer(user uint64, wait time.Duration) (res int32) {
	res = -int32(unix.EINVAL)
	ended := false
	for try := 0; try < 8 && !ended; try++ {
		if _, err := r.SubmitAndWait(1, wait); err != nil {
			return res
		}
		r.Completions(func(c Completion) {
			if c.User != user {
				return
			}
			if !c.Notification() {
				res = c.Res
			}
			ended = ended || !c.More()
		})
		if !ended {
			r.Next().Cancel(user+1, user)
			wait = 100 * time.Millisecond
		}
	}
	return res
}

// explain says why a ring was refused.
func explain(err error) error {
	errno, ok := errors.AsType[unix.Errno](err)
	if !ok {
		return err
	}
	switch errno {
	case unix.ENOSYS:
		return fmt.Errorf("%w: kernel %s has no io_uring, or a seccomp filter hides it: %w",
			ErrUnsupported, release(), errno)
	case unix.EPERM, unix.EACCES:
		return fmt.Errorf("%w: %s: %w", ErrUnsupported, forbiddenBy(), errno)
	case unix.ENOMEM:
		return fmt.Errorf("%w: no memory for a ring: %s: %w", ErrUnsupported, lockLimit(), errno)
	case unix.EINVAL:
		return fmt.Errorf("%w: kernel %s does not know our smallest setup: %w", ErrUnsupported, release(), errno)
	}
	return fmt.Errorf("io_uring_setup: %w", errno) // descriptors, for example: another time it may work
}

// forbiddenBy names who may have said EPERM.
func forbiddenBy() string {
	// A file that cannot be read says nothing, as an empty one.
	sysctl, _ := os.ReadFile("/proc/sys/kernel/io_uring_disabled")
	status, _ := os.ReadFile("/proc/thread-self/status")
	return culprit(string(sysctl), string(status))
}

// culprit judges by the sysctl's value and the thread's status.
func culprit(sysctl, status string) string {
	switch strings.TrimSpace(sysctl) {
	case "2":
		return "the sysctl kernel.io_uring_disabled=2 forbids it"
	case "1":
		return "the sysctl kernel.io_uring_disabled=1 forbids it without CAP_SYS_ADMIN or kernel.io_uring_group"
	}
	if strings.Contains(status, "\nSeccomp:\t2") {
		return "a seccomp filter forbids it (container runtimes often do)"
	}
	return "permission denied, by a security module perhaps"
}

// lockLimit names RLIMIT_MEMLOCK, which some kernels count rings against.
func lockLimit() string {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_MEMLOCK, &limit); err != nil {
		return "RLIMIT_MEMLOCK is unknown"
	}
	return fmt.Sprintf("RLIMIT_MEMLOCK is %d bytes", limit.Cur)
}

// release is the running kernel's.
func release() string {
	var name unix.Utsname
	if unix.Uname(&name) != nil {
		return "unknown"
	}
	return unix.ByteSliceToString(name.Release[:])
}
