package engine_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/uring"
	"github.com/claudefs/repl/wire"
	"github.com/claudefs/repl/wire/link"
	"github.com/claudefs/repl/wire/link/tcp"
)

// resources is what a process holds that could leak.
type resources struct {
	HeapBytes   int64 // live, after a collection
	RSSBytes    int64
	LockedBytes int64 // mlock, VmLck
	PinnedBytes int64 // by the kernel's own references, VmPin: registered buffers
	Goroutines  int
	Threads     int
	Descriptors int
	Rings       int // io_uring instances
}

// look counts what a process holds: its own, pid 0, with the heap collected
// first, or another one's as far as the system tells.
func look(pid int) (r resources, err error) {
	proc := "/proc/self"
	if pid != 0 {
		proc = fmt.Sprintf("/proc/%d", pid)
	} else {
		debug.FreeOSMemory()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		r.HeapBytes, r.Goroutines = int64(m.HeapAlloc), runtime.NumGoroutine()
	}
	open, err := os.ReadDir(filepath.Join(proc, "fd"))
	if err != nil {
		return r, err
	}
	for _, fd := range open {
		r.Descriptors++
		if at, _ := os.Readlink(filepath.Join(proc, "fd", fd.Name())); at == "anon_inode:[io_uring]" {
			r.Rings++
		}
	}
	f, err := os.Open(filepath.Join(proc, "status"))
	if err != nil {
		return r, err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		name, rest, _ := strings.Cut(lines.Text(), ":")
		value, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
		n, _ := strconv.ParseInt(value, 10, 64)
		switch name {
		case "VmRSS":
			r.RSSBytes = n << 10
		case "VmLck":
			r.LockedBytes = n << 10
		case "VmPin":
			r.PinnedBytes = n << 10
		case "Threads":
			r.Threads = int(n)
		}
	}
	return r, nil
}

// transports are those that the engine opens by itself, each with what ends it.
func transports(t *testing.T) map[string]func(pool *link.Pool) (link.Transport, func() error) {
	return map[string]func(pool *link.Pool) (link.Transport, func() error){
		"portable": func(pool *link.Pool) (link.Transport, func() error) {
			net, err := tcp.New(tcp.Options{Pool: pool})
			require.NoError(t, err)
			return net, func() error { return nil }
		},
		"io_uring": func(pool *link.Pool) (link.Transport, func() error) {
			needRing(t)
			net, err := uring.NewTransport(uring.TransportOptions{Pool: pool})
			require.NoError(t, err)
			return net, net.Close
		},
	}
}

// TestLinksThatComeAndGoLeaveNothingBehind opens and closes 10,000 links in one
// process, each used both ways and closed by either end in turn (I10). The race
// detector gets every tenth.
func TestLinksThatComeAndGoLeaveNothingBehind(t *testing.T) {
	cycles := 10_000
	if raceEnabled {
		cycles = 1_000
	}
	for name, open := range transports(t) {
		t.Run(name, func(t *testing.T) {
			pool := &link.Pool{}
			net, end := open(pool)
			listener, err := net.Listen("127.0.0.1:0")
			require.NoError(t, err)
			frame := smallFrame()
			run := func(cycles int) {
				for n := range cycles {
					if err := cycle(net, listener, frame, n); err != nil {
						require.NoError(t, err, "cycle %d of %d", n, cycles)
					}
				}
			}
			run(cycles / 10) // Pools fill, threads start.
			before := rest(t, resources{})
			run(cycles)
			after := rest(t, before)
			t.Logf("before %+v", before)
			t.Logf("after  %+v", after)
			held, _ := pool.Memory()
			require.Zero(t, held, "bytes of frames that nobody released")
			require.LessOrEqual(t, after.Goroutines, before.Goroutines)
			require.LessOrEqual(t, after.Descriptors, before.Descriptors)
			require.LessOrEqual(t, after.Rings, before.Rings)
			require.LessOrEqual(t, after.LockedBytes, before.LockedBytes)
			require.LessOrEqual(t, after.PinnedBytes, before.PinnedBytes)
			require.LessOrEqual(t, after.Threads, before.Threads+2, "a system call that took long starts one")
			// A leak of 32 bytes per link is found; what the runtime keeps varies by less.
			require.Less(t, after.HeapBytes-before.HeapBytes, max(32*int64(cycles), 128<<10))
			if !raceEnabled { // Its shadow memory grows with what was ever touched.
				require.Less(t, after.RSSBytes-before.RSSBytes, int64(4<<20))
			}
			require.NoError(t, listener.Close())
			require.NoError(t, end())
		})
	}
}

// rest looks until what ends a moment later is back at before, or does not come
// back.
func rest(t *testing.T, before resources) resources {
	for ctx := soon(t); ; pause() {
		r, err := look(0)
		require.NoError(t, err)
		settled := r.Goroutines <= before.Goroutines && r.Descriptors <= before.Descriptors
		if settled || before == (resources{}) || ctx.Err() != nil {
			return r
		}
	}
}

func smallFrame() []byte {
	return (&wire.Heartbeat{}).AppendTo(nil, 1)
}

// cycle is the life of one link: a frame each way, then one end closes, and the
// other learns of it.
func cycle(net link.Transport, listener link.Listener, frame []byte, n int) error {
	type accepted struct {
		conn link.Conn
		err  error
	}
	taken := make(chan accepted, 1)
	go func() { // Ends with the next link.
		conn, err := listener.Accept()
		taken <- accepted{conn, err}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	near, err := net.Dial(ctx, listener.Addr())
	if err != nil {
		return err
	}
	defer near.Close()
	far := <-taken
	if far.err != nil {
		return far.err
	}
	defer far.conn.Close()
	ends := [2]link.Conn{near, far.conn}
	for i, from := range ends {
		if err := from.Send([][]byte{frame}); err != nil {
			return err
		}
		got, err := ends[1-i].Recv()
		if err != nil {
			return err
		}
		got.Release()
	}
	if err := ends[n%2].Close(); err != nil {
		return err
	}
	if got, err := ends[1-n%2].Recv(); err == nil {
		got.Release()
		return fmt.Errorf("a frame came behind the last one")
	}
	return nil
}
