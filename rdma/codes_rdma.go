//go:build rdma && linux && cgo

package rdma

import (
	"time"

	"github.com/claudefs/repl/cgo/verbs"
)

// ackTimeoutCode is n for the smallest 4.096 µs × 2^n that is at least d.
func ackTimeoutCode(d time.Duration) uint8 {
	for n := uint8(1); n < 31; n++ { // 0 means no limit, which nobody asks for
		if 4096*time.Nanosecond<<n >= d {
			return n
		}
	}
	return 31
}

// rnrTimers are what the codes 1 … 31 mean, in hundredths of a millisecond
// (InfiniBand Architecture, table "encoding for RNR NAK timer field"). 0 means 655.36 ms.
var rnrTimers = [...]int{
	0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144,
	8192, 12288, 16384, 24576, 32768, 49152,
}

// rnrTimerCode is the code of the shortest timer that is at least d.
func rnrTimerCode(d time.Duration) uint8 {
	for code := 1; code < len(rnrTimers); code++ {
		if time.Duration(rnrTimers[code])*10*time.Microsecond >= d {
			return uint8(code)
		}
	}
	return 0
}

// mtuCode is the largest MTU that is no larger than size.
func mtuCode(size int) verbs.MTU {
	code := verbs.MTU256
	for code < verbs.MTU4096 && (code+1).Bytes() <= size {
		code++
	}
	return code
}
