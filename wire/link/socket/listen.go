package socket

import (
	"context"
	"net"
	"syscall"
)

// Listen opens a listening socket at host:port, tuned: accepted sockets inherit it. No
// host means all addresses of this machine.
func Listen(addr string, o *Options) (*net.TCPListener, error) {
	c := net.ListenConfig{KeepAliveConfig: o.keepAlive(), Control: o.control}
	// Multipath sockets refuse some of the options on older kernels.
	c.SetMultipathTCP(false)
	l, err := c.Listen(context.Background(), "tcp", addr)
	if err != nil {
		return nil, err
	}
	return l.(*net.TCPListener), nil
}

func (o *Options) keepAlive() net.KeepAliveConfig {
	every := o.ProbeEvery()
	return net.KeepAliveConfig{Enable: true, Idle: every, Interval: every, Count: ProbesMax}
}

func (o *Options) control(_, _ string, raw syscall.RawConn) error {
	var err error
	if failed := raw.Control(func(fd uintptr) { err = Tune(int(fd), o) }); failed != nil {
		return failed
	}
	return err
}
