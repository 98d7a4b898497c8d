package socket

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"syscall"
)

// ErrSelf: a connection met itself. The system gave it the very port that it was to
// reach, because nobody listens there.
var ErrSelf = errors.New("connected to itself: nobody listens there")

// Dial connects a tuned socket to host:port, until ctx ends. A host may have several
// addresses: they are tried as Race does, families in turn. No host means this machine.
func Dial(ctx context.Context, addr string, o *Options) (*net.TCPConn, error) {
	addrs, err := resolve(ctx, addr)
	if err != nil {
		return nil, err
	}
	return dialAll(ctx, addrs, o)
}

func dialAll(ctx context.Context, addrs []string, o *Options) (*net.TCPConn, error) {
	c, _, err := Race(ctx, len(addrs), func(ctx context.Context, i int) (*net.TCPConn, error) {
		return dialOne(ctx, nil, addrs[i], o)
	})
	if errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, context.DeadlineExceeded) {
		// The socket took ctx's deadline over, and was quicker than ctx to say so.
		err = fmt.Errorf("%w: %w", err, context.DeadlineExceeded)
	}
	return c, err
}

// dialOne dials an address, from the one that the system chooses unless from names one.
func dialOne(ctx context.Context, from net.Addr, addr string, o *Options) (*net.TCPConn, error) {
	d := net.Dialer{KeepAliveConfig: o.keepAlive(), LocalAddr: from}
	d.Control = func(network, address string, raw syscall.RawConn) error {
		var err error
		failed := raw.Control(func(fd uintptr) { err = leaveNoTrace(int(fd)) })
		return errors.Join(failed, err, o.control(network, address, raw))
	}
	d.SetMultipathTCP(false)
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	t := c.(*net.TCPConn)
	if t.LocalAddr().String() == t.RemoteAddr().String() {
		_ = t.Close() // by a reset, which leaves the port to the peer
		return nil, fmt.Errorf("dial %s: %w: %w", addr, ErrSelf, syscall.ECONNREFUSED)
	}
	if err := t.SetLinger(-1); err != nil { // as the system has it
		_ = t.Close() // nobody used it
		return nil, err
	}
	return t, nil
}

// resolve looks up host:port. Families alternate, so that one which leads nowhere takes
// every second place only.
func resolve(ctx context.Context, addr string) ([]string, error) {
	host, service, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	port, err := net.DefaultResolver.LookupPort(ctx, "tcp", service)
	if err != nil {
		return nil, err
	}
	if host == "" {
		host = "localhost"
	}
	ips, err := net.DefaultResolver.LookupIPAddr(ctx, host)
	if err != nil {
		return nil, err
	}
	var all [2][]string // the first one's family, the other
	for _, ip := range ips {
		family := 0
		if (ip.IP.To4() == nil) != (ips[0].IP.To4() == nil) {
			family = 1
		}
		all[family] = append(all[family], net.JoinHostPort(ip.String(), strconv.Itoa(port)))
	}
	var addrs []string
	for i := range max(len(all[0]), len(all[1])) {
		for _, family := range all {
			if i < len(family) {
				addrs = append(addrs, family[i])
			}
		}
	}
	return addrs, nil
}
