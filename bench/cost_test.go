package bench

import (
	"math/rand/v2"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// cost reports what a benchmark used of the processor.
type cost struct {
	b     *testing.B
	begin time.Duration
}

// costOf starts the clock; call it when everything is set up. bytes of payload
// are in an operation; 0: it does not touch them.
func costOf(b *testing.B, bytes int) *cost {
	b.Helper()
	b.ReportAllocs()
	b.SetBytes(int64(bytes))
	b.ResetTimer()
	return &cost{b, processorTime(b)}
}

// report ends it: b.N operations of bytes each are done.
func (c *cost) report(bytes int) {
	c.b.Helper()
	used := processorTime(c.b) - c.begin
	c.b.StopTimer()
	if bytes > 0 {
		c.b.ReportMetric(used.Seconds()/(float64(c.b.N)*float64(bytes)/1e9), "cpu-s/GB")
	}
	c.b.ReportMetric(float64(used.Nanoseconds())/1e3/float64(c.b.N), "cpu-us/op")
}

// perSecond names the rate of what an operation is.
func (c *cost) perSecond(unit string) {
	c.b.ReportMetric(float64(c.b.N)/c.b.Elapsed().Seconds(), unit+"/s")
}

func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var r unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// random is size bytes that nothing compresses.
func random(size int) []byte {
	p := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(p) // never fails
	return p
}
