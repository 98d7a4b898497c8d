package bench

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/claudefs/repl/engine/store/journal"
	"github.com/claudefs/repl/engine/store/writer"
	"github.com/claudefs/repl/wire"
	"github.com/stretchr/testify/require"
)

// BenchmarkRound appends to all shards in turn until a flush's worth has gathered,
// then closes and flushes it, on one goroutine and without a disk: what an entry
// and what a batch cost the source apart from the kernel. An operation is a round.
func BenchmarkRound(b *testing.B) {
	const roundBytes = 1 << 20
	for _, shards := range []int{1, 256} {
		for _, size := range []int{64, 256} {
			b.Run(fmt.Sprintf("shards=%d/%s", shards, sizeName(size)), func(b *testing.B) {
				entries := roundBytes / size
				made := byte(0)
				w := writer.New(writer.Options{
					Cluster: 1, Site: 1, Shards: shards, Epoch: 1, BytesMax: 32 << 20,
					Incarnation: func() wire.Incarnation { made++; return wire.Incarnation{made, 1} },
				})
				fs, dir := disks[0].open(b)
				j, _, err := journal.Open(journal.Options{
					FS: fs, Dir: dir, Kind: journal.Own, Cluster: 1, Site: 1, RecentBytesMax: 32 << 20,
				})
				require.NoError(b, err)
				b.Cleanup(func() { j.Close() })
				r := j.NewReader(1)
				b.Cleanup(r.Close)
				e, batches := newEntry(size), 0
				var appending, flushing time.Duration
				runtime.LockOSThread()
				defer runtime.UnlockOSThread()
				b.ResetTimer()
				for range b.N {
					began := threadTime(b)
					// Rounds differ in length, as flushes do.
					for i := range entries - entries/8 + batches%(entries/4) {
						if _, err := w.Append(wire.Shard(i%shards), e, 0); err != nil {
							b.Fatal(err)
						}
					}
					appended := threadTime(b)
					n, err := w.Flush(j, time.Now())
					require.NoError(b, err)
					require.NoError(b, flush(j))
					appending += appended - began
					flushing += threadTime(b) - appended
					batches += n
					for more := true; more; { // what ships it, and applies it
						refs, err := r.Next(2 << 20)
						require.NoError(b, err)
						more = len(refs) > 0
					}
					require.NoError(b, giveBack(j))
				}
				b.ReportMetric(float64(appending.Nanoseconds())/float64(b.N*entries), "append-ns/entry")
				b.ReportMetric(float64(flushing.Nanoseconds())/float64(batches), "flush-ns/batch")
			})
		}
	}
}

// threadTime is what the calling thread has used of a processor: on a machine that
// others use too it wanders much less than the clock.
func threadTime(b *testing.B) time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		b.Fatal(err)
	}
	return time.Duration(t.Nano())
}
