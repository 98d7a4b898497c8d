package socket

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/claudefs/repl/wire/link"
)

const congestionSupported = true

// Tune sets what net has no option for. It runs before connect or listen;
// accepted sockets inherit it.
func Tune(fd int, o *Options) error {
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

// leaveNoTrace has a socket leave its port when it is closed before linger is set
// otherwise: one that met itself holds the peer's port, which must be free at once, and
// would else be remembered for a minute.
func leaveNoTrace(fd int) error {
	err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	if err == nil {
		err = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	}
	if err != nil {
		return fmt.Errorf("SO_REUSEADDR and SO_LINGER: %w", err)
	}
	return nil
}

// FilesMax is how many files this process may have open, 0 if the system does not tell.
func FilesMax() int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0
	}
	return int(min(limit.Cur, 1<<30))
}

// ReadInfo fills in what the kernel tells; the rest stays unknown.
func ReadInfo(fd int, info *link.Info) {
	if name, err := unix.GetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION); err == nil {
		info.Congestion = name
	}
	if t, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
		info.RTT = time.Duration(t.Rtt) * time.Microsecond
		info.Retransmitted = t.Total_retrans
		info.ReceivedBytes = t.Bytes_received
	}
}

// Over says whether neither direction can carry anything any more: after the
// peer's orderly close ours still can.
func Over(fd int) bool {
	t, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	return err == nil && t.State == unix.BPF_TCP_CLOSE
}
