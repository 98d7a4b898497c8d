package uring_test

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/claudefs/repl/uring"
)

// patience is how long a test waits for the kernel before it calls it a hang.
const patience = 20 * time.Second

// needRing skips, with the reason, where the machine forbids rings.
func needRing(t testing.TB) {
	t.Helper()
	if err := withLockable(uring.Supported); err != nil {
		t.Skip(err)
	}
}

// withLockable repeats what an ordinary user may not lock memory for: the kernel takes
// closed rings apart a little later, and their memory counts until then.
func withLockable(f func() error) error {
	pause := time.NewTicker(10 * time.Millisecond)
	defer pause.Stop()
	for end := time.Now().Add(patience); ; <-pause.C {
		if err := f(); !errors.Is(err, unix.ENOMEM) || time.Now().After(end) {
			return err
		}
	}
}

// need skips where this kernel lacks a feature.
func need(t testing.TB, features ...uring.Feature) {
	t.Helper()
	found := uring.Probe()
	for _, f := range features {
		if !found.Has(f) {
			t.Skipf("kernel %s has no %s (since %s)", found.Kernel, f, f.Since())
		}
	}
}

// otherDriver skips what giouring cannot do; docs/giouring.md has the numbers.
func otherDriver(t testing.TB, reason string) {
	t.Helper()
	if uring.Driver == "giouring" {
		t.Skip("giouring: " + reason)
	}
}

// open locks the test to its thread and gives it a ring.
func open(t testing.TB, o uring.Options) *uring.Ring {
	t.Helper()
	needRing(t)
	runtime.LockOSThread()
	r, err := uring.Open(o)
	require.NoError(t, err)
	t.Cleanup(func() {
		if err := r.Close(); err != nil && err != uring.ErrClosed {
			t.Errorf("close: %v", err)
		}
		runtime.UnlockOSThread()
	})
	return r
}

// onEverySetup runs the test on each way the kernel can serve a ring, so the
// fallbacks of older kernels are tried on a new one.
func onEverySetup(t *testing.T, test func(t *testing.T, r *uring.Ring)) {
	for _, setup := range []uring.Setup{uring.SetupDefer, uring.SetupSingle, uring.SetupCoop,
		uring.SetupSubmitAll, uring.SetupPlain} {
		t.Run(setup.String(), func(t *testing.T) {
			r := open(t, uring.Options{Setup: setup})
			require.GreaterOrEqual(t, r.Setup(), setup)
			test(t, r)
		})
	}
}

// wait submits and returns exactly n completions.
func wait(t testing.TB, r *uring.Ring, n int) (got []uring.Completion) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for len(got) < n {
		_, err := r.SubmitAndWait(1, time.Second)
		require.NoError(t, err)
		r.Completions(func(c uring.Completion) { got = append(got, c) })
		require.True(t, time.Now().Before(deadline), "%d of %d completions: %v", len(got), n, got)
	}
	require.Len(t, got, n)
	return got
}

// one submits and returns the only completion, which is user's.
func one(t testing.TB, r *uring.Ring, user uint64) uring.Completion {
	t.Helper()
	c := wait(t, r, 1)[0]
	require.Equal(t, user, c.User)
	return c
}

// mapped is off-heap memory for as long as the test runs.
func mapped(t testing.TB, bytes int) []byte {
	t.Helper()
	region, err := uring.Map(bytes)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, region.Free()) })
	return region.Bytes()[:bytes]
}

// file is an empty file's descriptor.
func file(t testing.TB) int {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = f.Close() })
	return int(f.Fd())
}

// pair is a connected, blocking TCP pair on loopback.
func pair(t testing.TB) (a, b int) {
	t.Helper()
	l, port := listen(t)
	a, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	require.NoError(t, unix.Connect(a, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}))
	b, _, err = unix.Accept4(l, unix.SOCK_CLOEXEC)
	require.NoError(t, err)
	t.Cleanup(func() { _, _ = unix.Close(a), unix.Close(b) })
	return a, b
}

// listen is a listening socket on loopback, at a port that the system picks.
func listen(t testing.TB) (fd, port int) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	t.Cleanup(func() { _ = unix.Close(fd) })
	require.NoError(t, unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	require.NoError(t, unix.Listen(fd, 64))
	addr, err := unix.Getsockname(fd)
	require.NoError(t, err)
	return fd, addr.(*unix.SockaddrInet4).Port
}

func dial(t testing.TB, port int) net.Conn {
	t.Helper()
	c, err := net.DialTCP("tcp", nil, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// fill writes bytes that tell where they belong.
func fill(b []byte, from int) []byte {
	for i := range b {
		b[i] = pattern(from + i)
	}
	return b
}

func pattern(i int) byte { return byte(i*7 + i>>8*13 + i>>16*31) }

func isPattern(b []byte, from int) bool {
	for i := range b {
		if b[i] != pattern(from+i) {
			return false
		}
	}
	return true
}
