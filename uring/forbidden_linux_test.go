package uring_test

import (
	"errors"
	"fmt"
	"math/bits"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/claudefs/repl/uring"
)

// These tests run this test binary again, as a process with fewer rights: the
// variable says which part it plays.
const partVariable = "URING_TEST_PART"

// runPart runs the named test in a process of its own.
func runPart(t *testing.T, name string, prepare func(cmd *exec.Cmd)) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^"+name+"$", "-test.v")
	cmd.Env = append(os.Environ(), partVariable+"=1")
	prepare(cmd)
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	require.NoError(t, err)
	if strings.Contains(string(out), "--- SKIP: "+name) {
		_, reason, _ := strings.Cut(string(out), "_test.go:")
		reason, _, _ = strings.Cut(reason, "\n")
		t.Skip("in its process: ", reason)
	}
	require.Contains(t, string(out), "--- PASS: "+name)
}

func TestSupportedNamesTheSeccompFilter(t *testing.T) {
	if os.Getenv(partVariable) == "" {
		runPart(t, t.Name(), func(*exec.Cmd) {})
		return
	}
	require.NoError(t, forbid())
	err := uring.Supported()
	require.ErrorIs(t, err, uring.ErrUnsupported)
	require.ErrorContains(t, err, forbidden())
	if bits.UintSize == 64 {
		require.ErrorIs(t, err, unix.EPERM)
	}
	f := uring.Probe()
	require.ErrorIs(t, f.Err, uring.ErrUnsupported)
	require.False(t, f.Has(uring.FeatureSendZC))
	require.Contains(t, f.String(), "no (io_uring not available: "+forbidden())
}

// forbidden is how a filter is told of. A 32-bit program makes no ring that it could refuse.
func forbidden() string {
	if bits.UintSize != 64 {
		return "this is a 32-bit program"
	}
	return "a seccomp filter forbids it"
}

// forbid answers EPERM to the ring's system calls on every thread of the process.
func forbid() error {
	return forbidCalls(unix.SYS_IO_URING_SETUP, unix.SYS_IO_URING_ENTER, unix.SYS_IO_URING_REGISTER)
}

// forbidCalls answers EPERM to some system calls on every thread of the process.
func forbidCalls(numbers ...uint32) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	const load, jumpEqual, answer = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K,
		unix.BPF_RET | unix.BPF_K
	filter := []unix.SockFilter{{Code: load, K: 0}} // seccomp_data.nr
	for i, number := range numbers {
		filter = append(filter, unix.SockFilter{Code: jumpEqual, K: number, Jt: uint8(len(numbers) - i)})
	}
	filter = append(filter, unix.SockFilter{Code: answer, K: unix.SECCOMP_RET_ALLOW},
		unix.SockFilter{Code: answer, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)})
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	// Unsafe rule 4 (Pointer to uintptr in the call itself); the kernel copies it.
	_, _, err := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC,
		uintptr(unsafe.Pointer(&program)))
	runtime.KeepAlive(filter)
	if err != 0 {
		return err
	}
	return nil
}

// nobody is a user without capabilities, whom limits bind, and whom no other process of
// the machine is: what is locked counts by user.
var nobody = uint32(200_000 + os.Getpid()%100_000)

func TestRegisterBuffersNamesMemoryLimit(t *testing.T) {
	needRing(t)
	if os.Getenv(partVariable) == "" {
		runPart(t, t.Name(), func(cmd *exec.Cmd) {
			if os.Getuid() == 0 {
				binary := copyForNobody(t)
				cmd.Path, cmd.Args[0], cmd.Dir = binary, binary, "/"
				cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
			}
		})
		return
	}
	const pieceBytes, pieces = 64 << 10, 8
	var hard unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_MEMLOCK, &hard))
	if hard.Max < 6*pieceBytes {
		t.Skipf("RLIMIT_MEMLOCK allows %d bytes, the test needs %d", hard.Max, 6*pieceBytes)
	}
	r := open(t, uring.Options{})
	memory := mapped(t, pieces*pieceBytes)
	var list [][]byte
	for i := range pieces {
		list = append(list, memory[i*pieceBytes:(i+1)*pieceBytes])
	}
	for _, limitBytes := range []uint64{6 * pieceBytes, pieceBytes - 1, 0} {
		require.NoError(t, unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unix.Rlimit{Cur: limitBytes, Max: 6 * pieceBytes}))
		g, err := r.RegisterBuffers(list)
		require.NoError(t, err)
		// The kernel counts rings too, those it has not taken apart yet as well.
		require.LessOrEqual(t, g.Buffers, int(limitBytes/pieceBytes))
		require.Equal(t, limitBytes >= pieceBytes, g.Buffers > 0, g)
		require.Equal(t, uring.Registered{Buffers: g.Buffers, Bytes: int64(g.Buffers) * pieceBytes,
			MissingBytes: int64(pieces-g.Buffers) * pieceBytes, LimitBytes: limitBytes}, g)
		require.Contains(t, g.String(), fmt.Sprintf("%d bytes not: RLIMIT_MEMLOCK is %d", g.MissingBytes, limitBytes))
		if g.Buffers > 0 {
			r.Next().WriteFixed(1, file(t), list[g.Buffers-1], 0, g.Buffers-1)
			require.NoError(t, one(t, r, 1).Err())
			require.NoError(t, r.UnregisterBuffers())
		}
	}
	// Whether a ring itself counts depends on the kernel.
	if err := uring.Supported(); err != nil {
		require.ErrorIs(t, err, uring.ErrUnsupported)
		require.ErrorContains(t, err, "RLIMIT_MEMLOCK is 0")
	}
}

// copyForNobody puts this binary where another user may run it.
func copyForNobody(t *testing.T) string {
	dir, err := os.MkdirTemp("", "uring")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	require.NoError(t, os.Chmod(dir, 0o755))
	text, err := os.ReadFile(os.Args[0])
	require.NoError(t, err)
	path := dir + "/test"
	require.NoError(t, os.WriteFile(path, text, 0o755))
	return path
}

func TestSupportedNamesFullDescriptorTable(t *testing.T) {
	needRing(t)
	if os.Getenv(partVariable) == "" {
		runPart(t, t.Name(), func(*exec.Cmd) {})
		return
	}
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 0, Max: 0}))
	err := uring.Supported()
	require.ErrorIs(t, err, unix.EMFILE)
	require.False(t, errors.Is(err, uring.ErrUnsupported))
}
