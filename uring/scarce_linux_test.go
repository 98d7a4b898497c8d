package uring_test

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/engine/store"
	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/claudefs/repl/uring"
	"github.com/claudefs/repl/wire/link"
	"github.com/claudefs/repl/wire/link/linktest"
)

// As the sysctl kernel.io_uring_disabled does it at run time: rings that are there go
// on, and no new one is to be had.
func TestDiskNeedsNoNewRing(t *testing.T) { // I1
	if os.Getenv(partVariable) == "" {
		needRing(t)
		runPart(t, t.Name(), func(*exec.Cmd) {})
		return
	}
	d := openDisk(t, uring.SetupBest)
	f, err := d.Create(filepath.Join(t.TempDir(), "f"))
	require.NoError(t, err)
	require.NoError(t, forbidCalls(unix.SYS_IO_URING_SETUP))
	faults := make(chan error, 16)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 50 {
				err := f.WriteAt([][]byte{make([]byte, 4096)}, 0)
				if err == nil {
					_, err = f.ReadAt(make([]byte, 4096), 0)
				}
				if err == nil {
					err = f.Sync()
				}
				if err != nil {
					faults <- err
					return
				}
			}
		})
	}
	group.Wait()
	close(faults)
	require.NoError(t, <-faults)

	q, err := d.OpenQueue(vfs.QueueOptions{Depth: 4})
	require.NoError(t, err)
	require.Contains(t, q.About(), "system calls, one write at a time: no ring")
	for user := range uint64(4) {
		q.Write(f, [][]byte{make([]byte, 4096)}, int64(user)*4096, user)
	}
	for _, w := range q.Wait(nil, true) {
		require.NoError(t, w.Err)
	}
	s := d.Stats()
	require.EqualValues(t, 1, s.Refused)
	require.EqualValues(t, 4, s.Plain)
	require.Contains(t, s.Reason, "seccomp")
	require.NoError(t, q.Close())
	require.NoError(t, f.Close())
}

func TestLinksConformWithoutNewRings(t *testing.T) {
	if os.Getenv(partVariable) == "" {
		needRing(t)
		runPart(t, t.Name(), func(*exec.Cmd) {})
		return
	}
	one := openTransport(t, uring.TransportOptions{})
	require.NoError(t, forbidCalls(unix.SYS_IO_URING_SETUP))
	linktest.Conformance(t, func(*testing.T) link.Transport { return one })
	s := one.Stats()
	require.Positive(t, s.Refused)
	require.Positive(t, s.Plain)
	require.Contains(t, s.Reason, "seccomp")
}

// A filter that lets rings be made and not be entered is found at the opening.
func TestProbeEntersTheRing(t *testing.T) {
	if os.Getenv(partVariable) == "" {
		needRing(t)
		runPart(t, t.Name(), func(*exec.Cmd) {})
		return
	}
	require.NoError(t, forbidCalls(unix.SYS_IO_URING_ENTER))
	for _, err := range []error{uring.Supported(), func() error {
		_, err := uring.NewTransport(uring.TransportOptions{})
		return err
	}(), func() error {
		_, err := uring.OpenDisk(uring.DiskOptions{})
		return err
	}()} {
		require.ErrorIs(t, err, uring.ErrUnsupported)
		require.ErrorContains(t, err, "a seccomp filter forbids it")
	}
	e := openSite(t, filepath.Join(t.TempDir(), "a"), "site-a", "127.0.0.1:0")
	require.Equal(t, "tcp", e.Status().Transport)
	require.Contains(t, e.Status().TransportReason, "seccomp")
	put(t, e, engine.Local)
	require.NoError(t, e.Close(context.Background()))
}

// The journal of an ordinary user goes on when all memory that may be locked is taken,
// and so do its links and those of others (I1, I14).
func TestOrdinaryUserWithoutLockableMemory(t *testing.T) {
	if os.Getenv(partVariable) == "" {
		needRing(t)
		if os.Getuid() != 0 {
			t.Skip("needs root to become an ordinary user")
		}
		path, dir := copyForNobody(t), t.TempDir()
		require.NoError(t, os.Chmod(filepath.Dir(dir), 0o755))
		require.NoError(t, os.Chown(dir, int(nobody), int(nobody)))
		runPart(t, t.Name(), func(cmd *exec.Cmd) {
			cmd.Path, cmd.Args[0], cmd.Dir = path, path, "/"
			cmd.Env = append(cmd.Env, "TMPDIR="+dir)
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		})
		return
	}
	// Enough for a journal's rings, and for none of a link.
	const little = 64 << 10
	var before unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_MEMLOCK, &before))
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unix.Rlimit{Cur: little, Max: before.Max}))
	e := openSite(t, filepath.Join(t.TempDir(), "e"), "site-e", "127.0.0.1:0")
	require.Equal(t, "tcp", e.Status().Transport)
	require.Contains(t, e.Status().TransportReason, "RLIMIT_MEMLOCK is 65536 bytes")
	put(t, e, engine.Local)
	require.NoError(t, e.Close(context.Background()))
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_MEMLOCK, &before))

	limit := uint64(8 << 20) // what distributions grant
	var now unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_MEMLOCK, &now))
	limit = min(limit, now.Max)
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unix.Rlimit{Cur: limit, Max: limit}))
	dirs := [2]string{filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")}
	at := freeAddr(t)
	a := openSite(t, dirs[0], "site-a", "127.0.0.1:0", engine.Peer{Site: "site-b", Addrs: []string{at}})
	openB := func() *engine.Engine {
		return openSite(t, dirs[1], "site-b", at, engine.Peer{Site: "site-a", Addrs: []string{a.Addr()}})
	}
	b := openB()
	require.Equal(t, "io_uring", a.Status().Transport)
	put(t, a, engine.Durable(1))

	var rings []*uring.Transport // of others of the same user
	var err error
	for err == nil && len(rings) < 4096 {
		var other *uring.Transport
		if other, err = uring.NewTransport(uring.TransportOptions{}); err == nil {
			rings = append(rings, other)
		}
	}
	t.Logf("%d rings: %v", len(rings), err)
	if err == nil {
		t.Skip("this kernel counts no ring against RLIMIT_MEMLOCK")
	}
	for range 30 { // more than a segment, so that files are made and zeroed
		put(t, a, engine.Durable(1))
	}
	require.NoError(t, b.Close(context.Background()))
	b = openB()
	require.Equal(t, "tcp", b.Status().Transport)
	require.Contains(t, b.Status().TransportReason, "RLIMIT_MEMLOCK")
	put(t, a, engine.Durable(1))
	for _, e := range []*engine.Engine{b, a} {
		require.NoError(t, e.Err())
		require.NoError(t, e.Close(context.Background()))
	}
	for _, other := range rings {
		require.NoError(t, other.Close())
	}
}

// freeAddr is an address that nobody listens at.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

// openSite opens a small engine.
func openSite(t *testing.T, dir, site, listen string, peers ...engine.Peer) *engine.Engine {
	t.Helper()
	e, err := engine.Open(context.Background(), engine.Options{Cluster: "test", Site: site, Dir: dir,
		Store: store.NewMem(), Shards: 1, SegmentBytes: 4 << 20, Listen: listen, Insecure: true, Peers: peers})
	require.NoError(t, err)
	return e
}

// put appends a large entry.
func put(t *testing.T, e *engine.Engine, level engine.Level) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, err := e.Append(ctx, 0, &engine.Entry{Op: engine.OpHost, Keys: [][]byte{[]byte("k")},
		Payload: make([]byte, 300<<10)}, level)
	require.NoError(t, err)
}
