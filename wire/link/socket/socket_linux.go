package socket

import (
	"errors"
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

// TuneAll is Tune with what net would set: no delay, and keepalive.
func TuneAll(fd int, o *Options) error {
	every := int(o.ProbeEvery().Seconds())
	set := func(level, name, value int) error {
		if err := unix.SetsockoptInt(fd, level, name, value); err != nil {
			return fmt.Errorf("socket option %d of level %d to %d: %w", name, level, value, err)
		}
		return nil
	}
	return errors.Join(
		set(unix.IPPROTO_TCP, unix.TCP_NODELAY, 1),
		set(unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1),
		set(unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, every),
		set(unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, every),
		set(unix.IPPROTO_TCP, unix.TCP_KEEPCNT, ProbesMax),
		Tune(fd, o),
	)
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
