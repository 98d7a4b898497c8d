package engine_test

import (
	"context"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/claudefs/repl/wire/link/tcp"
	"github.com/stretchr/testify/require"
)

// BenchmarkTwoEnginesOverLoopback streams 64 KiB entries from one engine to
// another over TCP, both in this process, journals in shared memory, until the
// second one's Store has applied them. cpu-s/GB counts both.
func BenchmarkTwoEnginesOverLoopback(b *testing.B) {
	const payloadBytes, depth = 64 << 10, 256
	left, right := pair(b)
	for _, s := range []*site{left, right} {
		s.quiet(b)
		dir, err := os.MkdirTemp("/dev/shm", "loop")
		require.NoError(b, err)
		b.Cleanup(func() { os.RemoveAll(dir) })
		s.options.FS, s.options.Dir, s.options.Listen = vfs.OS{}, dir, "127.0.0.1:0"
		s.options.Transport, err = tcp.New(tcp.Options{})
		require.NoError(b, err)
	}
	right.options.Peers[0].Addrs = nil
	right.start()
	left.options.Peers[0].Addrs = []string{right.Addr()}
	left.start()
	e := entry("some key", string(make([]byte, payloadBytes)))
	ctx := context.Background()
	run := func(n int) {
		var refs [depth]engine.Ref
		for i := range n {
			if i >= depth {
				require.NoError(b, left.Wait(ctx, refs[i%depth], engine.Durable(1)))
			}
			ref, err := left.Append(ctx, engine.Shard(i%4), e, engine.Async)
			require.NoError(b, err)
			refs[i%depth] = ref
		}
		for i := range min(n, depth) {
			require.NoError(b, left.Wait(ctx, refs[i], engine.Applied(1)))
		}
	}
	run(2000)
	b.SetBytes(payloadBytes)
	before := processorTime(b)
	b.ResetTimer()
	run(b.N)
	b.StopTimer()
	b.ReportMetric((processorTime(b)-before).Seconds()/(float64(b.N)*payloadBytes/1e9), "cpu-s/GB")
}

func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
