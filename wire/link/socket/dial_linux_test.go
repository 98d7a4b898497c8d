package socket

import (
	"context"
	"fmt"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

var options = Options{DeadAfter: DeadAfterDefault}

// A socket that has the port which it dials meets itself.
func TestSelfConnectionLeavesPortFree(t *testing.T) {
	free, err := Listen("127.0.0.1:0", &options)
	require.NoError(t, err)
	at := free.Addr()
	require.NoError(t, free.Close())
	for range 2 {
		_, err = dialOne(t.Context(), at, at.String(), &options)
		require.ErrorIs(t, err, ErrSelf)
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
		l, err := Listen(at.String(), &options) // the peer starts, at once
		require.NoError(t, err)
		require.NoError(t, l.Close())
	}
}

func TestSilentAddressEatsNoTimeOfTheNext(t *testing.T) {
	l, err := Listen("127.0.0.1:0", &options)
	require.NoError(t, err)
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	silentAddr(t, [4]byte{127, 0, 0, 9}, port)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c, err := dialAll(ctx, []string{fmt.Sprintf("127.0.0.9:%d", port), l.Addr().String()}, &options)
	require.NoError(t, err)
	require.Equal(t, l.Addr().String(), c.RemoteAddr().String())
	require.NoError(t, c.Close())
}

// silentAddr answers no connection request: its backlog is full.
func silentAddr(t *testing.T, ip [4]byte, port int) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	t.Cleanup(func() { _ = unix.Close(fd) })
	require.NoError(t, unix.Bind(fd, &unix.SockaddrInet4{Addr: ip, Port: port}))
	require.NoError(t, unix.Listen(fd, 0))
	for range 4 {
		c, err := net.DialTimeout("tcp", fmt.Sprintf("%s:%d", net.IP(ip[:]), port), 200*time.Millisecond)
		if err == nil {
			t.Cleanup(func() { _ = c.Close() })
		}
	}
}
