//go:build rdma && linux && cgo

package rdma

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/cgo/verbs"
)

func TestTimeoutsAreRoundedUpToWhatADeviceCounts(t *testing.T) {
	for d, code := range map[time.Duration]uint8{
		0: 1, 8192: 1, 8193: 2, 50 * time.Millisecond: 14, 500 * time.Millisecond: 17, 5 * time.Hour: 31,
	} {
		require.Equal(t, code, ackTimeoutCode(d), "%v", d)
	}
	for d, code := range map[time.Duration]uint8{
		0: 1, 10 * time.Microsecond: 1, 11 * time.Microsecond: 2, time.Millisecond: 14, 10 * time.Millisecond: 20,
		491520 * time.Microsecond: 31, 491521 * time.Microsecond: 0, time.Hour: 0,
	} {
		require.Equal(t, code, rnrTimerCode(d), "%v", d)
	}
}

func TestMTUIsTheLargestThatFits(t *testing.T) {
	for size, code := range map[int]verbs.MTU{
		0: verbs.MTU256, 256: verbs.MTU256, 1023: verbs.MTU512, 1024: verbs.MTU1024, 4096: verbs.MTU4096,
		9000: verbs.MTU4096,
	} {
		require.Equal(t, code, mtuCode(size), "%d", size)
	}
}

// The statuses that the link names are those of the library.
func TestStatusesHaveTheLibrarysNumbers(t *testing.T) {
	for status, wc := range map[Status]verbs.WCStatus{
		StatusSuccess: verbs.WCSuccess, StatusLocalLength: verbs.WCLocalLengthError,
		StatusLocalProtect: verbs.WCLocalProtectError, StatusFlushed: verbs.WCFlushed,
		StatusRemoteInvalid: verbs.WCRemoteInvalidError, StatusRemoteAccess: verbs.WCRemoteAccessError,
		StatusRemoteOp: verbs.WCRemoteOpError, StatusRetryExceeded: verbs.WCRetryExceeded,
		StatusRNRExceeded: verbs.WCRNRRetryExceeded,
	} {
		require.EqualValues(t, wc, status, "%s", status)
	}
}
