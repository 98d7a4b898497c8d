package tcp

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/claudefs/repl/wire/link"
)

const congestionSupported = true

// tuneSocket sets what net has no option for. It runs before connect or listen.
func tuneSocket(fd int, o *Options) error {
	// Keepalive alone does not bound a link with data under way: the kernel would
	// go on retransmitting for about 15 minutes.
	err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(o.DeadAfter.Milliseconds()))
	if err != nil {
		return fmt.Errorf("TCP_USER_TIMEOUT %v: %w", o.DeadAfter, err)
	}
	if o.Congestion == "" {
		return nil
	}
	err = unix.SetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION, o.Congestion)
	if err != nil {
		return fmt.Errorf("congestion control %q (net.ipv4.tcp_available_congestion_control lists what there is): %w",
			o.Congestion, err)
	}
	return nil
}

// readInfo fills in what the kernel tells; the rest stays unknown.
func readInfo(fd int, info *link.Info) {
	if name, err := unix.GetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION); err == nil {
		info.Congestion = name
	}
	if t, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
		info.RTT = time.Duration(t.Rtt) * time.Microsecond
		info.Retransmitted = t.Total_retrans
	}
}

// isOver says whether neither direction can carry anything any more: after the
// peer's orderly close ours still can.
func isOver(fd int) bool {
	t, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	return err == nil && t.State == unix.BPF_TCP_CLOSE
}
